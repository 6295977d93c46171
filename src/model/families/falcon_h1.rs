//! Falcon-H1: in every layer a selective state space and attention stand side by side and read the same; constants multiply what
//! both read and give, keys, the MLP, embeddings and logits. `FalconH1Config` and `modeling_falcon_h1.py`.

use super::bamba::{MAMBA2, MAMBA2_STORED, OWN, SPACE};
use super::llama::{LLAMA, PATHS};
use super::{Defaults, FactorsRow, Family, LogitFactor, Mamba2Row, MixerKind, MixerLayers, MixerRow, Switch};
use crate::model::role::{Names, Role};

/// What has no module: results times a constant, and their sum.
const SCALED: &[(Role, &str)] = &[
    (Role::MixInput, "mamba.scaled_input"),
    (Role::MixScaled, "mamba.in_proj_scaled"),
    (Role::StateGate, "mamba.gate_act"),
    (Role::AttnInput, "self_attn.scaled_input"),
    (Role::KScaled, "self_attn.k_scaled"),
    (Role::MixSum, "mixed_sum"),
    (Role::GateScaled, "feed_forward.gate_scaled"),
    (Role::MlpScaled, "feed_forward.scaled"),
];

const NAMES: Names = Names {
    layers: "model.layers",
    paths: &[SCALED, OWN, MAMBA2, PATHS],
    modules: &[
        (Role::OProj, "self_attn"),
        (Role::MixOut, "mamba"),
        (Role::DownProj, "feed_forward"),
        (Role::MlpScaled, "feed_forward"),
    ],
};

pub(super) const FALCON_H1: Family = Family {
    name: "falcon_h1",
    // What stands in published files beside, and nothing reads.
    reads: &["mamba_use_mlp", "mlp_expansion_factor", "attn_layer_indices"],
    defaults: Defaults {
        vocab_size: 128_000,
        intermediate_size: Some(14_336),
        num_key_value_heads: Some(8),
        max_position_embeddings: 8192,
        eps: 1e-5,
        ..LLAMA.defaults
    },
    whole_heads: false,
    mixer: Some(MixerRow {
        kind: MixerKind::Mamba2(&Mamba2Row {
            width: Some(("mamba_d_ssm", 1024)),
            biases: [Switch::Key("mamba_proj_bias"), Switch::Key("projectors_bias")],
            norm: Switch::Key("mamba_rms_norm"),
            norm_first: Switch::Unless("mamba_norm_before_gate"),
            norm_rounded_once: true,
            ..SPACE
        }),
        words: &["hybrid"],
        layers: MixerLayers::All,
        abreast: true,
    }),
    embed_factor: Some("embedding_multiplier"),
    logit_factor: Some(LogitFactor { key: "lm_head_multiplier", default: 1.0, divides: false }),
    factors: Some(FactorsRow {
        attention: ["attention_in_multiplier", "attention_out_multiplier"],
        key: "key_multiplier",
        mixer: ["ssm_in_multiplier", "ssm_out_multiplier"],
        parts: "ssm_multipliers",
        mlp: "mlp_multipliers",
    }),
    names: &NAMES,
    stored: &MAMBA2_STORED,
    ..LLAMA
};
