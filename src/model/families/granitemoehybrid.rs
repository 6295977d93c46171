//! Granite 4: Granite 3 with experts, or none, beside one that every token has; in most layers a selective state space stands in
//! the place of attention, and where no key says so, nothing is rotated. `GraniteMoeHybridConfig` and
//! `modeling_granitemoehybrid.py`.

use super::bamba::{MAMBA2, MAMBA2_STORED, SPACE};
use super::granitemoe::{GRANITEMOE, OWN, ROUTED, STORED};
use super::llama::PATHS;
use super::{ExpertsRow, Family, GateUp, MixerKind, MixerLayers, MixerRow, RopeRow, Rotated, SharedRow, SharedWidth};
use crate::model::role::{Names, Role};

/// The expert that every token has, also where there is no other.
const SHARED: &[(Role, &str)] = &[
    (Role::GateUpProj, "shared_mlp.input_linear"),
    (Role::SharedGateProj, "shared_mlp.gate_proj"),
    (Role::SharedUpProj, "shared_mlp.up_proj"),
    (Role::SharedActFn, "shared_mlp.activation"),
    (Role::SharedActMul, "shared_mlp.act_mul"),
    (Role::SharedDownProj, "shared_mlp.output_linear"),
    (Role::GateProj, "shared_mlp.gate_proj"),
    (Role::UpProj, "shared_mlp.up_proj"),
    (Role::ActFn, "shared_mlp.activation"),
    (Role::ActMul, "shared_mlp.act_mul"),
    (Role::DownProj, "shared_mlp.output_linear"),
];

const NAMES: Names = Names {
    layers: "model.layers",
    paths: &[SHARED, MAMBA2, OWN, PATHS],
    modules: &[
        (Role::OProj, "self_attn"),
        (Role::MixOut, "mamba"),
        (Role::Experts, "block_sparse_moe"),
        (Role::SharedDownProj, "shared_mlp"),
        (Role::DownProj, "shared_mlp"),
    ],
};

pub(super) const GRANITEMOEHYBRID: Family = Family {
    name: "granitemoehybrid",
    // What stands in published files beside, and nothing reads.
    reads: &["init_method", "normalization_function"],
    rope: Some(RopeRow { layers: Rotated::IfSaid, ..RopeRow::HALVES }),
    mixer: Some(MixerRow {
        kind: MixerKind::Mamba2(&SPACE),
        words: &["linear_attention", "mamba"],
        layers: MixerLayers::All,
        abreast: false,
    }),
    fused_mlp: GateUp::Halves,
    experts: Some(ExpertsRow {
        shared: Some(SharedRow { width: SharedWidth::Own("shared_intermediate_size", 1024), weighed: false }),
        may_be_none: true,
        fused: Some(GateUp::Apart),
        ..ROUTED
    }),
    names: &NAMES,
    stored: &[
        MAMBA2_STORED[0],
        MAMBA2_STORED[1],
        MAMBA2_STORED[2],
        MAMBA2_STORED[3],
        STORED[0],
        STORED[1],
        STORED[2],
        STORED[3],
    ],
    ..GRANITEMOE
};
