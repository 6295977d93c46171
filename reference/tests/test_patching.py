"""The committed logits of patched models are those that hooks give; and every case changes something."""

import torch
from safetensors.torch import load_file

from capture import load_model
from make_tiny import TINY
from patching import MODELS, PATCHED, cases, difference, patched_logits


def test_the_committed_logits_are_made_again():
    assert difference(patched_logits("qwen3"), load_file(PATCHED / "qwen3.safetensors")) <= 1e-6


def test_every_case_is_there_and_changes_the_logits():
    for name in MODELS:
        clean = load_file(TINY / name / "reference.safetensors")
        table = cases(load_model(str(TINY / name), "float32"), clean)
        kept = load_file(PATCHED / f"{name}.safetensors")
        wanted = {key: case for key, case in table.items() if name in case.models}
        assert {key.split("@")[0] for key in kept} == wanted.keys()
        for key, logits in kept.items():
            before = clean["lm_head@1" if key.endswith("@1") else "lm_head"][-1]
            same = torch.equal(logits, before)
            assert same == (key == "later"), f"{name}: {key}"  # which patches the second forward only
