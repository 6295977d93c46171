//! Qwen3: q and k are normalised per head. `Qwen3Config` and `modeling_qwen3.py`.

use super::llama::LLAMA;
use super::qwen2::QWEN2;
use super::{Defaults, Family, QkNormRow, Switch};
use crate::model::spec::Over;

pub(super) const QK_NORM: QkNormRow =
    QkNormRow { at: Switch::Always, norm: LLAMA.norm, over: Over::Head, after_rope: false, rotated_only: false };

pub(super) const QWEN3: Family = Family {
    name: "qwen3",
    reads: &[],
    defaults: Defaults { head_dim: Some(128), ..QWEN2.defaults },
    qkv_bias: LLAMA.qkv_bias,
    o_bias: LLAMA.o_bias,
    qk_norm: Some(QK_NORM),
    ..QWEN2
};
