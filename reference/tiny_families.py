"""Tiny models of families whose block is Llama's with other parts, two layers each: the fewest that tell a layer from the
next. What a family has beyond the others is not neutral in them.
"""

import torch

from tiny_model import Tiny, Weights

SIZES = {
    "vocab_size": 80,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 80,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
KEY_HEADS = "num_key_value_heads"
INNER = "intermediate_size"


HIDDEN = ("hidden_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings")


def small(seed: int, model_type: str, config: dict, without: tuple[str, ...] = (), **how) -> Tiny:
    """A model of these sizes, but for keys that its class does not have."""
    sizes = {key: size for key, size in SIZES.items() if key not in without}
    return Tiny(seed, {"model_type": model_type, **sizes, **config}, torch.bfloat16, decode=4, **how)


def wrapped(seed: int, model_type: str, text: dict, vision: dict, outer: dict, names: dict[str, str], **how) -> Tiny:
    """A model of several parts whose language model is of these sizes; `names` are beginnings of names in published files."""

    def published(weights: Weights) -> Weights:
        renamed = {}
        for name, weight in weights.items():
            old = next((old for old in names if name.startswith(old)), "")
            renamed[names.get(old, "") + name.removeprefix(old)] = weight
        return renamed

    special = ("bos_token_id", "eos_token_id", "pad_token_id")
    text = {key: size for key, size in SIZES.items() if key not in special} | text
    config = {"model_type": model_type, **outer, "vision_config": vision}
    config |= text if model_type == "qwen2_vl" else {"text_config": text}  # as transformers 4 wrote it
    return Tiny(seed, config, torch.bfloat16, decode=4, published=published if names else None, **how)


GEMMA4 = {
    "vocab_size": 40,
    "num_hidden_layers": 4,
    "hidden_size": 8,
    "intermediate_size": 8,
    "head_dim": 4,
    "global_head_dim": 8,
    "sliding_window": 6,
    "rope_parameters": {
        "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
        "full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.5, "rope_theta": 5000.0},
    },
}

# As transformers 4 named them.
LLAVA = {
    "model.language_model.": "language_model.model.",
    "lm_head.": "language_model.lm_head.",
    "model.vision_tower.": "vision_tower.",
    "model.multi_modal_projector.": "multi_modal_projector.",
}
TOWER = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28, "patch_size": 14}
VISUAL = {"depth": 1, "hidden_size": 8, "intermediate_size": 8, "num_heads": 2, "out_hidden_size": 24, "patch_size": 2}
MROPE = {"mrope_section": [1, 1, 1]}
IMAGE = {"image_token_id": 2, "video_token_id": 2, "vision_start_token_id": 2, "vision_end_token_id": 2}

# Keys and values of two heads out of a row of 10 channels, four of each head rotated.
LATENT = {
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "kv_lora_rank": 10,
    "qk_nope_head_dim": 6,
    "qk_rope_head_dim": 4,
    "v_head_dim": 6,
}


FAMILIES = {
    # Norms of 1 + w, scaled embeddings, a tied head; the older name of gelu by tanh, which stands in published files.
    "gemma": small(
        16,
        "gemma",
        {"head_dim": 8, "hidden_act": "gelu", "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "torch_dtype": "bfloat16"},
        norm=0.0,
        embedding=0.15,
    ),
    # A factor of embeddings, of what is added to the stream, of scores and of logits.
    "granite": small(
        8,
        "granite",
        {
            "attention_multiplier": 0.5,
            "embedding_multiplier": 3.0,
            "residual_multiplier": 0.4,
            "logits_scaling": 2.5,
            "rope_parameters": {"rope_theta": 5000.0, "rope_type": "default"},
            "tie_word_embeddings": True,
            "attention_bias": False,
            "mlp_bias": False,
        },
        embedding=0.06,
    ),
    # Norms without weights.
    "olmo": small(1, "olmo", {"rope_theta": 5000.0}),
    # Queries, keys and values that are clipped.
    "olmo_clip": small(1, "olmo", {"rope_theta": 5000.0, "clip_qkv": 1.0}),
    # Norms behind attention and MLP only, and over all heads of q and of k.
    "olmo2": small(1, "olmo2", {"rope_theta": 5000.0}),
    # LayerNorm, an MLP without a gate, biases everywhere, a window shorter than the prompt.
    "starcoder2": small(5, "starcoder2", {"use_bias": True, "sliding_window": 6, "norm_epsilon": 1e-5}, embedding=0.1),
    # Biases on q, k and v alone, heads of a width of their own.
    "seed_oss": small(1, "seed_oss", {"head_dim": 8, "attention_out_bias": False}),
    # The square of what relu leaves.
    "arcee": small(1, "arcee", {"hidden_act": "relu2"}),
    # Learned positions behind two other rows, relu, biases.
    "opt": small(5, "opt", {"ffn_dim": 40, "word_embed_proj_dim": 24, "do_layer_norm_before": True}, (KEY_HEADS, INNER), embedding=0.1),
    # Norms behind the sums, and embeddings of another width than the stream.
    "opt_post": small(1, "opt", {"ffn_dim": 40, "word_embed_proj_dim": 16, "do_layer_norm_before": False}, (KEY_HEADS, INNER), embedding=0.1),
    # Slopes for six heads, which is no power of two, and a norm behind the embeddings.
    "bloom": small(
        14,
        "bloom",
        {"n_layer": 2, "num_attention_heads": 5, "n_embed": 20, "pretraining_tp": 2, "slow_but_exact": False},
        (*HIDDEN, KEY_HEADS, INNER),
        embedding=0.15,
    ),
    # One norm for attention and MLP, a norm with a weight of its own for each head, neighbouring channels.
    "cohere": small(1, "cohere", {"use_qk_norm": True, "logit_scale": 0.25, "rope_theta": 5000.0}, embedding=0.15),
    # Of three layers two have a window and are rotated.
    "cohere2": small(
        4,
        "cohere2",
        {"num_hidden_layers": 3, "layer_types": ["sliding_attention", "sliding_attention", "full_attention"], "sliding_window": 6, "logit_scale": 0.25, "hidden_size": 16, "intermediate_size": 24},
        embedding=0.15,
    ),
    # Two norms side by side, q, k and v of each head together, half of each head rotated.
    "gpt_neox": small(2, "gpt_neox", {"num_attention_heads": 3, "rotary_pct": 0.5, "rotary_emb_base": 5000}, (KEY_HEADS,)),
    # The same one after the other.
    "gpt_neox_sequential": small(
        2,
        "gpt_neox",
        {"num_attention_heads": 3, "use_parallel_residual": False, "rope_parameters": {"rope_theta": 5000.0, "partial_rotary_factor": 0.5}},
        (KEY_HEADS,),
    ),
    # One norm for attention and MLP, biases everywhere, of the head as well.
    "phi": small(1, "phi", {"num_attention_heads": 3, "num_key_value_heads": 3, "qk_layernorm": True}),
    "gptj": small(
        5,
        "gptj",
        {"n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": 80, "n_inner": 40, "rotary_dim": 4},
        (*HIDDEN, KEY_HEADS, INNER),
    ),
    # One key head.
    "falcon": small(4, "falcon", {"ffn_hidden_size": 40, "bias": True, "num_attention_heads": 3}, (KEY_HEADS, INNER), embedding=0.1),
    # Two norms, two key heads of two queries each.
    "falcon_groups": small(
        2,
        "falcon",
        {"ffn_hidden_size": 40, "new_decoder_architecture": True, "num_kv_heads": 2, "hidden_size": 32},
        (KEY_HEADS, INNER),
        embedding=0.1,
    ),
    # A norm with a weight of its own for each head of q and k; one norm for attention and MLP.
    "stablelm": small(
        1,
        "stablelm",
        {
            "num_attention_heads": 3,
            "num_key_value_heads": 1,
            "qk_layernorm": True,
            "use_qkv_bias": True,
            "use_parallel_residual": True,
            "partial_rotary_factor": 0.5,
        },
    ),
    # LayerNorm of 1 + w.
    "nemotron": small(1, "nemotron", {"hidden_act": "relu2", "head_dim": 8, "norm_eps": 1e-5}, norm=0.0),
    # Neighbouring channels.
    "helium": small(1, "helium", {"head_dim": 6, "rms_norm_eps": 1e-5}),
    # One matrix for q, k and v, one for gate and up, of RoPE two tables.
    "phi3": small(
        1,
        "phi3",
        {
            "original_max_position_embeddings": 14,
            "partial_rotary_factor": 0.75,
            "rope_scaling": {"type": "longrope", "short_factor": [1.0, 1.2], "long_factor": [1.5, 6.0]},
        },
    ),
    # One matrix for gate and up, half of each head rotated.
    "glm": small(1, "glm", {"head_dim": 8, "attention_bias": True}),
    "glm4": small(1, "glm4", {"num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 8, "attention_bias": True}),
    # The second layer is not rotated.
    "smollm3": small(1, "smollm3", {"no_rope_layers": [1, 0], "tie_word_embeddings": False}),
    # And has a window.
    "smollm3_window": small(
        1,
        "smollm3",
        {"no_rope_layers": [1, 0], "tie_word_embeddings": False, "use_sliding_window": True, "sliding_window": 6},
    ),
    # Two windows and a layer of all, whose RoPE alone is yarn's.
    "olmo3": small(
        1,
        "olmo3",
        {
            "num_hidden_layers": 3,
            "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "hidden_size": 16,
            "intermediate_size": 24,
            "sliding_window": 6,
            "rope_theta": 5000.0,
            "rope_scaling": {
                "rope_type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 20,
                "attention_factor": 1.1,
                "beta_fast": 4.0,
                "beta_slow": 1.0,
            },
        },
    ),
    # Two windows, which alone are rotated.
    "exaone4": small(
        2,
        "exaone4",
        {
            "num_hidden_layers": 3,
            "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "hidden_size": 16,
            "intermediate_size": 24,
            "sliding_window": 6,
        },
    ),
    # Latent attention before an MLP.
    "youtu": small(1, "youtu", {**LATENT, "hidden_size": 16, "intermediate_size": 24, "q_lora_rank": 12, "rope_theta": 500.0, "tie_word_embeddings": False, "pad_token_id": None}),
    # Two layers with a window and a RoPE of their own, one without.
    "gemma3": small(
        5,
        "gemma3_text",
        {
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "hidden_size": 16,
            "intermediate_size": 24,
            "sliding_window": 6,
            "sliding_window_pattern": 3,
            "head_dim": 8,
            "query_pre_attn_scalar": 12,
            "rope_theta": 5000.0,
            "rope_local_base_freq": 100.0,
            "rope_scaling": {"rope_type": "linear", "factor": 4.0},
        },
        norm=0.0,
        embedding=0.06,
    ),
    # The first layer has a window, the second has not.
    "ministral": small(
        1,
        "ministral",
        {"head_dim": 8, "sliding_window": 6, "layer_types": ["sliding_attention", "full_attention"]},
    ),
    # Queries that grow from the sixth position on.
    "ministral3": small(
        1,
        "ministral3",
        {
            "head_dim": 8,
            "rope_parameters": {
                "type": "yarn",
                "rope_theta": 500.0,
                "factor": 4.0,
                "original_max_position_embeddings": 5,
                "beta_fast": 4.0,
                "beta_slow": 1.0,
                "mscale": 1.0,
                "mscale_all_dim": 1.0,
                "llama_4_scaling_beta": 0.4,
            },
        },
    ),
    # Norms behind the rotation, whose base is stretched.
    "hunyuan": small(
        1,
        "hunyuan_v1_dense",
        {
            "head_dim": 8,
            "rope_theta": 500.0,
            "rope_scaling": {"type": "dynamic", "alpha": 4.0, "factor": 1.0, "mscale": 1.0, "mscale_all_dim": 0.0},
            "use_qk_norm": True,
        },
    ),
    # Biases everywhere, neighbouring channels.
    "ernie4_5": small(1, "ernie4_5", {"head_dim": 8, "use_bias": True, "rope_theta": 500.0}, embedding=0.1),
    # No gate, a function with weights.
    "apertus": small(1, "apertus", {"rope_theta": 500.0, "rope_scaling": LLAMA3}),
    # Two kinds of layers, of which the last two read the keys and values of the first two; inputs for each layer.
    "gemma4": small(
        5,
        "gemma4_text",
        {
            **GEMMA4,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "layer_types": ["sliding_attention", "full_attention"] * 2,
            "num_kv_shared_layers": 2,
            "use_double_wide_mlp": True,
            "hidden_size_per_layer_input": 2,
            "vocab_size_per_layer_input": 40,
        },
        embedding=0.1,
        norm=0.6,
    ),
    # Values that are the keys before their norm, and another number of heads, in the last layer.
    "gemma4_keys": small(
        5,
        "gemma4_text",
        {
            **GEMMA4,
            "num_hidden_layers": 3,
            "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
            "attention_k_eq_v": True,
            "num_global_key_value_heads": 1,
            "hidden_size_per_layer_input": 0,
            "final_logit_softcapping": 2.0,
        },
        embedding=0.1,
        norm=0.6,
    ),
    # The last reads the keys and values of the second; the first has the same kind.
    "gemma4_shared": small(
        7,
        "gemma4_text",
        {
            **GEMMA4,
            "hidden_size": 12,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "layer_types": ["full_attention"] * 3,
            "num_kv_shared_layers": 1,
            "hidden_size_per_layer_input": 4,
            "vocab_size_per_layer_input": 40,
        },
        embedding=0.1,
        norm=0.6,
    ),
    # Experts beside the MLP of each layer.
    "gemma4_moe": small(
        12,
        "gemma4_text",
        {
            **GEMMA4,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "layer_types": ["sliding_attention", "full_attention"],
            "hidden_size_per_layer_input": 0,
            "enable_moe_block": True,
            "num_experts": 5,
            "top_k_experts": 2,
            "moe_intermediate_size": 6,
        },
        embedding=0.1,
        norm=0.6,
    ),
    # The language models of models of several parts.
    "mistral3": wrapped(
        1,
        "mistral3",
        {"model_type": "mistral", "intermediate_size": 24, "head_dim": 8, "rms_norm_eps": 1e-5, "rope_theta": 5000.0, "sliding_window": None},
        {"model_type": "pixtral", **TOWER, "head_dim": 4},
        {"image_token_index": 2, "vision_feature_layer": -1, "tie_word_embeddings": False},
        LLAVA,
    ),
    "gemma3_wrapped": wrapped(
        5,
        "gemma3",
        {
            "model_type": "gemma3_text",
            "hidden_size": 16,
            "intermediate_size": 24,
            "sliding_window": 6,
            "head_dim": 8,
            "rope_scaling": {"rope_type": "linear", "factor": 4.0},
        },
        {"model_type": "siglip_vision_model", **TOWER},
        {"boi_token_index": 2, "eoi_token_index": 2, "image_token_index": 2, "mm_tokens_per_image": 4},
        LLAVA,
        norm=0.0,
        embedding=0.06,
    ),
    "qwen2_vl": wrapped(
        4,
        "qwen2_vl",
        {"rope_theta": 5000.0, "rope_scaling": {"type": "mrope", **MROPE}, "use_sliding_window": False},
        {"depth": 1, "embed_dim": 8, "hidden_size": 24, "mlp_ratio": 1, "num_heads": 2, "patch_size": 2},
        {"tie_word_embeddings": True, **IMAGE},
        {"model.language_model.": "model.", "model.visual.": "visual."},
        embedding=0.15,
    ),
    "qwen2_5_vl": wrapped(
        1,
        "qwen2_5_vl",
        {"model_type": "qwen2_5_vl_text", "rope_parameters": {"rope_type": "default", "rope_theta": 5000.0, **MROPE}},
        {**VISUAL, "fullatt_block_indexes": [0]},
        IMAGE,
        {},
    ),
    "qwen3_vl": wrapped(
        1,
        "qwen3_vl",
        {
            "model_type": "qwen3_vl_text",
            "intermediate_size": 24,
            "head_dim": 8,
            "rope_theta": 5000.0,
            "rope_scaling": {"rope_type": "default", "mrope_interleaved": True, "mrope_section": [2, 1, 1]},
        },
        {**VISUAL, "deepstack_visual_indexes": [0], "num_position_embeddings": 4},
        IMAGE,
        {},
    ),
}
