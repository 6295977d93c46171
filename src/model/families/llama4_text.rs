//! Llama 4: layers that are rotated see their own chunk, and norm queries and keys behind that, without weights; the others see
//! all, by queries that grow with the position. Of each token one expert, which reads what it computes times a weight, beside
//! one that every token has. `Llama4TextConfig` and `modeling_llama4.py`.

use super::llama::LLAMA;
use super::{
    Defaults, ExpertsRow, Family, GateUp, Keys, NormRow, QkNormRow, RopeRow, Rotated, ScoreRow, SharedRow, SharedWidth,
    SparseLayers, Stored, Switch, View, Windows,
};
use crate::model::role::{Names, Role};
use crate::model::spec::Over;
use crate::ops::{Inside, Pairs};

const OWN: &[(Role, &str)] = &[
    (Role::QTempered, "self_attn.q_tempered"),
    (Role::GateProj, "feed_forward.gate_proj"),
    (Role::UpProj, "feed_forward.up_proj"),
    (Role::ActFn, "feed_forward.activation_fn"),
    (Role::ActMul, "feed_forward.act_mul"),
    (Role::DownProj, "feed_forward.down_proj"),
    (Role::RouterLogits, "feed_forward.router"),
    (Role::Routing, "feed_forward.routing"),
    (Role::ExpertInput, "feed_forward.experts.input"),
    (Role::ExpertGateUp, "feed_forward.experts.gate_up"),
    (Role::ExpertGate, "feed_forward.experts.gate"),
    (Role::ExpertUp, "feed_forward.experts.up"),
    (Role::ExpertAct, "feed_forward.experts.act"),
    (Role::ExpertActMul, "feed_forward.experts.act_mul"),
    (Role::ExpertDown, "feed_forward.experts.down"),
    (Role::Experts, "feed_forward.experts"),
    (Role::SharedGateProj, "feed_forward.shared_expert.gate_proj"),
    (Role::SharedUpProj, "feed_forward.shared_expert.up_proj"),
    (Role::SharedActFn, "feed_forward.shared_expert.activation_fn"),
    (Role::SharedActMul, "feed_forward.shared_expert.act_mul"),
    (Role::SharedDownProj, "feed_forward.shared_expert.down_proj"),
    (Role::MlpOut, "feed_forward"),
];

const NAMES: Names = Names {
    layers: "model.layers",
    paths: &[OWN, LLAMA.names.paths[0]],
    modules: &[
        (Role::OProj, "self_attn"),
        (Role::DownProj, "feed_forward"),
        (Role::SharedDownProj, "feed_forward.shared_expert"),
    ],
};

const fn stack(of: &'static str, at: &'static [&'static str]) -> Stored {
    Stored { of, at, view: View::StackedTransposed }
}

pub(super) const LLAMA4: Family = Family {
    name: "llama4_text",
    keys: Keys { intermediate_size: "intermediate_size_mlp", ..LLAMA.keys },
    defaults: Defaults {
        vocab_size: 202_048,
        hidden_size: 5120,
        intermediate_size: Some(16_384),
        num_hidden_layers: 48,
        num_attention_heads: 40,
        num_key_value_heads: Some(8),
        head_dim: Some(128),
        max_position_embeddings: 131_072,
        eps: 1e-5,
        rope_theta: 5e5,
        ..LLAMA.defaults
    },
    whole_heads: false,
    mlp_bias: Switch::Never,
    qk_norm: Some(QkNormRow {
        at: Switch::Unless("use_qk_norm"),
        norm: NormRow { weight: false, rounded_once: true, ..LLAMA.norm },
        over: Over::Head,
        after_rope: true,
        rotated_only: true,
    }),
    rope: Some(RopeRow {
        pairs: Pairs::Adjacent,
        inside: Inside::Nothing,
        layers: Rotated::Listed { interval: 4 },
        ..RopeRow::HALVES
    }),
    growth: Some(("attn_temperature_tuning", [("attn_scale", 0.1), ("floor_scale", 8192.0)])),
    windows: Windows::Chunks(8192),
    experts: Some(ExpertsRow {
        count: (&["num_local_experts", "num_experts"], 16),
        top_k: (&["num_experts_per_tok"], 1),
        width: ("intermediate_size", 8192),
        renormalise: Switch::Never,
        rounded: true,
        layers: SparseLayers::Numbered,
        score: ScoreRow::Sigmoid,
        shared: Some(SharedRow { width: SharedWidth::Own("intermediate_size", 8192), weighed: false }),
        weighs_input: true,
        fused: Some(GateUp::Halves),
        ..ExpertsRow::ALL_LAYERS
    }),
    names: &NAMES,
    stored: &[
        stack("feed_forward.experts.gate_up.weight", &["feed_forward.experts.gate_up_proj"]),
        stack("feed_forward.experts.down.weight", &["feed_forward.experts.down_proj"]),
    ],
    ..LLAMA
};
