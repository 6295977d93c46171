//! Nemotron 3 and 4, Minitron: `LayerNorm` of `1 + w` with bias, half of each head rotated, an MLP without a gate that squares
//! what relu leaves. `NemotronConfig` and `modeling_nemotron.py`.

use super::gpt2::LAYER_NORM;
use super::llama::LLAMA;
use super::{Defaults, Family, Keys, NormRow, RopeRow};

pub(super) const NEMOTRON: Family = Family {
    name: "nemotron",
    keys: Keys { eps: Some("norm_eps"), ..LLAMA.keys },
    defaults: Defaults {
        vocab_size: 256_000,
        hidden_size: 6144,
        intermediate_size: Some(24_576),
        num_attention_heads: 48,
        max_position_embeddings: 4096,
        eps: 1e-5,
        act: "relu2",
        ..LLAMA.defaults
    },
    norm: NormRow { offset: 1.0, ..LAYER_NORM },
    whole_heads: false,
    rope: Some(RopeRow { share: Some(("partial_rotary_factor", 0.5)), ..RopeRow::HALVES }),
    gated: false,
    ..LLAMA
};
