//! Bamba: in most layers a selective state space stands in the place of attention, of which half of each head is rotated.
//! `BambaConfig` and `modeling_bamba.py`.

use super::llama::{LLAMA, PATHS};
use super::{Defaults, Family, MixerKind, MixerLayers, MixerRow, RopeRow, Stored, View};
use crate::model::role::{Names, Role};

/// The modules of a selective state space, and its functional values as `modeling_bamba.py` calls them.
pub(super) const MAMBA2: &[(Role, &str)] = &[
    (Role::MixIn, "mamba.in_proj"),
    (Role::StateZ, "mamba.gate"),
    (Role::ConvIn, "mamba.hidden_states_B_C"),
    (Role::StateA, "mamba.dt"),
    (Role::ConvOut, "mamba.conv1d"),
    (Role::ConvAct, "mamba.conv_act"),
    (Role::StateValue, "mamba.hidden_states"),
    (Role::StateKey, "mamba.B"),
    (Role::StateQuery, "mamba.C"),
    (Role::TimeStep, "mamba.time_step"),
    (Role::StateDecay, "mamba.dA"),
    (Role::StateOut, "mamba.scan_output"),
    (Role::Mixed, "mamba.gated"),
    (Role::StateNorm, "mamba.norm"),
    (Role::MixOut, "mamba.out_proj"),
];

const OWN: &[(Role, &str)] = &[
    (Role::MlpNorm, "pre_ff_layernorm"),
    (Role::GateProj, "feed_forward.gate_proj"),
    (Role::UpProj, "feed_forward.up_proj"),
    (Role::ActFn, "feed_forward.act_fn"),
    (Role::ActMul, "feed_forward.act_mul"),
    (Role::DownProj, "feed_forward.down_proj"),
    (Role::FinalNorm, "model.final_layernorm"),
];

const NAMES: Names = Names {
    layers: "model.layers",
    paths: &[OWN, MAMBA2, PATHS],
    modules: &[(Role::OProj, "self_attn"), (Role::MixOut, "mamba"), (Role::DownProj, "feed_forward")],
};

const fn whole(of: &'static str, at: &'static [&'static str]) -> Stored {
    Stored { of, at, view: View::Whole }
}

/// Where the weights of a selective state space lie.
pub(super) const MAMBA2_STORED: [Stored; 4] = [
    Stored { of: "mamba.conv1d.weight", at: &["mamba.conv1d.weight"], view: View::Filters },
    whole("mamba.time_step.bias", &["mamba.dt_bias"]),
    whole("mamba.dA.rate", &["mamba.A_log"]),
    whole("mamba.scan_output.skip", &["mamba.D"]),
];

pub(super) const BAMBA: Family = Family {
    name: "bamba",
    defaults: Defaults {
        vocab_size: 128_000,
        intermediate_size: Some(14_336),
        num_key_value_heads: Some(8),
        max_position_embeddings: 262_144,
        eps: 1e-5,
        ..LLAMA.defaults
    },
    whole_heads: false,
    rope: Some(RopeRow { share: Some(("partial_rotary_factor", 0.5)), ..RopeRow::HALVES }),
    mixer: Some(MixerRow {
        kind: MixerKind::Mamba2,
        words: &["linear_attention", "mamba"],
        layers: MixerLayers::AllButListed { key: "attn_layer_indices", alone: true },
    }),
    names: &NAMES,
    stored: &MAMBA2_STORED,
    ..LLAMA
};
