//! Bamba: in most layers a selective state space stands in the place of attention, of which half of each head is rotated.
//! `BambaConfig` and `modeling_bamba.py`.

use super::llama::{LLAMA, PATHS};
use super::{Defaults, Family, Mamba2Row, MixerKind, MixerLayers, MixerRow, RopeRow, Stored, Switch, View};
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

pub(super) const OWN: &[(Role, &str)] = &[
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

/// Its selective state space.
pub(super) const SPACE: Mamba2Row = Mamba2Row {
    sizes: [("mamba_n_heads", 128), ("mamba_n_groups", 1), ("mamba_d_state", 256), ("mamba_d_conv", 4)],
    expand: Some(("mamba_expand", 2)),
    width: None,
    head_dim: ("mamba_d_head", None),
    act: None,
    least_step: None,
    taps_bias: Switch::Unless("mamba_conv_bias"),
    biases: [Switch::Key("mamba_proj_bias"); 2],
    norm: Switch::Always,
    norm_first: Switch::Never,
    norm_rounded_once: false,
};

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
        kind: MixerKind::Mamba2(&SPACE),
        words: &["linear_attention", "mamba"],
        layers: MixerLayers::AllButListed { key: "attn_layer_indices", alone: true },
        abreast: false,
    }),
    names: &NAMES,
    stored: &MAMBA2_STORED,
    ..LLAMA
};
