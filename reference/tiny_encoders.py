"""Tiny encoders and embedders: models without a head, of which no token follows another."""

import torch

from tiny_families import small
from tiny_model import Tiny

POOLING = "sentence_transformers.models.Pooling"
DENSE = "sentence_transformers.models.Dense"
NORMALIZE = "sentence_transformers.models.Normalize"


def published(*behind: tuple[str, dict]) -> dict[str, dict]:
    """The files of sentence-transformers, by path: what stands behind the transformer, as types with their configs."""
    modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    files = {}
    for index, (kind, config) in enumerate(behind, 1):
        path = f"{index}_{kind.rpartition('.')[2]}"
        modules.append({"idx": index, "name": str(index), "path": path, "type": kind})
        if config:
            files[f"{path}/config.json"] = config
    return {"modules.json": modules, **files}


def pooling(mode: str, width: int) -> tuple[str, dict]:
    modes = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")
    return POOLING, {"word_embedding_dimension": width, **{f"pooling_mode_{own}": own == mode for own in modes}}


def dense(inputs: int, outputs: int, function: str) -> tuple[str, dict]:
    config = {"in_features": inputs, "out_features": outputs, "bias": function != "Identity"}
    place = "linear" if function == "Identity" else "activation"
    return DENSE, config | {"activation_function": f"torch.nn.modules.{place}.{function}"}


NO_KEYS = ("num_key_value_heads", "bos_token_id", "eos_token_id")


def encoder(seed: int, model_type: str, config: dict, *behind: tuple[str, dict]) -> Tiny:
    tiny = small(seed, model_type, config, NO_KEYS, embedding=0.5)
    tiny.files = published(*behind) if behind else {}
    return tiny


ENCODERS = {
    # Norms behind the sums, positions and types of tokens, and a pooler that nothing reads; the mean of all rows.
    "bert": encoder(
        1,
        "bert",
        {"num_attention_heads": 3, "type_vocab_size": 2, "layer_norm_eps": 1e-12, "position_embedding_type": "absolute"},
        pooling("mean_tokens", 24),
        (NORMALIZE, {}),
    ),
    # Positions behind the pad, whose id is 1; the row of the first token, as it is.
    "roberta": encoder(
        1,
        "roberta",
        {"num_attention_heads": 3, "type_vocab_size": 1, "layer_norm_eps": 1e-5, "pad_token_id": 1},
        pooling("cls_token", 24),
    ),
    # Of four layers two have a window and a RoPE of their own; nothing behind the last norm.
    "modernbert": encoder(
        1,
        "modernbert",
        {
            "num_hidden_layers": 4,
            "num_attention_heads": 2,
            "hidden_size": 16,
            "intermediate_size": 24,
            "global_attn_every_n_layers": 3,
            "local_attention": 8,
            "global_rope_theta": 5000.0,
            "local_rope_theta": 100.0,
            "norm_eps": 1e-5,
        },
    ),
    # A decoder, of which the last row is the embedding.
    "qwen3_embedding": Tiny(
        1,
        {
            "architectures": ["Qwen3ForCausalLM"],
            **small(1, "qwen3", {"head_dim": 8, "rope_theta": 5000.0, "tie_word_embeddings": True}).config,
        },
        torch.bfloat16,
        embedding=0.5,
        files=published(pooling("lasttoken", 24), (NORMALIZE, {})),
    ),
    # A decoder that sees both ways, half a window to each side in two of three layers, and two matrices behind the mean.
    "gemma_embedding": Tiny(
        2,
        {
            "architectures": ["Gemma3TextModel"],
            **small(
                2,
                "gemma3_text",
                {
                    "num_hidden_layers": 3,
                    "num_attention_heads": 2,
                    "num_key_value_heads": 1,
                    "hidden_size": 16,
                    "intermediate_size": 24,
                    "sliding_window": 8,
                    "_sliding_window_pattern": 3,
                    "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
                    "head_dim": 8,
                    "query_pre_attn_scalar": 12,
                    "rope_theta": 5000.0,
                    "rope_local_base_freq": 100.0,
                    "use_bidirectional_attention": True,
                },
            ).config,
        },
        torch.bfloat16,
        norm=0.0,
        embedding=0.5,
        files=published(pooling("mean_tokens", 16), dense(16, 40, "Identity"), dense(40, 16, "Tanh"), (NORMALIZE, {})),
    ),
}
