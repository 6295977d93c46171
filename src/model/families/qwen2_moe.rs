//! Qwen1.5-MoE and Qwen2-MoE: Qwen2 with experts in the place of the MLP, beside one that every token has, which a sigmoid
//! weighs. `Qwen2MoeConfig` and `modeling_qwen2_moe.py`.

use super::llama::PATHS;
use super::qwen2::QWEN2;
use super::qwen3_moe::{EXPERTS, MODULES, QWEN3_MOE};
use super::{Defaults, ExpertsRow, Family, SharedRow, SharedWidth, SparseLayers, Switch, Windows};
use crate::model::role::{Names, Role};

pub(super) const SHARED: &[(Role, &str)] = &[
    (Role::SharedGateProj, "mlp.shared_expert.gate_proj"),
    (Role::SharedUpProj, "mlp.shared_expert.up_proj"),
    (Role::SharedActFn, "mlp.shared_expert.act_fn"),
    (Role::SharedActMul, "mlp.shared_expert.act_mul"),
    (Role::SharedDownProj, "mlp.shared_expert.down_proj"),
    (Role::SharedGate, "mlp.shared_expert_gate"),
    (Role::SharedWeight, "mlp.shared_weight"),
    (Role::Shared, "mlp.shared"),
    (Role::MlpOut, "mlp"),
];

const NAMES: Names = Names { layers: "model.layers", paths: &[SHARED, EXPERTS, PATHS], modules: MODULES };

pub(super) const QWEN2_MOE: Family = Family {
    name: "qwen2_moe",
    reads: &["sliding_window", "max_window_layers"],
    // Its windows stand in other layers than Qwen2's.
    never: &["use_sliding_window"],
    defaults: Defaults {
        hidden_size: 2048,
        intermediate_size: Some(5632),
        num_hidden_layers: 24,
        num_attention_heads: 16,
        num_key_value_heads: Some(16),
        sliding_window: None,
        ..QWEN2.defaults
    },
    qkv_bias: Switch::Unless("qkv_bias"),
    windows: Windows::None,
    experts: Some(ExpertsRow {
        count: (&["num_experts", "num_local_experts"], 60),
        top_k: (&["num_experts_per_tok"], 4),
        width: ("moe_intermediate_size", 1408),
        renormalise: Switch::Key("norm_topk_prob"),
        rounded: true,
        layers: SparseLayers::Stepped,
        shared: Some(SharedRow { width: SharedWidth::Own("shared_expert_intermediate_size", 5632), weighed: true }),
        ..ExpertsRow::ALL_LAYERS
    }),
    names: &NAMES,
    stored: QWEN3_MOE.stored,
    ..QWEN2
};
