"""The knobs of families, turned: the same weights under a config.json of which one key says something else, as a port has it
that reads another key, or none. PyTorch computes both; what differs first is where the mistake is.

`KNOBS` is the table: the suspect that a key stands for, the key's names, and what is put in the place of its value. A knob is
turned in every family that has it, and only where that changes the logits. What no key says stands in knob_parts.py.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel

import planting_families as families
import planting_mixers as mixers
from capture import capture, class_of
from casebook import Casebook, cut, named, told, write_dump
from clean import DECODED, CleanDumps, Dump, folder_name, layers_of, model_of
from demo.make_dumps import feed
from knob_parts import PARTS, Part
from oracle import relative_error
from planting_norms import skip_norm

EFFECT = 1e-4  # of the logits, relative: a smaller one need not be told from rounding


@dataclass(frozen=True)
class Knob:
    """A key, and the suspect that another value of it is."""

    suspect: str
    keys: tuple[str, ...]
    turned: Callable[[Any], Any]  # the value in its place; the same value where it is left alone
    fair: tuple[str, ...] = ()  # other names of the same numbers
    models: tuple[str, ...] | None = None  # where it is this mistake; None: in all that have the key

    @property
    def id(self) -> str:
        return self.keys[0]


def times(factor: float) -> Callable[[Any], Any]:
    return lambda value: type(value)(value * factor)


def negated(value: Any) -> Any:
    return not value if isinstance(value, bool) else value


def other_act(value: Any) -> Any:
    return "silu" if value != "silu" else "gelu_pytorch_tanh"


def fewer(chosen: Any) -> Any:
    """One expert less for each token, where that leaves one."""
    return chosen - 1 if isinstance(chosen, int) and chosen > 1 else chosen


def other_kind(types: list[str]) -> list[str]:
    """The last of the layers that have no window with one."""
    full = [index for index, kind in enumerate(types) if kind == "full_attention"]
    if "sliding_attention" not in types or not full:
        return types
    return ["sliding_attention" if index == full[-1] else kind for index, kind in enumerate(types)]


# But for Phi 3, whose tables of factors have a length.
PARTLY_ROTATED = ("gpt_neox", "gpt_neox_sequential", "phi", "glm", "glm4", "nemotron", "stablelm")

KNOBS = (
    Knob("norm_eps", ("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_eps", "norm_epsilon"), lambda eps: 1e-2),
    Knob("rope_theta", ("rope_theta",), times(4.0), fair=("rope_scaling_missing",)),
    Knob("rope_partial", ("partial_rotary_factor",), lambda part: 1.0, models=PARTLY_ROTATED),
    Knob("rope_interleaved", ("rope_interleave",), negated),
    Knob("rope_attention_factor", ("attention_factor",), lambda factor: 1.0),
    Knob("sliding_window", ("sliding_window",), lambda window: window and window - 2),
    Knob("softmax_scale", ("query_pre_attn_scalar", "attention_multiplier"), lambda scale: type(scale)(1)),
    Knob("embed_scale", ("embedding_multiplier",), lambda factor: 1.0),
    Knob("residual_scale", ("residual_multiplier",), lambda factor: 1.0),
    Knob("logit_scale", ("logits_scaling", "logit_scale", "lm_head_multiplier"), lambda factor: 1.0),
    Knob("attn_softcap", ("attn_logit_softcapping",), lambda cap: None),
    Knob("logit_softcap", ("final_logit_softcapping",), times(0.5)),
    Knob("activation_function", ("hidden_activation", "hidden_act", "activation_function"), other_act),
    Knob("parallel_residual", ("use_parallel_residual",), negated, models=("gpt_neox", "gpt_neox_sequential")),
    Knob("qk_norm_missing", ("use_qk_norm", "qk_layernorm"), lambda used: False),
    Knob("router_renorm", ("norm_topk_prob",), negated, fair=("router_order",)),
    Knob("router_renorm", ("moe_normalize_expert_weights",), lambda order: None, fair=("router_order",)),
    Knob("router_scale_missing", ("routed_scaling_factor",), lambda factor: 1.0),
    Knob("router_groups", ("topk_group",), lambda kept: kept - 1 if kept > 1 else kept),
    Knob("router_top_k", ("num_experts_per_tok", "moe_topk", "moe_k", "moe_top_k", "top_k_experts"), fewer),
    Knob("glu_limit", ("swiglu_limit",), lambda limit: 1e6),
    Knob("glu_alpha", ("swiglu_alpha",), lambda alpha: 1.0),
    Knob("layer_pattern", ("layer_types",), other_kind, fair=("rope_layer_type", "nope_layers", "sliding_window")),
    Knob("nope_layers", ("no_rope_layers",), lambda layers: [1 - layers[0], *layers[1:]], fair=("layer_pattern",)),
    Knob("clip_missing", ("clip_qkv",), lambda limit: None, models=("olmo_clip",)),
    Knob("query_scale_by_position", ("llama_4_scaling_beta",), lambda beta: 0.0),
    Knob("multiplier_missing", ("ssm_in_multiplier",), times(1.6)),
    Knob("multiplier_missing", ("ssm_multipliers",), lambda factors: [factors[0], 1.0, *factors[2:]]),
    Knob("multiplier_missing", ("attention_in_multiplier",), lambda factor: 1.0),
    Knob("multiplier_missing", ("key_multiplier",), lambda factor: 1.0, fair=("softmax_scale",)),
    Knob("multiplier_missing", ("mlp_multipliers",), lambda factors: [factors[0] * 1.2, factors[1]]),
    Knob("residual_scale", ("ssm_out_multiplier",), lambda factor: 1.0),
    Knob("residual_scale", ("attention_out_multiplier",), lambda factor: 1.0),
    Knob("bias_missing", ("attention_bias", "use_qkv_bias", "qkv_bias"), lambda used: False),
)


@dataclass(frozen=True)
class Turn:
    """A mistake that no key makes, in one layer of models that the oracle does not know."""

    id: str
    suspect: str
    plant: Callable[[PreTrainedModel, int], None]
    models: tuple[str, ...]
    fair: tuple[str, ...] = ()
    layer: int = 1


LATENT = ("deepseek_v2", "deepseek_v3", "glm4_moe_lite")
STATES, CONVOLUTIONS = ("qwen3_next", "qwen3_5_moe"), ("lfm2", "lfm2_moe")
MAMBA2 = ("granitemoehybrid", "bamba", "falcon_h1")

TURNS = (
    Turn("mscale_missing", "mla_scale", families.scale_of_width, LATENT[:2], fair=("softmax_scale",)),
    Turn("scale_of_part", "mla_scale", families.scale_of_part, LATENT, fair=("softmax_scale",)),
    Turn("latent_norm_missing", "norm_missing", skip_norm("self_attn.kv_a_layernorm"), LATENT),
    Turn("query_latent_norm_missing", "norm_missing", skip_norm("self_attn.q_a_layernorm"), LATENT[1:]),
    Turn("latent_norm_eps", "norm_eps", families.latent_eps("self_attn.kv_a_layernorm", 1e-2), LATENT),
    Turn("keys_of_the_first", "kv_shared_layer", families.share_the_first, ("gemma4_shared",), layer=2),
    Turn("keys_of_the_layer_before", "kv_shared_layer", families.share_its_own, ("gemma4_shared",)),
    Turn("clip_wide", "clip_missing", families.clip_wide, ("dbrx",)),
    Turn("attention_gate_open", "output_gate_missing", mixers.open_gate, STATES),
    Turn("lengths_kept", "l2norm_missing", mixers.keep_lengths, STATES, layer=0),
    Turn("lengths_by_mean", "l2norm_missing", mixers.divide_by_mean, STATES, layer=0),
    Turn("decay_grows", "decay_sign", mixers.grow, STATES, layer=0),
    Turn("window_forgotten", "conv_state_stale", mixers.forget_window("linear_attn"), STATES, layer=0),
    Turn("short_window_forgotten", "conv_state_stale", mixers.forget_window("conv"), CONVOLUTIONS, layer=0),
    Turn("state_forgotten", "delta_state_stale", mixers.forget_state("linear_attn"), STATES, layer=0),
    Turn("gate_before_norm", "gate_norm_order", mixers.gate_before_norm, STATES, layer=0),
    Turn("space_decay_grows", "decay_sign", mixers.grow_in_time, MAMBA2, layer=0),
    Turn("space_window_forgotten", "conv_state_stale", mixers.forget_window("mamba"), MAMBA2, layer=0),
    Turn("space_state_forgotten", "delta_state_stale", mixers.forget_state("mamba"), MAMBA2, layer=0),
    Turn("norm_before_gate", "gate_norm_order", mixers.norm_before_gate, MAMBA2[:2], layer=0),
    Turn("lone_window_forgotten", "conv_state_stale", mixers.forget_window("mixer"), ("nemotron_h",), layer=0),
    Turn("lone_state_forgotten", "delta_state_stale", mixers.forget_state("mixer"), ("nemotron_h",), layer=0),
    Turn("gate_first", "gate_norm_order", mixers.gate_before_norm_of_groups, ("falcon_h1_norm",), layer=0),
    Turn("space_no_input_bias", "bias_missing", mixers.no_bias("mamba.in_proj"), MAMBA2[::2], layer=0),
    Turn("space_no_filter_bias", "bias_missing", mixers.no_bias("mamba.conv1d"), MAMBA2, layer=0),
    Turn("filters_reversed", "conv_kernel_reversed", mixers.reverse_taps("linear_attn.conv1d"), STATES, layer=0),
    Turn("short_filters_reversed", "conv_kernel_reversed", mixers.reverse_taps("conv.conv"), CONVOLUTIONS, layer=0),
    Turn("space_filters_reversed", "conv_kernel_reversed", mixers.reverse_taps("mamba.conv1d"), MAMBA2, layer=0),
    Turn("rates_twice", "decay_scale", mixers.rates_twice("linear_attn"), STATES, layer=0),
    Turn("space_rates_twice", "decay_scale", mixers.rates_twice("mamba"), MAMBA2, layer=0),
    Turn("space_no_skip", "skip_missing", mixers.no_bias("mamba", "D"), MAMBA2, layer=0),
    Turn("gate_as_it_is", "gate_activation_missing", mixers.gate_as_it_is, STATES, layer=0),
    Turn("space_gate_as_it_is", "gate_activation_missing", mixers.space_gate_as_it_is, MAMBA2[:2], layer=0),
    Turn("experts_exchanged", "experts_permuted", families.exchange_experts("mlp.experts", "down_proj"), ("qwen3_moe", "qwen3_next", "gpt_oss")),
    Turn("weighed_by_sigmoid", "router_score", families.weigh_by_sigmoid, ("qwen3_moe", "olmoe")),
    Turn("norms_behind", "norm_site", families.norms_behind, ("qwen3_moe", "olmoe", "starcoder2"), fair=("norm_missing",)),
    Turn("norms_before", "norm_site", families.norms_before, ("olmo2", "olmo3"), fair=("norm_missing",)),
    Turn("experts_no_bias", "bias_missing", mixers.no_bias("mlp.experts", "down_proj_bias"), ("gpt_oss",)),
    Turn("experts_no_gate_bias", "bias_missing", mixers.no_bias("mlp.experts", "gate_up_proj_bias"), ("gpt_oss",)),
    Turn("space_no_step_bias", "bias_missing", mixers.no_bias("mamba", "dt_bias"), MAMBA2, layer=0),
)


def change(config: dict, knob: Knob) -> bool:
    """Turns a knob wherever its key stands, also inside `rope_parameters`; whether it stood anywhere."""
    found = False
    for key, value in config.items():
        if isinstance(value, dict):
            found |= change(value, knob)
        elif key in knob.keys and value is not None and knob.turned(value) != value:
            config[key] = knob.turned(value)
            found = True
    return found


def turned(folder: Path, precision: str, knob: Knob | Part) -> PreTrainedModel | None:
    """The model under the changed configuration, or with the changed part; None if it does not have it."""
    clean = model_of(folder, precision)
    if isinstance(knob, Part):
        model = copy.deepcopy(clean)
        return model if knob.change(model) else None
    if knob.models is not None and folder.name not in knob.models:
        return None
    keys = AutoConfig.from_pretrained(folder).to_dict()
    if not change(keys.get("text_config", keys), knob):
        return None
    config: PreTrainedConfig = type(clean.config).from_dict(keys)
    model = class_of(config, folder).from_config(config, dtype=clean.dtype, attn_implementation="eager").eval()
    missing = model.load_state_dict(clean.state_dict(), strict=False).missing_keys
    assert not missing, f"{folder.name} under another {knob.id} lacks {missing}"
    return model


def with_mistake(folder: Path, precision: str, turn: Turn) -> PreTrainedModel:
    """The model with a mistake in it."""
    model = copy.deepcopy(model_of(folder, precision))
    turn.plant(model, turn.layer)
    return model


def in_order(model: PreTrainedModel, like: Dump) -> Dump:
    """What a model computes for these tokens, in the order in which it does."""
    with TemporaryDirectory() as temporary:
        with capture(model, Path(temporary, "dump.safetensors")) as recorder:
            feed(model, like.ids, like.steps)
        return Dump(dict(recorder.tensors), like.metadata)


def add_knobs(book: Casebook, dumps: CleanDumps, folder: Path) -> None:
    """Adds every knob that a model has: all of a run, and its blocks, beside the right one and alone."""
    for knob in (*KNOBS, *PARTS, *TURNS):
        root = f"planted/{folder_name(folder)}/float32/knob-{knob.id}"
        if not any(book.wants(f"{root}/{kind}/{role}") for kind in ("all", "blocks") for role in ("alone", "pair")):
            continue
        if isinstance(knob, Turn) and folder.name not in knob.models:
            continue
        model = (with_mistake if isinstance(knob, Turn) else turned)(folder, "float32", knob)
        if model is None:
            continue
        clean = dumps.dump(folder, "float32", DECODED)
        wrong = in_order(model, clean)
        order = [name for name in wrong.tensors if name in clean.tensors]
        first = next((name for name in order if not torch.equal(wrong.tensors[name], clean.tensors[name])), None)
        if first is None or relative_error(wrong.tensors[order[-1]], clean.tensors[order[-1]]) < EFFECT:
            continue
        for kind in ("all", "blocks"):
            part = cut(wrong.tensors, kind, layers_of(folder))
            clean_part = cut(clean.tensors, kind, layers_of(folder))
            if all(name not in clean_part or torch.equal(tensor, clean_part[name]) for name, tensor in part.items()):
                continue  # nothing of it shows
            planted = write_dump(book.path(f"{root}/{kind}.safetensors"), part, told(clean.metadata, kind))
            right = dumps.part(folder, "float32", DECODED, kind)
            expect = {
                "verdicts": ["diverged"],
                "bug": f"knob-{knob.id}",
                "suspect": knob.suspect,
                "fair": list(knob.fair),
                "name": named(first, kind),
                # The experts that are chosen and the one of every token compute side by side.
                # And gate is a part of gate_up.
                "or": [
                    first.replace("shared_mlp.act_fn", "experts.act").replace("shared_expert.activation_fn", "experts.act_mul"),
                    first.replace("experts.gate", "experts.gate_up"),
                ],
                "culprit": "candidate",
                "precision": "float32",
                "coverage": kind,
            }
            book.add(f"{root}/{kind}/alone", folder, expect, candidate=planted)
            book.add(f"{root}/{kind}/pair", folder, expect, candidate=planted, reference=right)
    dumps.forget()


def idle_knobs(book: Casebook) -> list[str]:
    """Those that no case turns: a model that shows them is missing."""
    turned = {part for case in book.cases for part in case["name"].split("/") if part.startswith("knob-")}
    return [knob.id for knob in (*KNOBS, *PARTS, *TURNS) if f"knob-{knob.id}" not in turned]
