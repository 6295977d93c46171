//! Hunyuan with experts: q and k are normalised per head once they are rotated; experts beside one that every token has.
//! `HunYuanMoEV1Config` and `modeling_hunyuan_v1_moe.py`.

use super::llama::{LLAMA, PATHS};
use super::qwen3::QK_NORM;
use super::qwen3_moe::{EXPERTS, MODULES, STORED};
use super::{Defaults, ExpertsRow, Family, QkNormRow, RopeRow, SharedRow, SharedWidth, Switch};
use crate::model::role::{Names, Role};

const OWN: &[(Role, &str)] = &[
    (Role::QNorm, "self_attn.query_layernorm"),
    (Role::KNorm, "self_attn.key_layernorm"),
    (Role::RouterLogits, "mlp.gate.wg"),
    (Role::SharedGateProj, "mlp.shared_mlp.gate_proj"),
    (Role::SharedUpProj, "mlp.shared_mlp.up_proj"),
    (Role::SharedActFn, "mlp.shared_mlp.act_fn"),
    (Role::SharedActMul, "mlp.shared_mlp.act_mul"),
    (Role::SharedDownProj, "mlp.shared_mlp.down_proj"),
    (Role::MlpOut, "mlp"),
];

const NAMES: Names = Names { layers: "model.layers", paths: &[OWN, EXPERTS, PATHS], modules: MODULES };

pub(super) const HUNYUAN_V1_MOE: Family = Family {
    name: "hunyuan_v1_moe",
    reads: &["use_qk_norm"],
    defaults: Defaults { vocab_size: 290_943, eps: 1e-5, ..LLAMA.defaults },
    whole_heads: false,
    mlp_bias: Switch::Never,
    qk_norm: Some(QkNormRow { after_rope: true, ..QK_NORM }),
    rope: Some(RopeRow { alpha: true, ..RopeRow::HALVES }),
    experts: Some(ExpertsRow {
        count: (&["num_experts", "num_local_experts"], 1),
        top_k: (&["moe_topk", "num_experts_per_tok"], 1),
        width: ("intermediate_size", 11_008),
        rounded: true,
        shared: Some(SharedRow { width: SharedWidth::Own("intermediate_size", 11_008), weighed: false }),
        ..ExpertsRow::ALL_LAYERS
    }),
    names: &NAMES,
    stored: &STORED,
    ..LLAMA
};
