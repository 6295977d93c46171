"""Wrong labels are on right values, and other tokens are other tokens."""

import json

import pytest
import torch

from casebook import Casebook, read_dump
from clean import CleanDumps
from make_tiny import TINY
from mislabelled import LABELS, TOKENS, Label, add_labels, add_other_tokens, one, relabelled, same

CLEAN = read_dump(TINY / "llama" / "reference.safetensors")[0]


@pytest.fixture
def book(tmp_path):
    return Casebook(tmp_path)


def label(bug: str) -> Label:
    return next(row for row in LABELS if row.id == bug)


def test_each_layer_has_the_value_of_the_one_before():
    edited = relabelled(CLEAN, label("blocks_of_the_layer_before"), 3)
    assert torch.equal(edited["model.layers.0"], CLEAN["model.embed_tokens"])
    assert torch.equal(edited["model.layers.2"], CLEAN["model.layers.1"])


def test_a_layer_without_a_next_one_is_left_out():
    edited = relabelled(CLEAN, label("attention_of_the_next_layer"), 3)
    assert CLEAN.keys() - edited.keys() == {"model.layers.2.self_attn.o_proj"}
    assert torch.equal(edited["model.layers.1.self_attn.o_proj"], CLEAN["model.layers.2.self_attn.o_proj"])


def test_heads_are_laid_out_as_the_name_wants():
    turned = "model.layers.1.self_attn.q_rope"
    edited = relabelled(CLEAN, label("q_not_turned"), 3)[turned]
    assert edited.shape == CLEAN[turned].shape
    assert torch.allclose(edited[:, 0], CLEAN[turned][:, 0]) and not torch.allclose(edited[:, 1], CLEAN[turned][:, 1])


def test_rows_are_those_of_other_tokens():
    for bug, row, of in (("rows_of_the_next_token", 0, 1), ("rows_of_the_token_before", 5, 4), ("rows_reversed", 0, -1)):
        name = next(iter(label(bug).names(3)))
        assert torch.equal(relabelled(CLEAN, label(bug), 3)[name][row], CLEAN[name][of])


def test_a_label_that_changes_nothing_is_noticed(book):
    with pytest.raises(AssertionError, match="model.layers.1 is not changed"):
        add_labels(book, CleanDumps(book), [Label("nothing", "ref_token_rows", same("model.layers.1"), ("llama",))])
    with pytest.raises(AssertionError, match="has not the shape"):
        relabelled(CLEAN, Label("other", "ref_wrong_point", one("", "mlp.up_proj")), 3)


def test_the_cases_of_a_label(book):
    add_labels(book, CleanDumps(book), [label("v_twice")])
    alone, pair = book.cases
    assert alone["candidate"] is None and pair["candidate"] != pair["reference"]
    expect = alone["expect"]
    assert (expect["name"], expect["label"]) == ("model.layers.0.self_attn.v_proj", "model.layers.1.self_attn.v_proj")
    assert expect["verdicts"] == ["mislabelled"] and expect["culprit"] == "reference"


def test_a_candidate_that_was_fed_other_tokens(book):
    add_other_tokens(book, CleanDumps(book))
    assert {case["expect"]["bug"] for case in book.cases} == {row[0] for row in TOKENS}
    for case in book.cases:
        reference, candidate = (read_dump(book.folder / case[role]) if case[role] else None for role in ("reference", "candidate"))
        claimed = "claimed" in case["name"]
        assert case["expect"]["verdicts"] == ["inputs_differ"] and (reference is not None or claimed)
        if reference:
            ids = [json.loads(metadata["input_ids"]) for _, metadata in (reference, candidate)]
            assert (ids[0] == ids[1]) == claimed
