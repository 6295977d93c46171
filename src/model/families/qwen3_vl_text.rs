//! Qwen3-VL, its language model: Qwen3, whose positions have three axes that are one for text. `Qwen3VLTextConfig` and
//! `modeling_qwen3_vl.py`.

use super::qwen3::QWEN3;
use super::{Defaults, Family, RopeRow, Windows};

pub(super) const QWEN3_VL: Family = Family {
    name: "qwen3_vl_text",
    defaults: Defaults { max_position_embeddings: 128_000, rope_theta: 5e5, sliding_window: None, ..QWEN3.defaults },
    rope: Some(RopeRow { sections: true, ..RopeRow::HALVES }),
    windows: Windows::None,
    ..QWEN3
};
