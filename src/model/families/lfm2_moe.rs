//! LFM2 with experts, which a sigmoid scores and a bias chooses, behind the first layers. `Lfm2MoeConfig` and
//! `modeling_lfm2_moe.py`.

use super::lfm2::{FILTERED, LFM2, MODULES, OWN};
use super::llama::PATHS;
use super::qwen3_moe::experts;
use super::{Defaults, ExpertsRow, Family, ScoreRow, SparseLayers, Stored, Switch, View};
use crate::model::role::{Names, Role};

const EXPERTS: &[(Role, &str)] = &[
    (Role::RouterLogits, "feed_forward.gate"),
    (Role::Routing, "feed_forward.routing"),
    (Role::ExpertGate, "feed_forward.experts.gate"),
    (Role::ExpertUp, "feed_forward.experts.up"),
    (Role::ExpertAct, "feed_forward.experts.act"),
    (Role::ExpertActMul, "feed_forward.experts.act_mul"),
    (Role::ExpertDown, "feed_forward.experts.down"),
    (Role::Experts, "feed_forward.experts"),
];

const NAMES: Names = Names { layers: "model.layers", paths: &[EXPERTS, OWN, PATHS], modules: MODULES };

pub(super) const LFM2_MOE: Family = Family {
    name: "lfm2_moe",
    others: &[("tie_word_embeddings", "tie_embedding")],
    reads: &["use_pos_enc"],
    defaults: Defaults { hidden_size: 2048, intermediate_size: Some(7168), ..LFM2.defaults },
    adjusts_width: false,
    experts: Some(ExpertsRow {
        count: (&["num_experts", "num_local_experts"], 32),
        top_k: (&["num_experts_per_tok"], 4),
        width: ("moe_intermediate_size", 1792),
        renormalise: Switch::Unless("norm_topk_prob"),
        renormalise_eps: 1e-6,
        layers: SparseLayers::From { key: "num_dense_layers", default: 2 },
        score: ScoreRow::Sigmoid,
        factor: Some(("routed_scaling_factor", 1.0)),
        choice_bias: true,
        rounded: true,
        ..ExpertsRow::ALL_LAYERS
    }),
    names: &NAMES,
    stored: &[
        FILTERED[0],
        FILTERED[1],
        Stored { of: "feed_forward.routing.bias", at: &["feed_forward.expert_bias"], view: View::Whole },
        experts(
            "feed_forward.experts.gate.weight",
            &["feed_forward.experts.{}.w1.weight", "feed_forward.experts.gate_up_proj"],
            0,
            2,
        ),
        experts(
            "feed_forward.experts.up.weight",
            &["feed_forward.experts.{}.w3.weight", "feed_forward.experts.gate_up_proj"],
            1,
            2,
        ),
        experts(
            "feed_forward.experts.down.weight",
            &["feed_forward.experts.{}.w2.weight", "feed_forward.experts.down_proj"],
            0,
            1,
        ),
    ],
    ..LFM2
};
