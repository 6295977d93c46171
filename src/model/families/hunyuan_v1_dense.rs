//! Hunyuan: Llama whose q and k are normalised per head behind the rotation, the base of which may be stretched.
//! `HunYuanDenseV1Config` and `modeling_hunyuan_v1_dense.py`.

use super::llama::{LLAMA, MODULES, PATHS};
use super::qwen3::QK_NORM;
use super::{Defaults, Family, QkNormRow, RopeRow, Switch};
use crate::model::role::{Names, Role};

const OWN: &[(Role, &str)] = &[(Role::QNorm, "self_attn.query_layernorm"), (Role::KNorm, "self_attn.key_layernorm")];

const NAMES: Names = Names { layers: "model.layers", paths: &[OWN, PATHS], modules: MODULES };

pub(super) const HUNYUAN_DENSE: Family = Family {
    name: "hunyuan_v1_dense",
    // It stands in published files, and nothing reads it.
    reads: &["use_qk_norm"],
    defaults: Defaults { vocab_size: 290_943, eps: 1e-5, ..LLAMA.defaults },
    whole_heads: false,
    mlp_bias: Switch::Never,
    qk_norm: Some(QkNormRow { after_rope: true, ..QK_NORM }),
    rope: Some(RopeRow { alpha: true, ..RopeRow::HALVES }),
    names: &NAMES,
    ..LLAMA
};
