//! Qwen2-VL, its language model: Qwen2, whose positions have three axes that are one for text. `Qwen2VLTextConfig` and
//! `modeling_qwen2_vl.py`.

use super::qwen2::QWEN2;
use super::{Defaults, Family, Keys, RopeRow, Windows};

pub(super) const QWEN2_VL: Family = Family {
    name: "qwen2_vl_text",
    keys: Keys { head_dim: None, ..QWEN2.keys },
    defaults: Defaults {
        vocab_size: 152_064,
        hidden_size: 8192,
        intermediate_size: Some(29_568),
        num_hidden_layers: 80,
        num_attention_heads: 64,
        num_key_value_heads: Some(8),
        eps: 1e-5,
        rope_theta: 1e6,
        ..QWEN2.defaults
    },
    whole_heads: true,
    rope: Some(RopeRow { sections: true, ..RopeRow::HALVES }),
    windows: Windows::ByLayer { first: 80 },
    ..QWEN2
};
