//! DeepSeek-V2: latent attention; experts of which the softmax chooses, in groups that are as good as their best, beside two that
//! every token has; neighbouring channels are rotated. `DeepseekV2Config` and `modeling_deepseek_v2.py`.

use super::glm4_moe::{ROUTED, SHARED};
use super::llama::{LLAMA, PATHS};
use super::qwen3_moe::{EXPERTS, MODULES, STORED};
use super::{
    Defaults, ExpertsRow, Family, GroupsRow, Keys, LatentRow, RopeRow, ScoreRow, SharedRow, SharedWidth, SparseLayers,
    Switch, When,
};
use crate::model::role::{Names, Role};
use crate::ops::{Inside, Pairs};

const OWN: &[(Role, &str)] = &[
    (Role::QRopeInput, "self_attn.q_rope_input"),
    (Role::Queries, "self_attn.queries"),
    (Role::KvDown, "self_attn.kv_a_proj_with_mqa"),
    (Role::Latent, "self_attn.kv_latent"),
    (Role::LatentNorm, "self_attn.kv_a_layernorm"),
    (Role::KvUp, "self_attn.kv_b_proj"),
    (Role::KProj, "self_attn.k_nope"),
    (Role::VProj, "self_attn.v"),
    (Role::KRopeInput, "self_attn.k_rope_input"),
    (Role::Keys, "self_attn.keys"),
];

const NARROW: &[(Role, &str)] = &[
    (Role::QDown, "self_attn.q_a_proj"),
    (Role::QDownNorm, "self_attn.q_a_layernorm"),
    (Role::QProj, "self_attn.q_b_proj"),
];

pub(super) const NAMES: Names =
    Names { layers: "model.layers", paths: &[NARROW, OWN, SHARED, EXPERTS, PATHS], modules: MODULES };

/// Without a narrow row of queries.
pub(super) const PLAIN_QUERIES: Names =
    Names { layers: "model.layers", paths: &[OWN, SHARED, EXPERTS, PATHS], modules: MODULES };

/// The widths of DeepSeek-V2 and V3.
pub(super) const LATENT: LatentRow =
    LatentRow { query: Some(1536), width: 512, own: 128, turned: 64, value: 128, eps: 1e-6 };

pub(super) const KEYS: Keys = Keys { head_dim: None, ..LLAMA.keys };

/// Queries that are made of the stream.
const LITE: Family = Family {
    name: "deepseek_v2",
    keys: KEYS,
    only: &[("scoring_func", &["softmax"]), ("topk_method", &["greedy", "group_limited_greedy"])],
    never: &["norm_topk_prob"],
    defaults: Defaults { vocab_size: 102_400, ..LLAMA.defaults },
    latent: Some(LATENT),
    rope: Some(RopeRow { pairs: Pairs::Adjacent, inside: Inside::Nothing, ..RopeRow::HALVES }),
    experts: Some(ExpertsRow {
        count: (&["n_routed_experts", "num_experts"], 64),
        top_k: (&["num_experts_per_tok"], 6),
        width: ("moe_intermediate_size", 1407),
        renormalise: Switch::Never,
        layers: SparseLayers::From { key: "first_k_dense_replace", default: 0 },
        score: ScoreRow::Softmax,
        groups: Some(GroupsRow {
            count: ("n_group", 1),
            kept: ("topk_group", 1),
            only: Some(("topk_method", "group_limited_greedy")),
            best: 1,
        }),
        choice_bias: false,
        shared: Some(SharedRow { width: SharedWidth::Times("n_shared_experts", 2), weighed: false }),
        ..ROUTED
    }),
    names: &PLAIN_QUERIES,
    stored: &STORED,
    ..LLAMA
};

pub(super) const DEEPSEEK_V2: Family =
    Family { variants: &[(When::Null("q_lora_rank"), &LITE)], names: &NAMES, ..LITE };
