//! Hunyuan with experts: the dense one's attention, and experts beside one that every token has.
//! `HunYuanMoEV1Config` and `modeling_hunyuan_v1_moe.py`.

use super::hunyuan_v1_dense::HUNYUAN_DENSE;
use super::llama::PATHS;
use super::qwen3_moe::{EXPERTS, MODULES, STORED};
use super::{ExpertsRow, Family, SharedRow, SharedWidth};
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
    ..HUNYUAN_DENSE
};
