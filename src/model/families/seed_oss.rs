//! Seed-OSS: Llama with biases on q, k and v, and heads of a width of their own. `SeedOssConfig` and `modeling_seed_oss.py`.

use super::llama::LLAMA;
use super::{Defaults, Family, Switch};

pub(super) const SEED_OSS: Family = Family {
    name: "seed_oss",
    defaults: Defaults {
        vocab_size: 155_136,
        intermediate_size: Some(27_648),
        num_hidden_layers: 64,
        num_attention_heads: 80,
        num_key_value_heads: Some(8),
        head_dim: Some(128),
        max_position_embeddings: 524_288,
        ..LLAMA.defaults
    },
    whole_heads: false,
    qkv_bias: Switch::Unless("attention_bias"),
    o_bias: Switch::Key("attention_out_bias"),
    ..LLAMA
};
