//! Gemma: norms of `1 + w`, scaled embeddings, a tied head. `GemmaConfig` and `modeling_gemma.py`.

use super::gemma2::GEMMA2;
use super::llama::LLAMA;
use super::{Defaults, Family, Switch};

pub(super) const GEMMA: Family = Family {
    name: "gemma",
    // It stands in published files, and nothing reads it.
    reads: &["hidden_activation"],
    defaults: Defaults {
        vocab_size: 256_000,
        hidden_size: 3072,
        intermediate_size: Some(24_576),
        num_hidden_layers: 28,
        num_attention_heads: 16,
        num_key_value_heads: Some(16),
        head_dim: Some(256),
        max_position_embeddings: 8192,
        act: "gelu_pytorch_tanh",
        tie_word_embeddings: true,
        ..LLAMA.defaults
    },
    acts: &[("gelu", "gelu_pytorch_tanh")],
    norm: GEMMA2.norm,
    whole_heads: false,
    mlp_bias: Switch::Never,
    embed_scale: true,
    ..LLAMA
};
