"""The committed fixture of ablation and attribution is what hooks give, and what is attributed adds up to the logit."""

import json

from ablation import FIXTURE, MODELS, of_model
from lens import rounded


def test_the_committed_numbers_are_made_again():
    committed = json.loads(FIXTURE.read_text())
    assert sorted(committed) == sorted(MODELS)
    assert rounded(of_model("gpt2")) == committed["gpt2"]


def test_what_is_attributed_adds_up():
    for name, model in json.loads(FIXTURE.read_text()).items():
        parts = model["attribution"]
        layers = sum(layer["attention"] + layer["mlp"] for layer in parts["layers"])
        assert abs(sum(parts["embedding"]) + layers + parts["bias"] - parts["logit"]) < 1e-5, name
