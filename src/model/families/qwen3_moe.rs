//! Qwen3-MoE: Qwen3 with experts in the place of the MLP. `Qwen3MoeConfig` and `modeling_qwen3_moe.py`.

use super::llama::PATHS;
use super::qwen3::QWEN3;
use super::{Defaults, ExpertsRow, Family, SparseLayers, Stored, Switch, View, Windows};
use crate::model::role::{Names, Role};

/// `mlp.gate` is the router, not the gate of an MLP.
pub(super) const EXPERTS: &[(Role, &str)] = &[
    (Role::RouterLogits, "mlp.gate"),
    (Role::Routing, "mlp.routing"),
    (Role::ExpertGate, "mlp.experts.gate"),
    (Role::ExpertUp, "mlp.experts.up"),
    (Role::ExpertAct, "mlp.experts.act"),
    (Role::ExpertActMul, "mlp.experts.act_mul"),
    (Role::ExpertDown, "mlp.experts.down"),
    (Role::Experts, "mlp.experts"),
];

pub(super) const MODULES: &[(Role, &str)] =
    &[(Role::OProj, "self_attn"), (Role::DownProj, "mlp"), (Role::Experts, "mlp")];

pub(super) const NAMES: Names = Names { layers: "model.layers", paths: &[EXPERTS, PATHS], modules: MODULES };

/// One tensor for each expert, as published; or all of them stacked, as transformers 5 keeps them.
pub(super) const fn experts(of: &'static str, at: &'static [&'static str], part: usize, parts: usize) -> Stored {
    Stored { of, at, view: View::Stacked { part, of: parts } }
}

pub(super) const STORED: [Stored; 3] = [
    experts("mlp.experts.gate.weight", &["mlp.experts.{}.gate_proj.weight", "mlp.experts.gate_up_proj"], 0, 2),
    experts("mlp.experts.up.weight", &["mlp.experts.{}.up_proj.weight", "mlp.experts.gate_up_proj"], 1, 2),
    experts("mlp.experts.down.weight", &["mlp.experts.{}.down_proj.weight", "mlp.experts.down_proj"], 0, 1),
];

pub(super) const QWEN3_MOE: Family = Family {
    name: "qwen3_moe",
    reads: &["use_sliding_window", "max_window_layers"],
    defaults: Defaults {
        hidden_size: 2048,
        intermediate_size: Some(6144),
        num_hidden_layers: 24,
        num_attention_heads: 32,
        num_key_value_heads: Some(4),
        head_dim: None,
        ..QWEN3.defaults
    },
    windows: Windows::AllIfUsed,
    experts: Some(ExpertsRow {
        count: (&["num_experts", "num_local_experts"], 128),
        top_k: (&["num_experts_per_tok"], 8),
        width: ("moe_intermediate_size", 768),
        renormalise: Switch::Key("norm_topk_prob"),
        rounded: true,
        layers: SparseLayers::Stepped,
        ..ExpertsRow::ALL_LAYERS
    }),
    names: &NAMES,
    stored: &STORED,
    ..QWEN3
};
