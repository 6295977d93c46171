//! Phi-3 and 4: Llama with q, k and v out of one matrix, and gate and up, a part of each head rotated, long contexts.
//! `Phi3Config` and `modeling_phi3.py`.

use super::llama::{LLAMA, MODULES, PATHS};
use super::{Defaults, Family, Fused, GateUp, RopeRow, Switch, Windows};
use crate::model::role::{Names, Role};

pub(super) const OWN: &[(Role, &str)] = &[
    (Role::QkvProj, "self_attn.qkv_proj"),
    (Role::QProj, "self_attn.q"),
    (Role::KProj, "self_attn.k"),
    (Role::VProj, "self_attn.v"),
    (Role::GateUpProj, "mlp.gate_up_proj"),
    (Role::ActFn, "mlp.activation_fn"),
];

const NAMES: Names = Names { layers: "model.layers", paths: &[OWN, PATHS], modules: MODULES };

pub(super) const PHI3: Family = Family {
    name: "phi3",
    defaults: Defaults {
        vocab_size: 32_064,
        hidden_size: 3072,
        intermediate_size: Some(8192),
        max_position_embeddings: 4096,
        eps: 1e-5,
        ..LLAMA.defaults
    },
    whole_heads: false,
    qkv_bias: Switch::Never,
    o_bias: Switch::Never,
    mlp_bias: Switch::Never,
    fused: Fused::Blocks,
    rope: Some(RopeRow {
        share: Some(("partial_rotary_factor", 1.0)),
        original: Some(4096),
        types: &[("default", "default"), ("longrope", "longrope"), ("su", "longrope"), ("yarn", "longrope")],
        ..RopeRow::HALVES
    }),
    windows: Windows::All,
    fused_mlp: GateUp::Halves,
    names: &NAMES,
    ..LLAMA
};
