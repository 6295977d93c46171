//! GLM-4.5 and 4.6: behind the first layers experts that a sigmoid scores and a bias chooses, in groups, beside one that every
//! token has; half of each head rotated. `Glm4MoeConfig` and `modeling_glm4_moe.py`.

use super::llama::{LLAMA, PATHS};
use super::qwen3::QK_NORM;
use super::qwen3_moe::{EXPERTS, MODULES, STORED};
use super::{
    Defaults, ExpertsRow, Family, GroupsRow, QkNormRow, RopeRow, ScoreRow, SharedRow, SharedWidth, SparseLayers,
    Stored, Switch, View,
};
use crate::model::role::{Names, Role};

/// An expert that every token has, which nothing weighs.
pub(super) const SHARED: &[(Role, &str)] = &[
    (Role::SharedGateProj, "mlp.shared_experts.gate_proj"),
    (Role::SharedUpProj, "mlp.shared_experts.up_proj"),
    (Role::SharedActFn, "mlp.shared_experts.act_fn"),
    (Role::SharedActMul, "mlp.shared_experts.act_mul"),
    (Role::SharedDownProj, "mlp.shared_experts.down_proj"),
    (Role::MlpOut, "mlp"),
];

pub(super) const NAMES: Names = Names { layers: "model.layers", paths: &[SHARED, EXPERTS, PATHS], modules: MODULES };

/// The router of DeepSeek-V3.
pub(super) const ROUTED: ExpertsRow = ExpertsRow {
    count: (&["n_routed_experts", "num_local_experts", "num_experts"], 128),
    top_k: (&["num_experts_per_tok"], 8),
    width: ("moe_intermediate_size", 1408),
    renormalise: Switch::Unless("norm_topk_prob"),
    layers: SparseLayers::From { key: "first_k_dense_replace", default: 1 },
    score: ScoreRow::Sigmoid,
    groups: Some(GroupsRow { count: ("n_group", 1), kept: ("topk_group", 1), only: None, best: 2 }),
    factor: Some(("routed_scaling_factor", 1.0)),
    choice_bias: true,
    fine: true,
    shared: Some(SharedRow { width: SharedWidth::Times("n_shared_experts", 1), weighed: false }),
    ..ExpertsRow::ALL_LAYERS
};

pub(super) const GLM4_MOE: Family = Family {
    name: "glm4_moe",
    defaults: Defaults {
        vocab_size: 151_552,
        intermediate_size: Some(10_944),
        num_hidden_layers: 46,
        num_attention_heads: 96,
        num_key_value_heads: Some(8),
        max_position_embeddings: 131_072,
        eps: 1e-5,
        ..LLAMA.defaults
    },
    whole_heads: false,
    o_bias: Switch::Never,
    mlp_bias: Switch::Never,
    qk_norm: Some(QkNormRow { at: Switch::Key("use_qk_norm"), ..QK_NORM }),
    rope: Some(RopeRow { share: Some(("partial_rotary_factor", 0.5)), ..RopeRow::HALVES }),
    predicts_further: true,
    experts: Some(ROUTED),
    names: &NAMES,
    stored: &[
        Stored { of: "mlp.routing.bias", at: &["mlp.gate.e_score_correction_bias"], view: View::Whole },
        STORED[0],
        STORED[1],
        STORED[2],
    ],
    ..LLAMA
};
