"""Planted mistakes are where the table says, and nowhere else; what is no mistake stays right."""

import json
from dataclasses import replace

import pytest
import torch

import planted
from casebook import Casebook, read_dump
from clean import CleanDumps, model_of
from equivalent import TABLE, add_equivalents
from make_tiny import ENCODERS, MODELS, TINY, VARIANTS
from mislabelled import LABELS
from oracle import Oracle, order_in, program_order
from planted import PlantedDumps, Run, add_run
from planted_runs import (
    IN_REFERENCE, INV_FREQ, LONG_RUNS, SMALL, TWO, family_runs, one_by_one_runs, other_runs, second_runs, single_runs, small_runs
)  # fmt: skip
from planting import BUGS, Plant

SUSPECTS = {
    "embed_scale", "head_untied", "final_norm_missing", "logit_softcap", "logit_scale", "norm_eps", "norm_offset_one", "norm_weight_missing",
    "norm_layernorm", "norm_wrong_weight", "residual_after_norm", "parallel_residual", "residual_scale", "bias_missing",
    "weight_transposed", "fused_order", "qk_permuted", "gate_up_swapped", "wrong_layer_weight", "rope_interleaved",
    "rope_theta", "rope_attention_factor", "rope_scaling_missing", "rope_position_offset", "rope_partial", "rope_low_precision", "rope_missing",
    "rope_direction", "gqa_tile", "softmax_scale", "causal_mask_missing", "mask_off_by_one", "sliding_window",
    "qk_norm_missing", "qk_norm_after_rope", "head_merge_order", "kv_cache_position", "kv_cache_stale", "activation_function",
    "low_precision_norm", "low_precision_scores", "low_precision_matmul", "stale_layer_state", "attn_softcap",
    "norm_missing", "position_embedding_offset", "position_embedding_missing", "position_embedding_stuck", "norm_bias", "router_renorm", "router_order", "router_top_k", "experts_permuted",
    "mask_alignment", "keys_not_rotated", "keys_rotated_twice", "block_input", "block_missing", "attention_gives_nothing",
    "shards_joined_wrong", "weights_zero_from", "low_precision_softmax", "layer_pattern", "qk_norm_scope", "sinks_missing",
}  # fmt: skip

OF_LABELS = {"ref_post_final_norm", "ref_layer_off_by_one", "ref_wrong_point", "ref_token_rows", "duplicate_tensor"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return PlantedDumps(CleanDumps(Casebook(tmp_path_factory.mktemp("corpus"))))


@pytest.mark.parametrize("name", [name for name in MODELS if name not in VARIANTS | ENCODERS])
def test_the_oracle_accuses_no_clean_dump(name):
    path = TINY / name / "reference.safetensors"
    tensors, metadata = read_dump(path)
    oracle = Oracle(model_of(TINY / name, "float32"), tensors, *(json.loads(metadata[key]) for key in ("input_ids", "steps")))
    errors = oracle.local_errors()
    assert errors.keys() == tensors.keys() and max(errors.values()) < 5e-7


def test_program_order():
    tensors, _ = read_dump(TINY / "qwen3" / "reference.safetensors")
    names = sorted((name for name in tensors if "@" not in name), key=program_order)
    assert names[0] == "model.embed_tokens" and names[-2:] == ["model.norm", "lm_head"]
    assert [name.removeprefix("model.layers.1.") for name in names[21:41]] == [
        "input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.q_norm", "self_attn.k_norm",
        "self_attn.q_rope", "self_attn.k_rope", "self_attn.scores", "self_attn.probs", "self_attn.context", "self_attn.o_proj",
        "resid_mid", "post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj", "mlp.act_fn", "mlp.act_mul", "mlp.down_proj",
        "model.layers.1",
    ]  # fmt: skip


def test_program_order_of_the_families():
    def inside(name: str, blocks: str) -> list[str]:
        tensors, _ = read_dump(TINY / name / "reference.safetensors")
        names = [key for key in tensors if "@" not in key]
        names.sort(key=order_in(names))
        return [key.removeprefix(f"{blocks}.0.") for key in names if key.startswith(f"{blocks}.0")]

    gemma = inside("gemma2", "model.layers")
    assert gemma[gemma.index("self_attn.o_proj") :] == [
        "self_attn.o_proj", "post_attention_layernorm", "resid_mid", "pre_feedforward_layernorm", "mlp.gate_proj",
        "mlp.up_proj", "mlp.act_fn", "mlp.act_mul", "mlp.down_proj", "post_feedforward_layernorm", "model.layers.0",
    ]  # fmt: skip
    assert inside("gpt2", "transformer.h") == [
        "ln_1", "attn.c_attn", "attn.q", "attn.k", "attn.v", "attn.scores", "attn.probs", "attn.context", "attn.c_proj",
        "resid_mid", "ln_2", "mlp.c_fc", "mlp.act", "mlp.c_proj", "transformer.h.0",
    ]  # fmt: skip
    experts = inside("qwen3_moe", "model.layers")
    assert experts[experts.index("mlp.gate") :] == [
        "mlp.gate", "mlp.routing", "mlp.experts.gate", "mlp.experts.up", "mlp.experts.act", "mlp.experts.act_mul",
        "mlp.experts.down", "mlp.experts", "model.layers.0",
    ]  # fmt: skip


def test_the_tables_have_every_suspect():
    assert {bug.suspect for bug in BUGS.values()} - {"unknown"} == SUSPECTS
    assert {label.suspect for label in LABELS} == OF_LABELS and {row[4] for row in IN_REFERENCE} == {INV_FREQ, None}
    assert sum(bug.suspect == "unknown" for bug in BUGS.values()) >= 25
    for bug in BUGS.values():
        assert set(bug.models) <= MODELS.keys() and set(bug.layers) <= {0, 1, 2}
        wrong = bug.wrong(1 if bug.in_layer else None, 5)
        assert wrong == sorted(wrong, key=program_order) and wrong
        assert set(bug.fair) <= SUSPECTS


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_mistake_is_where_it_is_said_to_be(made, bug):
    layer = bug.layers[-1] if bug.in_layer else None
    run = Run(TINY / bug.models[0], "float32", (Plant(bug.id, layer),), ("all",), bug.tokens)
    finding = made.examine(run, made.run(run))
    assert finding.name == bug.wrong(layer, bug.from_step + 1)[0]
    assert finding.all[: len(bug.sites)] == bug.wrong(layer, bug.from_step + 1)


def test_a_mistake_elsewhere_is_noticed(made, monkeypatch):
    run = Run(TINY / "llama", "float32", (Plant("gate_up_swapped", 1),), ("all",))
    dump = made.run(run)
    with pytest.raises(AssertionError, match="first to differ is model.layers.1.mlp.gate_proj"):
        made.examine(Run(TINY / "llama", "float32", (Plant("activation_gelu", 1),), ("all",)), dump)
    monkeypatch.setattr(planted, "SHOWS", 1e9)
    with pytest.raises(AssertionError, match="has a ratio of"):
        made.examine(run, dump)


def test_rounded_speeds_show_in_bfloat16_after_many_tokens_only(made):
    for run in LONG_RUNS:
        assert made.examine(run, made.run(run)).ratio > 5
    short = replace(run, tokens="64")
    with pytest.raises(AssertionError, match="q_rope has a ratio of"):
        made.examine(short, made.run(short))


def test_a_copy_without_mistakes_has_the_same_bits(made):
    clean = made.dumps.dump(TINY / "llama", "float32", "12+4")
    copy = made.run(Run(TINY / "llama", "float32", (), ("all",), "12+4"))
    assert all(torch.equal(copy.tensors[name], clean.tensors[name]) for name in clean.tensors)


def test_the_planned_runs_are_many_and_have_one_name_each():
    runs = [*single_runs(), *other_runs(), *small_runs(), *one_by_one_runs(), *family_runs(), *second_runs()]
    assert len({run.name for run in runs}) == len(runs)
    assert {plant.id for run in runs for plant in run.plants} == BUGS.keys()
    assert len(BUGS) >= 150 and len(TWO) >= 10 and len(SMALL) >= 10


def test_a_small_mistake_and_its_cases(tmp_path):
    book = Casebook(tmp_path)
    add_run(book, PlantedDumps(CleanDumps(book)), next(iter(small_runs())))
    alone, pair = book.cases
    assert alone["reference"] is None and pair["candidate"] == alone["candidate"]
    expect = alone["expect"]
    assert expect["name"] == expect["first"] == "model.layers.2.self_attn.q_proj" and expect["all"] == [expect["name"]]
    assert 3.5 <= expect["ratio"] <= 10 and expect["effect"] < expect["noise"]
    tensors, metadata = read_dump(tmp_path / "planted/qwen2/bfloat16/q_scaled-2-small/all.safetensors")
    assert tensors["lm_head"].dtype == torch.bfloat16 and metadata["dtype"] == "bfloat16"


def test_what_is_no_mistake_is_as_near_to_float64(tmp_path):
    book = Casebook(tmp_path, "control/llama*")
    add_equivalents(book, CleanDumps(book))  # asserts it
    assert {case["group"] for case in book.cases} == {"clean"} and all(case["control"] for case in book.cases)
    ids = {case["name"].split("/")[3] for case in book.cases}
    assert ids == {row.id for row in TABLE if {folder.name for folder in row.models} & {"llama", "llama_bias"}}
    scores = "model.layers.0.self_attn.scores"
    dumps = tmp_path / "control/llama/float32"
    assert read_dump(dumps / "padded_zeros/all.safetensors")[0][scores].shape == (4, 12, 17)
    assert read_dump(dumps / "masked_1e9/all.safetensors")[0][scores].min() == -1e9
    assert read_dump(dumps / "last_row/all.safetensors")[0]["model.layers.2"].shape == (1, 48)
