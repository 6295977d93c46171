#!/usr/bin/env python3
"""What the configuration classes of transformers stand for when config.json holds nothing but `model_type`, of every family
that has a tiny model.

    python defaults.py              # write tests/fixtures/model/defaults.json, which tests/model/config/defaults.rs reads
"""

import json
from pathlib import Path

from transformers import AutoConfig, PreTrainedConfig

from capture import key_heads
from embedder import is_encoder
from make_tiny import MODELS
from tiny_model import Tiny

FIXTURE = Path(__file__).parents[1] / "tests" / "fixtures" / "model" / "defaults.json"
WIDTH = ("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size")
FUNCTION = ("hidden_activation", "hidden_act", "activation_function", "activation")
EPS = ("rms_norm_eps", "layer_norm_eps", "norm_epsilon", "norm_eps", "layer_norm_epsilon")


def first(config: PreTrainedConfig, names: tuple[str, ...]):
    return next((value for name in names if (value := getattr(config, name, None)) is not None), None)


# What a class needs beside its own defaults: half of a head of 42 channels cannot be rotated; Granite 4 rotates nothing.
GIVEN = {"glm4_moe": {"head_dim": 128}, "granitemoehybrid": {"position_embedding_type": "rope"}}


def width(config: PreTrainedConfig) -> int:
    """Of the MLP. LFM2's class makes it of the key's: `Lfm2MLP`."""
    found = first(getattr(config, "ffn_config", config), WIDTH) or 4 * config.hidden_size
    if not getattr(config, "block_auto_adjust_ff_dim", False):
        return found
    factor, multiple = config.block_ffn_dim_multiplier, config.block_multiple_of
    return -(int(factor * int(2 * found / 3)) // -multiple) * multiple


def of_family(model_type: str) -> dict:
    """Sizes and constants, and the windows of the first layers; what no key of the class says is None."""
    config = AutoConfig.for_model(model_type, **GIVEN.get(model_type, {}))
    config.allow_global_per_layer_attribute_access = True  # what it says is of layers with a window in Gemma 4
    hidden, heads = config.hidden_size, config.num_attention_heads
    turned = getattr(config, "qk_rope_head_dim", None) or getattr(config, "head_dim", None) or hidden // heads
    head_dim = getattr(config, "qk_head_dim", None) or turned
    window, types = getattr(config, "sliding_window", None), getattr(config, "layer_types", None)
    if is_encoder(config) and window:
        window += 1  # of half a window; the query itself is counted
    slides = [kind == "sliding_attention" for kind in types] if types else [True] * config.num_hidden_layers
    rope = getattr(config, "rope_parameters", None) or {}
    rope = rope.get("full_attention", rope)
    dims = getattr(config, "rotary_dim", None) or int(turned * rope.get("partial_rotary_factor", 1.0))
    if rope.get("rope_type") == "proportional":  # some pairs of a whole head stand still
        dims = config.per_layer_config["full_attention"].head_dim
    given = {"given": GIVEN[model_type]} if model_type in GIVEN else {}
    return given | {
        "vocab": config.vocab_size,
        "hidden": hidden,
        "width": width(config),
        "layers": config.num_hidden_layers,
        "heads": heads,
        "key_heads": key_heads(config),
        "head_dim": head_dim,
        "positions": getattr(config, "max_position_embeddings", None),
        "eps": first(config, EPS),
        "function": first(config, FUNCTION),
        "tied": None if is_encoder(config) else getattr(config, "tie_word_embeddings", False),
        "theta": rope.get("rope_theta"),
        "rotated": dims if rope or hasattr(config, "rotary_dim") else None,
        "windows": [window if slide else None for slide in slides[:6]],
    }


def text_type(tiny: Tiny) -> str:
    """The type of its language model."""
    whole = tiny.config["model_type"]
    text = tiny.config.get("text_config", {})
    return text.get("model_type") or AutoConfig.for_model(whole).get_text_config().model_type


# Published under names that transformers does not have: the class that reads them.
ALSO = {"kimi_k2": "deepseek_v3"}


def of_all() -> dict[str, dict]:
    classes = {model_type: model_type for model_type in map(text_type, MODELS.values())} | ALSO
    return {model_type: of_family(classes[model_type]) for model_type in sorted(classes)}


if __name__ == "__main__":
    lines = [f"  {json.dumps(name)}: {json.dumps(facts)}" for name, facts in of_all().items()]
    FIXTURE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
