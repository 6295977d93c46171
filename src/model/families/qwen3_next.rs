//! Qwen3-Next: in three of four layers a gated delta rule stands in the place of attention, which is gated in the others; norms
//! of `1 + w`, part of each head rotated, experts beside one that every token has. `Qwen3NextConfig` and
//! `modeling_qwen3_next.py`.

use super::gemma2::GEMMA2;
use super::llama::PATHS;
use super::qwen2_moe::{QWEN2_MOE, SHARED};
use super::qwen3::QK_NORM;
use super::qwen3_moe::{EXPERTS, QWEN3_MOE, STORED};
use super::{
    Defaults, ExpertsRow, Family, MixerKind, MixerLayers, MixerRow, QkNormRow, RopeRow, SharedRow, SharedWidth,
    SparseLayers, Stored, Switch, View, Windows,
};
use crate::model::role::{Names, Role};

/// The modules of a gated delta rule, and its functional values as `modeling_qwen3_next.py` calls them.
pub(super) const DELTA: &[(Role, &str)] = &[
    (Role::MixIn, "linear_attn.in_proj_qkvz"),
    (Role::MixIn2, "linear_attn.in_proj_ba"),
    (Role::ConvIn, "linear_attn.mixed_qkv"),
    (Role::ConvOut, "linear_attn.conv1d"),
    (Role::ConvAct, "linear_attn.conv_act"),
    (Role::StateQuery, "linear_attn.query"),
    (Role::StateKey, "linear_attn.key"),
    (Role::StateValue, "linear_attn.value"),
    (Role::StateZ, "linear_attn.z"),
    (Role::StateB, "linear_attn.b"),
    (Role::StateA, "linear_attn.a"),
    (Role::StateQueryNorm, "linear_attn.query_norm"),
    (Role::StateKeyNorm, "linear_attn.key_norm"),
    (Role::StateWrite, "linear_attn.beta"),
    (Role::StateDecay, "linear_attn.g"),
    (Role::StateOut, "linear_attn.core_attn_out"),
    (Role::StateNorm, "linear_attn.normed"),
    (Role::Mixed, "linear_attn.norm"),
    (Role::MixOut, "linear_attn.out_proj"),
    (Role::QGateProj, "self_attn.q_proj"),
    (Role::QProj, "self_attn.q"),
    (Role::AttnGate, "self_attn.gate"),
    (Role::AttnGateWeight, "self_attn.gate_weight"),
    (Role::AttnGated, "self_attn.gated"),
];

/// `self_attn` and `linear_attn` give what their last matrices give, `mlp` what `down_proj` or the experts give.
pub(super) const MODULES: &[(Role, &str)] =
    &[(Role::OProj, "self_attn"), (Role::MixOut, "linear_attn"), (Role::DownProj, "mlp"), (Role::Experts, "mlp")];

const NAMES: Names = Names { layers: "model.layers", paths: &[DELTA, SHARED, EXPERTS, PATHS], modules: MODULES };

const fn whole(of: &'static str, at: &'static [&'static str]) -> Stored {
    Stored { of, at, view: View::Whole }
}

/// Where the weights of a gated delta rule lie.
pub(super) const DELTA_STORED: [Stored; 4] = [
    Stored { of: "linear_attn.conv1d.weight", at: &["linear_attn.conv1d.weight"], view: View::Filters },
    whole("linear_attn.g.rate", &["linear_attn.A_log"]),
    whole("linear_attn.g.bias", &["linear_attn.dt_bias"]),
    whole("linear_attn.normed.weight", &["linear_attn.norm.weight"]),
];

pub(super) const MIXER: MixerRow = MixerRow {
    kind: MixerKind::Delta { woven: true },
    words: &["linear_attention"],
    layers: MixerLayers::AllButEvery("full_attention_interval", 4),
    abreast: false,
};

pub(super) const QWEN3_NEXT: Family = Family {
    name: "qwen3_next",
    never: &[],
    reads: &[],
    defaults: Defaults {
        intermediate_size: Some(5632),
        num_hidden_layers: 48,
        num_key_value_heads: Some(2),
        head_dim: Some(256),
        ..QWEN2_MOE.defaults
    },
    norm: GEMMA2.norm,
    whole_heads: false,
    qkv_bias: QWEN3_MOE.qkv_bias,
    o_bias: QWEN3_MOE.o_bias,
    qk_norm: Some(QkNormRow { norm: GEMMA2.norm, ..QK_NORM }),
    rope: Some(RopeRow { share: Some(("partial_rotary_factor", 0.25)), ..RopeRow::HALVES }),
    mixer: Some(MIXER),
    attn_gate: true,
    predicts_further: true,
    windows: Windows::None,
    experts: Some(ExpertsRow {
        count: (&["num_experts", "num_local_experts"], 512),
        top_k: (&["num_experts_per_tok"], 10),
        width: ("moe_intermediate_size", 512),
        renormalise: Switch::Unless("norm_topk_prob"),
        rounded: true,
        layers: SparseLayers::Stepped,
        shared: Some(SharedRow { width: SharedWidth::Own("shared_expert_intermediate_size", 512), weighed: true }),
        ..ExpertsRow::ALL_LAYERS
    }),
    names: &NAMES,
    stored: &[DELTA_STORED[0], DELTA_STORED[1], DELTA_STORED[2], DELTA_STORED[3], STORED[0], STORED[1], STORED[2]],
    ..QWEN2_MOE
};
