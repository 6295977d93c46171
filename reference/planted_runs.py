"""Which mistakes are planted where, and which parts of their dumps are kept."""

from collections.abc import Iterable
from pathlib import Path

from casebook import Casebook
from clean import DECODED, DEMO, LONG, ONE_BY_ONE, CleanDumps
from make_tiny import TINY
from planted import PlantedDumps, Run, add_run
from planting import BASIC, BUGS, SCALING, SECOND, Plant

SPARSE = ("blocks", "second", "third", "attention")


def single_runs() -> Iterable[Run]:
    """Each mistake in float32 and bf16, in another layer and model each time; the basic ones in f16 and in more coverages."""
    for index, bug in enumerate(BUGS.values()):
        basic = bug.id in BASIC
        less = () if bug.float32_only else ("bfloat16", "float16") if basic and index % 4 == 0 else ("bfloat16",)
        for turn, precision in enumerate(("float32", *less)):
            folder = TINY / bug.models[(index + turn) % len(bug.models)]
            layer = bug.layers[(index + turn) % len(bug.layers)] if bug.in_layer else None
            start = (index + index // 4 + turn) % 4
            sparse = SPARSE[start:] + SPARSE[:start] if basic or (turn == 0 and index % 4 == 0) else ()
            tokens = bug.tokens
            beside = precision == "bfloat16" and index % 3 == 1 and (basic or index % 2 == 0)
            yield Run(folder, precision, (Plant(bug.id, layer),), ("all", *sparse), tokens, any_of=True, beside_float32=beside)


# What takes several tokens in one forward, or more rows than one to be told from a factor or seen at all.
SEVERAL_TOKENS = {"late_rows", "causal_mask_missing", "mask_off_by_one", "window_off_by_one", "window_ignored", "head_merge_order"}
SEVERAL_TOKENS |= {"embedding_row", "prefix_seen", "final_norm_eps", "norm_eps", "norm_eps_usual", "norm_eps_zero"}
SEVERAL_TOKENS |= {"gpt2_mask_missing", "window_nowhere", "ln_eps"}
SEVERAL_TOKENS |= {"rope_yarn", "rope_ramp", "rope_llama3", "yarn_by_8", "yarn_as_linear"}


def one_by_one_runs() -> Iterable[Run]:
    """The mistakes of engines that are fed one token after the other, the prompt as well."""
    for index, bug in enumerate(BUGS.values()):
        if bug.from_step or bug.id in SEVERAL_TOKENS:
            continue
        coarse = index % 3 == 2 and not bug.float32_only and not bug.suspect.startswith("rope")  # small at position 1
        layer = bug.layers[index % len(bug.layers)] if bug.in_layer else None
        precision = "bfloat16" if coarse else "float32"
        yield Run(TINY / bug.models[index % len(bug.models)], precision, (Plant(bug.id, layer),), ("all",), ONE_BY_ONE)


def every(bug: str) -> tuple[Plant, ...]:
    """A mistake in each of three layers."""
    return tuple(Plant(bug, layer) for layer in range(3))


EVERYWHERE = (
    ("qwen2", "float32", "rope_interleaved"),
    ("llama", "bfloat16", "rope_theta"),
    ("mistral", "float32", "gqa_tile"),
    ("qwen3", "float32", "norm_eps"),
    ("qwen3", "bfloat16", "qk_norm_missing"),
    ("llama_bias", "bfloat16", "qkv_bias_missing"),
    ("llama", "float32", "rope_low_precision"),
    ("qwen2", "float16", "softmax_scale_missing"),
    ("mistral", "bfloat16", "window_ignored"),
    ("llama", "float32", "rope_scaling_missing"),
    ("qwen3", "float32", "qk_norm_after_rope"),
    ("llama_bias", "float32", "rope_scaling_invented"),
    ("mistral", "bfloat16", "rope_theta_1e6"),
    ("qwen2", "bfloat16", "fused_by_group"),
)
TWO = (
    ("qwen2", "float32", Plant("rope_interleaved", 0), Plant("gate_up_swapped", 2)),
    ("llama_bias", "float32", Plant("v_bias_missing", 1), Plant("final_norm_missing")),
    ("llama", "float32", Plant("softmax_scale_missing", 0), Plant("mlp_wrong_layer", 1)),
    ("qwen3", "float32", Plant("norm_offset_one", 0), Plant("causal_mask_missing", 2)),
    ("mistral", "bfloat16", Plant("window_ignored", 0), Plant("activation_gelu", 2)),
    ("qwen2", "bfloat16", Plant("k_bias_missing", 0), Plant("head_random")),
    ("llama", "bfloat16", Plant("gqa_tile_v", 1), Plant("norm_wrong_layer", 1)),
    ("mistral", "float32", Plant("norm_eps", 1), Plant("rope_interleaved", 1)),
    ("qwen3", "bfloat16", Plant("qk_norm_missing", 1), Plant("activation_gelu", 1)),
    ("llama", "float32", *every("rope_interleaved"), Plant("head_untied")),
    ("qwen2", "bfloat16", *every("qkv_bias_missing"), Plant("final_norm_offset")),
    ("llama_bias", "float32", Plant("fused_from_groups", 0), Plant("softmax_scale_inverted", 1)),
    ("qwen3", "float32", Plant("rope_theta_1e4", 1), Plant("gate_up_woven", 1)),
    ("mistral", "float32", Plant("v_noisy", 0), Plant("down_wrong_layer", 2)),
    # two in one op
    ("llama_bias", "float32", Plant("rope_interleaved", 1), Plant("rope_theta_1e6", 1)),
    ("llama", "float32", Plant("norm_offset_one", 1), Plant("norm_layernorm", 1)),
    ("llama_bias", "bfloat16", Plant("q_bias_missing", 1), Plant("q_reshaped", 1)),
)
INV_FREQ = "ref_inv_freq_low_precision"
IN_REFERENCE = (
    ("llama", "float32", "64", every("rope_low_precision"), INV_FREQ),
    ("qwen2", "float32", "12", every("rope_low_precision"), INV_FREQ),
    ("mistral", "float32", "64", every("rope_low_precision"), INV_FREQ),
    ("qwen3", "float32", "64", every("rope_low_precision"), INV_FREQ),
    ("qwen2", "float32", "12", (Plant("rope_interleaved", 1),), None),
    ("llama", "bfloat16", "12", (Plant("softmax_scale_missing", 1),), None),
    ("mistral", "float32", "12", every("window_off_by_one"), None),
    ("qwen3", "bfloat16", "12", (Plant("norm_offset_one", 0),), None),
    ("llama_bias", "float32", "12", (Plant("norm_eps", 2),), None),
)
# Rounded speeds in a bf16 run, as a mistake of the candidate and of the reference.
LONG_RUNS = (
    Run(TINY / "llama", "bfloat16", every("rope_low_precision"), ("unscored",), LONG, beside_float32=True),
    Run(TINY / "llama", "bfloat16", every("rope_low_precision"), ("unscored",), LONG, of_reference=True, suspect=INV_FREQ),
)
# What dumps of another kind show: without the norms of q and k, with the rows of decode steps below those of the prefill.
OTHERWISE_DUMPED = (
    ("float32", "unnormed", Plant("qk_norm_after_rope", 2)),
    ("bfloat16", "unnormed", Plant("qk_norm_missing", 0)),
    ("float32", "joined", Plant("decode_position_stuck", 1)),
    ("bfloat16", "untold", Plant("decode_position_restarted", 2)),
    ("float32", "untold", Plant("decode_position_offset", 0)),
    ("bfloat16", "joined", Plant("cache_zero_k", 1)),
    ("float32", "untold", Plant("cache_zero_k", 0)),
    ("float32", "joined", Plant("cache_other_v", 1)),
    ("bfloat16", "untold", Plant("cache_other_v", 2)),
)
ON_DEMO = (
    ("float32", "rope_interleaved", 2),
    ("bfloat16", "rope_theta", 1),
    ("float32", "causal_mask_missing", 3),
    ("bfloat16", "gate_up_swapped", 3),
    ("float32", "head_merge_order", 1),
    ("bfloat16", "v_bias_missing", 0),
    ("float32", "cache_zero_k", 2),
    ("bfloat16", "layer_skipped", 2),
)


def other_runs() -> Iterable[Run]:
    """A mistake in every layer, two mistakes at once, one in the reference, long prompts, and the trained demo model."""
    for model, precision, bug in EVERYWHERE:
        yield Run(TINY / model, precision, every(bug), ("all", "blocks"))
    for model, precision, *plants in TWO:
        yield Run(TINY / model, precision, tuple(plants), ("all", "blocks"))
    for model, precision, tokens, plants, suspect in IN_REFERENCE:
        yield Run(TINY / model, precision, plants, ("all",), tokens, of_reference=True, suspect=suspect)
    yield from LONG_RUNS
    for index, (precision, kind, plant) in enumerate(OTHERWISE_DUMPED):
        model = "qwen3" if kind == "unnormed" else plant.bug.models[index % len(plant.bug.models)]
        tokens = "12" if kind == "unnormed" else DECODED
        yield Run(TINY / model, precision, (plant,), (kind,), tokens)
    for precision, bug, layer in ON_DEMO:
        tokens = DECODED if BUGS[bug].from_step else "12"
        coverages = ("blocks", "attention") if precision == "float32" else ("all", "blocks")  # a whole one has 1 MB in f32
        yield Run(DEMO, precision, (Plant(bug, layer),), coverages, tokens)


# Where a family has it wrong in all layers, and two mistakes at once.
OF_FAMILIES = (
    ("gemma2", "float32", *(Plant("window_everywhere", layer) for layer in (1, 3))),
    ("gemma2", "bfloat16", *(Plant("window_nowhere", layer) for layer in (0, 2))),
    ("gemma2", "float32", *(Plant("scores_uncapped", layer) for layer in range(4))),
    ("gemma2", "bfloat16", *(Plant("norm_plain", layer) for layer in range(4))),
    ("gemma2", "bfloat16", Plant("embed_unscaled"), Plant("logits_uncapped")),
    ("gpt2", "float32", *every("ln_bias_missing")),
    ("gpt2", "bfloat16", *every("c_attn_keys_first")),
    ("gpt2", "float32", Plant("positions_from_one"), Plant("ln_rms", 1)),
    ("qwen3_moe", "float32", *(Plant("router_shares", layer) for layer in (0, 2))),
    ("qwen3_moe", "bfloat16", Plant("router_top_1", 0), Plant("expert_neighbour_down", 2)),
    ("mixtral", "float32", *(Plant("experts_gate_up", layer) for layer in range(2))),
    ("mixtral", "bfloat16", Plant("expert_neighbour", 0), Plant("router_shares", 1)),
)


def second_runs() -> Iterable[Run]:
    """The mistakes of caches, later parts, wiring and shards once more, without scores and by their blocks."""
    for index, bug in enumerate((*SECOND, *SCALING)):
        layer = bug.layers[(index + 1) % len(bug.layers)]
        yield Run(TINY / bug.models[(index + 1) % len(bug.models)], "float32", (Plant(bug.id, layer),), ("unscored", "blocks"), bug.tokens)


def family_runs() -> Iterable[Run]:
    for model, precision, *plants in OF_FAMILIES:
        yield Run(TINY / model, precision, tuple(plants), ("all", "blocks"))


# Sizes are chosen so that `ratio` is 3.5 to 10 and `effect` is below `noise`; planted.py asserts both.
SMALL = (
    ("qwen2", "bfloat16", Plant("q_scaled", 2, 1.009)),
    ("llama", "bfloat16", Plant("up_scaled", 2, 0.99)),
    ("mistral", "bfloat16", Plant("head_scaled", 2, 0.975)),
    ("llama_bias", "bfloat16", Plant("norm_eps", 2, 0.1)),
    ("llama", "bfloat16", Plant("rope_theta", 2, 1.06)),
    ("qwen3", "bfloat16", Plant("scores_scaled", 1, 1.01)),
    ("qwen2", "bfloat16", Plant("activation_sharper", 1, 1.03)),
    ("mistral", "bfloat16", Plant("residual_scaled", 2, 0.975)),
    ("llama", "bfloat16", Plant("late_rows", 1, 1.012)),
    ("llama_bias", "bfloat16", Plant("final_norm_eps", None, 0.2)),
    ("qwen3", "bfloat16", Plant("logits_scaled", None, 1.01)),
    ("qwen2", "bfloat16", Plant("logit_softcap", None, 40.0)),
    ("qwen2", "bfloat16", Plant("down_quantised", 2, 7)),
    ("llama", "bfloat16", Plant("attention_softcap", 2, 20.0)),
    ("qwen2", "bfloat16", Plant("bias_channel_missing", 2, 14)),
    ("mistral", "float16", Plant("up_scaled", 2, 0.999)),
    ("qwen2", "float16", Plant("norm_eps", 2, 0.015)),
    ("llama_bias", "float16", Plant("head_scaled", 1, 0.997)),
    ("qwen2", "float16", Plant("down_quantised", 1, 10)),
    ("qwen2", "float32", Plant("scores_scaled", 2, 1 + 4e-7)),
    ("llama", "float32", Plant("norm_eps", 2, 1.3e-5)),
    ("llama", "float32", Plant("rope_theta", 2, 1 + 2e-6)),
)


def small_runs() -> Iterable[Run]:
    """Mistakes that drown in the noise that comes in, and stand out of the noise of their own op."""
    for model, precision, plant in SMALL:
        yield Run(TINY / model, precision, (plant,), ("all",), small=True)


# In one layer of a real model: the blocks, or all of the layers around. Its blocks 11 to 28 carry massive activations.
SMOLLM2 = (
    ("float32", Plant("rope_interleaved", 0), "12", ("blocks", "all")),
    ("float32", Plant("rope_theta", 12), "24", ("around-12", "blocks")),
    ("float32", Plant("gate_up_swapped", 29), "12", ("blocks",)),
    ("float32", Plant("causal_mask_missing", 20), "40", ("third",)),
    ("float32", Plant("gqa_tile", 9), "24", ("attention", "around-9")),
    ("float32", Plant("norm_eps", 3, 1e-6), "40", ("blocks", "around-3")),
    ("float32", Plant("rope_low_precision", 24), "40", ("around-24", "second")),
    ("float32", Plant("layer_skipped", 11), "12", ("blocks",)),
    ("float32", Plant("cache_zero_k", 15), DECODED, ("blocks", "around-15")),
    ("bfloat16", Plant("softmax_scale_missing", 5), "24", ("blocks", "around-5")),
    ("bfloat16", Plant("mlp_wrong_layer", 17), "12", ("blocks", "around-17")),
    ("bfloat16", Plant("norm_offset_one", 28), "12", ("around-28",)),
    ("bfloat16", Plant("residual_after_norm", 2), "24", ("blocks", "third")),
    ("bfloat16", Plant("final_norm_missing"), "12", ("all",)),
    ("bfloat16", Plant("channel_zero", 26), "24", ("around-26",)),
)
SMOLLM2_SMALL = (
    ("bfloat16", Plant("q_scaled", 20, 1.009)),
    ("bfloat16", Plant("up_scaled", 10, 0.99)),
    ("bfloat16", Plant("head_scaled", 15, 0.955)),
    ("bfloat16", Plant("scores_scaled", 23, 1.01)),
    ("bfloat16", Plant("late_rows", 27, 1.012)),
)


def smollm2_runs(folder: Path) -> Iterable[Run]:
    for precision, plant, tokens, coverages in SMOLLM2:
        yield Run(folder, precision, (plant,), coverages, tokens)
    for precision, plant in SMOLLM2_SMALL:
        yield Run(folder, precision, (plant,), (f"around-{plant.layer}",), small=True)


def add_planted(book: Casebook, dumps: CleanDumps, runs: Iterable[Run]) -> None:
    """Adds the cases of all these runs."""
    made = PlantedDumps(dumps)
    for run in runs:
        add_run(book, made, run)
