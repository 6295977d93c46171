"""The defaults that the Rust tests expect are those of the classes of transformers that is installed."""

import json

from defaults import FIXTURE, of_all


def test_the_fixture_is_what_the_classes_say():
    assert json.loads(FIXTURE.read_text()) == of_all()
