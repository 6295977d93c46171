//! EXAONE 4: norms behind attention and MLP instead of before them, q and k normalised per head, windows in three of four
//! layers, which alone are rotated then. `Exaone4Config` and `modeling_exaone4.py`.

use super::llama::LLAMA;
use super::olmo2::NAMES;
use super::qwen3::QK_NORM;
use super::{Defaults, Family, RopeRow, Rotated, Switch, Windows};

pub(super) const EXAONE4: Family = Family {
    name: "exaone4",
    defaults: Defaults {
        vocab_size: 102_400,
        intermediate_size: Some(16_384),
        num_key_value_heads: Some(32),
        eps: 1e-5,
        sliding_window: Some(4096),
        ..LLAMA.defaults
    },
    around: (false, true),
    whole_heads: false,
    qkv_bias: Switch::Never,
    o_bias: Switch::Never,
    mlp_bias: Switch::Never,
    qk_norm: Some(QK_NORM),
    rope: Some(RopeRow { layers: Rotated::WindowedIfAny, ..RopeRow::HALVES }),
    windows: Windows::AllBut { key: Some("sliding_window_pattern"), every: 4 },
    names: &NAMES,
    ..LLAMA
};
