"""Tiny models of families with experts, two layers each. Routers' biases, sinks and shared experts matter in them."""

import re
from collections.abc import Callable

import torch

from tiny_families import SIZES
from tiny_model import Tiny, Weights


def one_by_one(block: str, gate: str, up: str, down: str) -> Callable[[Weights], Weights]:
    """Experts are published with a matrix each for gate, up and down, under the name their block had then."""

    def split(weights: Weights) -> Weights:
        found = {}
        for name, weight in weights.items():
            name = re.sub(r"\bmlp(?=\.gate\.|\.experts\.)", block, name)
            if not (stack := re.fullmatch(r"(.*\.experts)\.(gate_up_proj|down_proj)", name)):
                found[name] = weight
                continue
            parts = (down,) if stack[2] == "down_proj" else (gate, up)
            for expert, matrix in enumerate(weight):
                for part, rows in zip(parts, matrix.chunk(len(parts)), strict=True):
                    found[f"{stack[1]}.{expert}.{part}.weight"] = rows.clone()
        return found

    return split


def small(seed: int, model_type: str, config: dict, **how) -> Tiny:
    """A model of these sizes."""
    sizes = {**SIZES, "vocab_size": 64, "hidden_size": 16, "intermediate_size": 12}
    return Tiny(seed, {"model_type": model_type, **sizes, **config}, torch.bfloat16, **how)


qwen = one_by_one("mlp", "gate_proj", "up_proj", "down_proj")


def granite(weights: Weights) -> Weights:
    """Granite's stacks have names of their own."""
    names = {"experts.gate_up_proj": "input_linear.weight", "experts.down_proj": "output_linear.weight", "router.weight": "router.layer.weight"}

    def published(name: str) -> str:
        return next((name.replace(own, other) for own, other in names.items() if name.endswith(own)), name)

    return {published(name): weight for name, weight in weights.items()}


def phi(weights: Weights) -> Weights:
    """Mixtral's names; the router is its gate."""
    split = one_by_one("block_sparse_moe", "w1", "w3", "w2")(weights)
    return {name.replace("mlp.router", "block_sparse_moe.gate"): weight for name, weight in split.items()}


EXPERTS = {
    # Norms over all heads of q and of k; weights that do not sum to 1.
    "olmoe": small(2, "olmoe", {"num_experts": 6, "num_experts_per_tok": 2, "clip_qkv": None}, published=qwen),
    # A shared expert and its weight; a dense layer first.
    "qwen2_moe": small(
        1,
        "qwen2_moe",
        {
            "num_experts": 5,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 12,
            "shared_expert_intermediate_size": 20,
            "decoder_sparse_step": 2,
            "norm_topk_prob": False,
            "use_sliding_window": False,
            "sliding_window": 32,
            "max_window_layers": 1,
        },
        published=qwen,
    ),
    # The softmax of the chosen logits, stacks under other names, Granite's factors.
    "granitemoe": small(
        11,
        "granitemoe",
        {
            "num_local_experts": 5,
            "num_experts_per_tok": 2,
            "attention_multiplier": 0.5,
            "embedding_multiplier": 3.0,
            "residual_multiplier": 0.4,
            "logits_scaling": 2.5,
            "tie_word_embeddings": True,
        },
        published=granite,
        embedding=0.06,
    ),
    # LayerNorm, biases, and a router that weighs among those that are nearly as large: many are.
    "phimoe": small(
        7,
        "phimoe",
        {
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "num_local_experts": 6,
            "num_experts_per_tok": 2,
            "router_jitter_noise": 0.2,
            "input_jitter_noise": 0.01,
            "attention_bias": True,
            "lm_head_bias": True,
            "original_max_position_embeddings": 14,
            "rope_scaling": {
                "type": "longrope",
                "short_factor": [1.0, 1.2, 1.5, 2.0],
                "long_factor": [1.5, 2.0, 4.0, 6.0],
                "short_mscale": 1.2,
                "long_mscale": 1.2,
                "original_max_position_embeddings": 14,
            },
        },
        published=phi,
    ),
}
