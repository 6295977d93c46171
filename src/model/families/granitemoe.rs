//! Granite 3 with experts in the place of the MLP, weighted by the softmax of the chosen logits. `GraniteMoeConfig` and
//! `modeling_granitemoe.py`.

use super::granite::GRANITE;
use super::llama::PATHS;
use super::qwen3_moe::experts;
use super::{ExpertsRow, Family, Stored, Switch, View};
use crate::model::role::{Names, Role};

pub(super) const OWN: &[(Role, &str)] = &[
    (Role::RouterLogits, "block_sparse_moe.router"),
    (Role::Routing, "block_sparse_moe.routing"),
    (Role::ExpertGate, "block_sparse_moe.experts.gate"),
    (Role::ExpertUp, "block_sparse_moe.experts.up"),
    (Role::ExpertAct, "block_sparse_moe.experts.act"),
    (Role::ExpertActMul, "block_sparse_moe.experts.act_mul"),
    (Role::ExpertDown, "block_sparse_moe.experts.down"),
    (Role::Experts, "block_sparse_moe.experts"),
];

const NAMES: Names = Names {
    layers: "model.layers",
    paths: &[OWN, PATHS],
    modules: &[(Role::OProj, "self_attn"), (Role::Experts, "block_sparse_moe")],
};

/// Published files have the experts as two stacks.
const GATE_UP: &[&str] = &["block_sparse_moe.input_linear.weight", "block_sparse_moe.experts.gate_up_proj"];

pub(super) const STORED: [Stored; 4] = [
    Stored {
        of: "block_sparse_moe.router.weight",
        at: &["block_sparse_moe.router.layer.weight", "block_sparse_moe.router.weight"],
        view: View::Whole,
    },
    experts("block_sparse_moe.experts.gate.weight", GATE_UP, 0, 2),
    experts("block_sparse_moe.experts.up.weight", GATE_UP, 1, 2),
    experts(
        "block_sparse_moe.experts.down.weight",
        &["block_sparse_moe.output_linear.weight", "block_sparse_moe.experts.down_proj"],
        0,
        1,
    ),
];

pub(super) const ROUTED: ExpertsRow = ExpertsRow {
    width: ("intermediate_size", 11_008),
    renormalise: Switch::Never,
    rounded: true,
    softmax_after: true,
    ..ExpertsRow::ALL_LAYERS
};

pub(super) const GRANITEMOE: Family = Family {
    name: "granitemoe",
    mlp_bias: Switch::Never,
    experts: Some(ROUTED),
    names: &NAMES,
    stored: &STORED,
    ..GRANITE
};
