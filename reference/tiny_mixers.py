"""Tiny models of families in which something else stands in the place of attention in some layers."""

from tiny_experts import granite, one_by_one, qwen, small
from tiny_families import IMAGE, VISUAL, wrapped
from tiny_model import Weights

DELTA = {
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "full_attention_interval": 2,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 4,
    "linear_value_head_dim": 5,
    "linear_conv_kernel_dim": 4,
}
SMALL = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 12}
ROPE = {"rope_theta": 5000.0, "partial_rotary_factor": 0.5}
MROPE = {
    "rope_type": "default",
    "rope_theta": 5000.0,
    "partial_rotary_factor": 0.5,
    "mrope_interleaved": True,
    "mrope_section": [1, 1, 0],
}
DELTA_EXPERTS = {
    "num_experts": 5,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 8,
    "shared_expert_intermediate_size": 8,
}
MAMBA2 = {
    "mamba_n_heads": 4,
    "mamba_n_groups": 2,
    "mamba_d_state": 6,
    "mamba_d_head": 8,
    "mamba_d_conv": 3,
    "mamba_expand": 2,
    "mamba_chunk_size": 5,
    "mamba_proj_bias": True,
}
GRANITE = {
    "attention_multiplier": 0.5,
    "embedding_multiplier": 3.0,
    "residual_multiplier": 0.4,
    "logits_scaling": 2.5,
    "shared_intermediate_size": 10,
    "attention_bias": True,
}

FALCON_H1 = {
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 40,
    "intermediate_size": 8,
    "mamba_d_ssm": 12,
    "mamba_n_heads": 4,
    "mamba_n_groups": 2,
    "mamba_d_state": 3,
    "mamba_d_conv": 3,
    "mamba_chunk_size": 5,
    "rope_theta": 5000.0,
    "ssm_in_multiplier": 1.25,
    "ssm_out_multiplier": 0.7,
    "ssm_multipliers": [0.85, 1.3, 0.9, 1.2, 0.6],
    "key_multiplier": 0.8,
    "attention_in_multiplier": 1.4,
    "attention_out_multiplier": 0.9,
    "mlp_multipliers": [1.5, 0.6],
    "embedding_multiplier": 2.5,
    "lm_head_multiplier": 0.75,
}


def lfm2_experts(weights: Weights) -> Weights:
    """A matrix each for gate, up and down of each expert, under the names of the dense MLP."""
    return one_by_one("feed_forward", "w1", "w3", "w2")(weights)


def backbone(weights: Weights) -> Weights:
    """Nemotron-H's names: a matrix for each expert, and another word for the base."""
    found = {}
    for name, weight in weights.items():
        name = name.replace("model.", "backbone.", 1)
        if name.endswith(("experts.up_proj", "experts.down_proj")):
            stack, part = name.rsplit(".", 1)
            found |= {f"{stack}.{expert}.{part}.weight": matrix.clone() for expert, matrix in enumerate(weight)}
        else:
            found[name] = weight
    return found


MIXERS = {
    # A convolution over four positions with biases, attention, a convolution; a width that is made of the key's.
    "lfm2": small(
        1,
        "lfm2",
        {
            "num_hidden_layers": 3,
            "full_attn_idxs": [1],
            "conv_L_cache": 4,
            "conv_bias": True,
            "block_ff_dim": 24,
            "block_multiple_of": 6,
            "rope_theta": 5000.0,
        },
        embedding=0.15,
    ),
    # A dense layer, then experts that a bias chooses.
    "lfm2_moe": small(
        6,
        "lfm2_moe",
        {
            "layer_types": ["conv", "full_attention"],
            "num_dense_layers": 1,
            "num_experts": 5,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 12,
            "routed_scaling_factor": 1.5,
            "rope_theta": 5000.0,
        },
        embedding=0.15,
        published=lfm2_experts,
    ),
    # A gated delta rule of two states for each key head, then gated attention of which a quarter is rotated; experts in both.
    "qwen3_next": small(5, "qwen3_next", {**SMALL, **DELTA, **DELTA_EXPERTS, "norm_topk_prob": True, **ROPE}, norm=0.0, published=qwen),
    # The same with an MLP, and matrices of their own.
    "qwen3_5": wrapped(
        1,
        "qwen3_5",
        {**SMALL, **DELTA, "model_type": "qwen3_5_text", "rope_parameters": MROPE},
        {**VISUAL, "num_position_embeddings": 4},
        IMAGE,
        {},
        norm=0.0,
    ),
    # A selective state space whose heads read B and C in two groups, over chunks shorter than the prompt, then attention that
    # nothing rotates; experts beside one that every token has in both.
    "granitemoehybrid": small(
        2,
        "granitemoehybrid",
        {
            **MAMBA2,
            **GRANITE,
            "vocab_size": 40,
            "mamba_d_head": 4,
            "mamba_expand": 1,
            "layer_types": ["mamba", "attention"],
            "num_local_experts": 5,
            "num_experts_per_tok": 2,
            "position_embedding_type": "nope",
        },
        published=granite,
    ),
    # The same without experts, and rotated.
    "granitemoehybrid_dense": small(
        4,
        "granitemoehybrid",
        {
            **MAMBA2,
            **GRANITE,
            "layer_types": ["linear_attention", "full_attention"],
            "num_local_experts": 0,
            "position_embedding_type": "rope",
            "rope_theta": 5000.0,
            "mamba_conv_bias": False,
            "tie_word_embeddings": True,
        },
        embedding=0.06,
    ),
    "bamba": small(
        1,
        "bamba",
        {
            **MAMBA2,
            "mamba_proj_bias": False,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "attn_layer_indices": [1],
            "time_step_limit": [0.0, float("inf")],
            "attention_bias": True,
            "mlp_bias": True,
            "rope_theta": 5000.0,
        },
    ),
    # A selective state space of its own width and attention side by side, constants everywhere, and no norm of what the state
    # gives.
    "falcon_h1": small(
        1,
        "falcon_h1",
        {
            **FALCON_H1,
            "mamba_rms_norm": False,
            "mamba_proj_bias": True,
            "projectors_bias": True,
            "attention_bias": True,
            "mlp_bias": True,
            "time_step_limit": [0.0, float("inf")],
        },
    ),
    # The same with a norm before the gate, no biases, and the table of embeddings as the head.
    "falcon_h1_norm": small(
        4,
        "falcon_h1",
        {
            **FALCON_H1,
            "mamba_d_ssm": None,
            "mamba_expand": 1,
            "mamba_d_head": 4,
            "mamba_rms_norm": True,
            "mamba_norm_before_gate": True,
            "mamba_conv_bias": False,
            "head_dim": 6,
            "tie_word_embeddings": True,
        },
        embedding=0.06,
    ),
    # Blocks of one part each: a selective state space whose steps of time have a floor in forwards of several tokens, an MLP
    # without a gate, attention that nothing rotates, and experts without a gate, chosen in groups.
    "nemotron_h": small(
        33,
        "nemotron_h",
        {
            "vocab_size": 40,
            "hybrid_override_pattern": "M-*E",
            "num_hidden_layers": 4,
            "head_dim": 6,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "mamba_num_heads": 4,
            "mamba_head_dim": 4,
            "n_groups": 2,
            "ssm_state_size": 6,
            "conv_kernel": 3,
            "chunk_size": 5,
            "time_step_min": 0.4,
            "use_bias": True,
            "mlp_bias": True,
            "n_routed_experts": 6,
            "n_group": 3,
            "topk_group": 2,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 8,
            "moe_shared_expert_intermediate_size": 14,
            "routed_scaling_factor": 1.5,
        },
        published=backbone,
    ),
    "qwen3_5_moe": small(1, "qwen3_5_moe_text", {**SMALL, **DELTA, **DELTA_EXPERTS, **ROPE}, norm=0.0),
}
