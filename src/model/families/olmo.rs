//! OLMo: `LayerNorm` without weight and bias; q, k and v may be clipped. `OlmoConfig` and `modeling_olmo.py`.

use super::gpt2::LAYER_NORM;
use super::llama::LLAMA;
use super::{Defaults, Family, Keys, NormRow, RopeRow, Switch};
use crate::ops::Inside;

/// In f32 whatever the run computes in.
pub(super) const ROPE: RopeRow = RopeRow { inside: Inside::Nothing, ..RopeRow::HALVES };

pub(super) const OLMO: Family = Family {
    name: "olmo",
    keys: Keys { eps: None, ..LLAMA.keys },
    defaults: Defaults { vocab_size: 50_304, eps: 1e-5, ..LLAMA.defaults },
    norm: NormRow { weight: false, bias: false, ..LAYER_NORM },
    whole_heads: false,
    mlp_bias: Switch::Never,
    clip: Some("clip_qkv"),
    rope: Some(ROPE),
    ..LLAMA
};
