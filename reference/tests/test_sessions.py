"""The dumps of the worked examples are made again; they are of what the scripts tell."""

import json
import re
import shutil

import pytest
import torch
from safetensors.torch import save_file

from capture import greedy
from casebook import read_dump
from make_sessions import CASES, DUMPS, compare, make
from make_tiny import TINY
from planted import first_difference

SCRIPTS = {path.stem: path for path in DUMPS.parent.glob("*.script")}
FIRST = {  # the first activation that differs from PyTorch's
    "interleaved": "model.layers.0.self_attn.q_rope",
    "gqa": "model.layers.0.self_attn.scores",
    "stale-cache": "model.layers.0.self_attn.scores@1",
    "two-bugs": "model.layers.0.self_attn.q_norm",
}


def case(name: str):
    return next(row for row in CASES if row.name == name)


def said(name: str) -> str:
    """The story of a script, in one line."""
    lines = SCRIPTS[name].read_text().partition("\ndebug ")[0].splitlines()[1:]
    return " ".join(line.removeprefix("#").strip() for line in lines)


def test_the_committed_dumps_are_made_again(tmp_path):
    make(tmp_path)
    assert compare(tmp_path, DUMPS) == []


def test_another_dump_is_noticed(tmp_path):
    shutil.copytree(DUMPS, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "gqa-candidate.safetensors"
    tensors, metadata = read_dump(path)
    tensors["lm_head"][0, 0] += 1
    save_file(tensors, path, metadata | {"input_ids": "[41,442]"})
    differs, tokens = compare(tmp_path, DUMPS)
    assert differs.startswith("gqa-candidate.safetensors differs by")
    assert tokens == "gqa-candidate.safetensors is of other tokens"
    path.unlink()
    assert compare(tmp_path, DUMPS) == ["gqa-candidate.safetensors is in one of the folders only"]


def test_every_dump_is_in_a_script_and_small():
    opened = re.findall(r"dumps/(\S+)", "\n".join(path.read_text() for path in SCRIPTS.values()))
    assert sorted(opened) == sorted(path.name for path in DUMPS.iterdir())
    assert {row.name for row in CASES} <= SCRIPTS.keys()
    assert all(path.stat().st_size < 300_000 for path in DUMPS.iterdir())


@pytest.mark.parametrize("name", FIRST)
def test_a_port_goes_wrong_where_its_mistake_is(name):
    candidate, reference = (read_dump(path(DUMPS))[0] for path in (case(name).candidate, case(name).reference))
    assert first_difference(candidate, reference) == FIRST[name]


@pytest.mark.parametrize("name", [row.name for row in CASES if row.prompt])
def test_the_story_quotes_what_is_said(name):
    row, quotes = case(name), re.findall(r'"([^"]+)"', said(name))
    texts = row.texts()
    assert (texts[0] == texts[1]) == (name == "clean") and any(quote.startswith(row.prompt) for quote in quotes)
    for text in texts:
        whole = row.prompt + text
        assert any(len(quote) > 12 and (text.startswith(quote) or whole.startswith(quote)) for quote in quotes), text


def test_the_story_of_two_bugs_quotes_the_tokens():
    prompt = json.loads((TINY / "qwen3" / "greedy.json").read_text())
    assert prompt["greedy"][:3] == [183, 92, 186]
    assert greedy(case("two-bugs").ported(), prompt["prompt"], 3) == [183, 151, 96]


def test_the_founding_reference_was_computed_in_bfloat16():
    tensors, _ = read_dump(DUMPS / "founding-reference.safetensors")
    assert all(torch.equal(tensor, tensor.bfloat16().float()) for tensor in tensors.values())
    assert tensors["after_layer_3"].dtype == torch.float32 and len(tensors["after_layer_3"]) == 1
