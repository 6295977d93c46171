"""Tiny models of families with experts, two layers each. Routers' biases, sinks and shared experts matter in them."""

import re
from collections.abc import Callable

import torch

from tiny_families import LATENT, SIZES
from tiny_model import Tiny, Weights


STRETCHED = {"type": "yarn", "factor": 4.0, "beta_fast": 4.0, "beta_slow": 1.0, "original_max_position_embeddings": 20}


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


def ernie(weights: Weights) -> Weights:
    """The bias that chooses stood beside the router."""
    return {name.replace("mlp.gate.moe_statics", "mlp.moe_statics"): weight for name, weight in qwen(weights).items()}


def minimax(weights: Weights) -> Weights:
    """Mixtral's names, and those of the bias that chooses."""
    split = one_by_one("block_sparse_moe", "w1", "w3", "w2")(weights)
    return {name.replace("mlp.e_score", "block_sparse_moe.e_score"): weight for name, weight in split.items()}


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
    # Queries, keys and values out of one matrix, clipped; the experts' matrices below each other.
    "dbrx": Tiny(
        1,
        {
            "model_type": "dbrx",
            "vocab_size": 64,
            "d_model": 16,
            "n_heads": 4,
            "n_layers": 2,
            "max_seq_len": 80,
            "rope_theta": 500.0,
            "attn_config": {"model_type": "", "clip_qkv": 1.0, "kv_n_heads": 2, "rope_theta": 500.0},
            "ffn_config": {"model_type": "", "ffn_hidden_size": 12, "moe_num_experts": 5, "moe_top_k": 2, "moe_jitter_eps": 0.01},
            "bos_token_id": 0,
            "eos_token_id": 1,
        },
        torch.bfloat16,
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
    # A sink for each head, a window, biases on every matrix, and gates of which some are clamped.
    "gpt_oss": small(
        19,
        "gpt_oss",
        {
            "num_local_experts": 5,
            "num_experts_per_tok": 2,
            "head_dim": 8,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "sliding_window": 6,
            "swiglu_limit": 1.2,
            "rope_theta": 500.0,
            "rope_scaling": {
                "rope_type": "yarn",
                "factor": 4.0,
                "beta_fast": 4.0,
                "beta_slow": 1.0,
                "truncate": False,
                "original_max_position_embeddings": 20,
            },
        },
    ),
    # A dense layer, then experts in three groups of which two are kept, chosen by a bias, weighted by a factor, beside two more.
    "glm4_moe": small(
        29,
        "glm4_moe",
        {
            "n_routed_experts": 6,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 12,
            "n_shared_experts": 2,
            "n_group": 3,
            "topk_group": 2,
            "first_k_dense_replace": 1,
            "routed_scaling_factor": 1.7,
            "norm_topk_prob": True,
            "use_qk_norm": True,
            "attention_bias": True,
            "head_dim": 8,
            "num_nextn_predict_layers": 1,
        },
        published=qwen,
    ),
    # A layer of chunks, rotated and normed behind that, with experts that get what they compute times a weight; one that is not
    # rotated, whose queries grow with the position, without.
    "llama4": small(
        1,
        "llama4_text",
        {
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 8,
            "intermediate_size": 12,
            "intermediate_size_mlp": 20,
            "moe_layers": [0],
            "num_local_experts": 4,
            "num_experts_per_tok": 1,
            "no_rope_layers": [1, 0],
            "attention_chunk_size": 6,
            "floor_scale": 4,
            "attn_scale": 0.5,
            "attn_temperature_tuning": True,
            "use_qk_norm": True,
            "rope_theta": 500.0,
        },
    ),
    # Latent attention, neighbouring channels, groups of experts that are as good as their best; no narrow row of queries.
    "deepseek_v2": small(
        1,
        "deepseek_v2",
        {
            **LATENT,
            "q_lora_rank": None,
            "n_routed_experts": 6,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 12,
            "n_shared_experts": 2,
            "first_k_dense_replace": 1,
            "topk_method": "group_limited_greedy",
            "scoring_func": "softmax",
            "n_group": 3,
            "topk_group": 2,
            "routed_scaling_factor": 1.7,
            "norm_topk_prob": False,
            "rope_theta": 500.0,
            "rope_scaling": {**STRETCHED, "mscale": 0.707, "mscale_all_dim": 0.707},
        },
        published=qwen,
    ),
    # A narrow row of queries, too, what is rotated written in halves, a bias that chooses; cosines have a factor of their own.
    "deepseek_v3": small(
        34,
        "deepseek_v3",
        {
            **LATENT,
            "q_lora_rank": 12,
            "attention_bias": True,
            "n_routed_experts": 6,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 12,
            "n_shared_experts": 1,
            "first_k_dense_replace": 1,
            "topk_method": "noaux_tc",
            "scoring_func": "sigmoid",
            "n_group": 3,
            "topk_group": 2,
            "routed_scaling_factor": 1.7,
            "norm_topk_prob": True,
            "num_nextn_predict_layers": 1,
            "rope_theta": 500.0,
            "rope_scaling": {**STRETCHED, "mscale": 1.2, "mscale_all_dim": 0.8},
        },
        published=qwen,
    ),
    # The layers that have experts are listed; pairs of halves, values wider than keys.
    "glm4_moe_lite": small(
        25,
        "glm4_moe_lite",
        {
            **LATENT,
            "q_lora_rank": 12,
            "v_head_dim": 10,
            "n_routed_experts": 5,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 12,
            "n_shared_experts": 1,
            "mlp_layer_types": ["sparse", "dense"],
            "routed_scaling_factor": 1.7,
            "norm_topk_prob": True,
            "rope_interleave": False,
            "rope_parameters": {"rope_theta": 500.0, "rope_type": "default"},
        },
        published=qwen,
    ),
    # A bias that chooses among shares of all, a dense layer, biases of the MLP and of the shared expert.
    "ernie4_5_moe": small(
        10,
        "ernie4_5_moe",
        {
            "moe_num_experts": 5,
            "moe_k": 2,
            "moe_intermediate_size": 12,
            "moe_num_shared_experts": 1,
            "use_bias": True,
            "tie_word_embeddings": False,
        },
        published=ernie,
    ),
    # Norms over all heads of q and of k, half of each head rotated, a bias that chooses.
    "minimax_m2": small(
        132,
        "minimax_m2",
        {"num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 8, "rotary_dim": 4},
        published=minimax,
    ),
    # Norms of each head behind the rotation, whose base grows with alpha; a shared expert.
    "hunyuan_v1_moe": small(
        6,
        "hunyuan_v1_moe",
        {
            "num_experts": 5,
            "moe_topk": [2, 2],
            "head_dim": 8,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "rope_theta": 500.0,
            "rope_scaling": {"type": "dynamic", "alpha": 3.0, "factor": 1.0},
            "use_qk_norm": True,
        },
        published=qwen,
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
