//! Helium: Llama with RoPE of neighbouring channels. `HeliumConfig` and `modeling_helium.py`.

use super::llama::LLAMA;
use super::{Defaults, Family, NormRow, RopeRow, Switch};
use crate::ops::Pairs;

pub(super) const HELIUM: Family = Family {
    name: "helium",
    defaults: Defaults {
        vocab_size: 48_000,
        hidden_size: 2560,
        intermediate_size: Some(7040),
        num_hidden_layers: 24,
        num_attention_heads: 20,
        num_key_value_heads: Some(20),
        head_dim: Some(128),
        max_position_embeddings: 4096,
        eps: 1e-8,
        rope_theta: 1e5,
        ..LLAMA.defaults
    },
    norm: NormRow { rounded_once: true, ..LLAMA.norm },
    whole_heads: false,
    o_bias: Switch::Never,
    rope: Some(RopeRow { pairs: Pairs::Adjacent, ..RopeRow::HALVES }),
    ..LLAMA
};
