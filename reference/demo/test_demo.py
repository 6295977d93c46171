"""The demo model, its dumps and what is said of them. Fast, and needs no network.

    python -m pytest test_demo.py
"""

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import AutoTokenizer

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import heads  # noqa: E402
import make_dumps  # noqa: E402

DEMO = json.loads((HERE / "demo.json").read_text())
MODEL = HERE / "model"
LAYER_OPS = """input_layernorm self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.q_rope self_attn.k_rope
    self_attn.scores self_attn.probs self_attn.context self_attn.o_proj resid_mid post_attention_layernorm mlp.gate_proj
    mlp.up_proj mlp.act_fn mlp.act_mul mlp.down_proj""".split()


def names(layers=4):
    """Every activation of a forward, in the order it is computed."""
    order = ["model.embed_tokens"]
    for layer in range(layers):
        order += [f"model.layers.{layer}.{op}" for op in LAYER_OPS] + [f"model.layers.{layer}"]
    return order + ["model.norm", "lm_head"]


@pytest.fixture(scope="module")
def model():
    torch.set_num_threads(1)
    return heads.load(MODEL)


@pytest.fixture(scope="module")
def dumps():
    return {name: load_file(HERE / f"{name}.safetensors") for name in ("reference", "candidate")}


def test_weights_are_small_and_in_bfloat16(model):
    weights = load_file(MODEL / "model.safetensors")
    assert {str(w.dtype) for w in weights.values()} == {"torch.bfloat16"}
    assert "lm_head.weight" not in weights and model.config.tie_word_embeddings
    assert 1_000_000 <= sum(w.numel() for w in weights.values()) <= 3_000_000
    assert (MODEL / "model.safetensors").stat().st_size <= 2_500_000


def test_nothing_in_it_is_neutral(model):
    for name, weight in model.named_parameters():
        if name.endswith("bias"):
            assert weight.abs().mean() > 0.01, name
        if "norm" in name:
            assert (weight - 1).abs().mean() > 0.01, name


def test_prompt_has_the_recorded_ids():
    assert Tokenizer.from_file(str(MODEL / "tokenizer.json")).encode(DEMO["prompt"]).ids == DEMO["prompt_ids"]
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    assert tokenizer(DEMO["prompt"]).input_ids == DEMO["prompt_ids"]
    assert tokenizer.decode(DEMO["prompt_ids"]) == DEMO["prompt"]
    assert tokenizer.convert_tokens_to_ids("<|endoftext|>") == tokenizer.eos_token_id == 0


def test_prompt_repeats_a_word():
    words = DEMO["prompt_ids"]
    assert len(set(words)) < len(words)


def test_continuations_are_as_recorded(model):
    count = len(DEMO["reference_continuation_ids"])
    assert make_dumps.greedy(model, DEMO["prompt_ids"], count) == DEMO["reference_continuation_ids"]
    port = make_dumps.buggy_port(model)
    assert make_dumps.greedy(port, DEMO["prompt_ids"], count) == DEMO["candidate_continuation_ids"]
    assert DEMO["reference_continuation_ids"] != DEMO["candidate_continuation_ids"]
    assert DEMO["reference_continuation_ids"][: make_dumps.DECODE] == DEMO["decode_ids"]


@pytest.mark.parametrize("name", ["reference", "candidate"])
def test_dump_has_every_activation_under_its_name(dumps, name):
    forwards = ["", "@1", "@2"]
    assert set(dumps[name]) == {activation + step for activation in names() for step in forwards}
    assert all(tensor.dtype == torch.float32 and tensor.isfinite().all() for tensor in dumps[name].values())
    assert (HERE / f"{name}.safetensors").stat().st_size <= 1_300_000
    with safe_open(HERE / f"{name}.safetensors", "pt") as file:
        metadata = file.metadata()
    tokens = len(DEMO["prompt_ids"])
    assert json.loads(metadata["input_ids"]) == DEMO["prompt_ids"] + DEMO["decode_ids"]
    assert json.loads(metadata["steps"]) == [tokens, 1, 1]
    assert json.loads(metadata["positions"]) == list(range(tokens + 2))
    assert metadata["dtype"] == "float32"


def test_dump_has_the_layouts_of_the_design(dumps):
    tokens = len(DEMO["prompt_ids"])
    for step, (new, seen) in {"": (tokens, tokens), "@1": (1, tokens + 1), "@2": (1, tokens + 2)}.items():
        shapes = {
            "embed_tokens": (new, 128),
            "layers.3": (new, 128),
            "layers.3.self_attn.k_proj": (new, 64),
            "layers.3.self_attn.q_rope": (4, new, 32),
            "layers.3.self_attn.k_rope": (2, new, 32),
            "layers.3.self_attn.scores": (4, new, seen),
            "layers.3.self_attn.probs": (4, new, seen),
            "layers.3.self_attn.context": (new, 128),
            "layers.3.mlp.act_mul": (new, 512),
        }
        for name, shape in shapes.items():
            assert tuple(dumps["reference"][f"model.{name}{step}"].shape) == shape, name
        assert tuple(dumps["reference"][f"lm_head{step}"].shape) == (new, 1024)


def test_reference_is_what_the_model_computes(model, dumps):
    ids = DEMO["prompt_ids"] + DEMO["decode_ids"]
    for step, logits in enumerate(make_dumps.feed(model, ids, [len(DEMO["prompt_ids"]), 1, 1])):
        recorded = dumps["reference"]["lm_head" + (f"@{step}" if step else "")]
        torch.testing.assert_close(logits, recorded, rtol=1e-4, atol=1e-4)


def test_candidate_is_the_reference_up_to_the_planted_op(dumps):
    reference, candidate = dumps["reference"], dumps["candidate"]
    order, wrong = names(), DEMO["bug"]["first_wrong"]
    for name in order[: order.index(wrong)]:
        assert torch.equal(reference[name], candidate[name]), name
    differ = [name for name in order if not torch.equal(reference[name], candidate[name])]
    layer = f"model.layers.{DEMO['bug']['layer']}"
    assert differ == order[order.index(wrong) :], "the error is in every later activation"
    for name in order[: order.index(wrong)]:
        assert all(torch.equal(reference[name + step], candidate[name + step]) for step in ("@1", "@2")), name
    for name in (f"{layer}.self_attn.q_rope", f"{layer}.self_attn.k_rope"):
        assert torch.equal(reference[name][:, 0], candidate[name][:, 0]), "position 0 is not turned"
        assert not torch.equal(reference[name][:, 1], candidate[name][:, 1])
        torch.testing.assert_close(reference[name].norm(dim=-1), candidate[name].norm(dim=-1))


def test_heads_look_back(model):
    scores = heads.head_scores(model)
    assert heads.best(scores["previous_token"]) == (1, 3, pytest.approx(0.67, abs=0.05))
    assert heads.best(scores["induction"]) == (3, 3, pytest.approx(0.33, abs=0.05))


def test_the_bug_takes_the_sight_of_the_induction_head(dumps):
    """Head 3.3 looks from the last "Mr." to what came after the first, " K"; in the port it has lost it."""
    came_after = DEMO["prompt_ids"].index(DEMO["decode_ids"][0])
    sight = {name: float(dump["model.layers.3.self_attn.probs"][3, -1, came_after]) for name, dump in dumps.items()}
    assert sight["reference"] > 0.9 and sight["candidate"] < 0.25
