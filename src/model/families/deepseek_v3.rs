//! DeepSeek-V3 and R1, Moonlight: latent attention; experts that a sigmoid scores and a bias chooses, in groups, beside one that
//! every token has. `DeepseekV3Config` and `modeling_deepseek_v3.py`.

use super::deepseek_v2::{DEEPSEEK_V2, KEYS, LATENT, NAMES, PLAIN_QUERIES};
use super::glm4_moe::{GLM4_MOE, ROUTED};
use super::llama::LLAMA;
use super::{Defaults, ExpertsRow, Family, GroupsRow, RopeRow, SparseLayers, Switch, When};
use crate::ops::{Inside, Pairs};

/// Queries that are made of the stream.
pub(super) const PLAIN: Family = Family {
    name: "deepseek_v3",
    keys: KEYS,
    only: &[("scoring_func", &["sigmoid"]), ("topk_method", &["noaux_tc"])],
    never: &[],
    defaults: Defaults {
        vocab_size: 129_280,
        hidden_size: 7168,
        intermediate_size: Some(18_432),
        num_hidden_layers: 61,
        num_attention_heads: 128,
        max_position_embeddings: 4096,
        ..LLAMA.defaults
    },
    whole_heads: false,
    mlp_bias: Switch::Never,
    latent: Some(LATENT),
    rope: Some(RopeRow {
        pairs: Pairs::Adjacent,
        parted: true,
        unless: Some("rope_interleave"),
        inside: Inside::Products,
        ..RopeRow::HALVES
    }),
    predicts_further: true,
    experts: Some(ExpertsRow {
        count: (&["n_routed_experts", "num_local_experts"], 256),
        width: ("moe_intermediate_size", 2048),
        layers: SparseLayers::From { key: "first_k_dense_replace", default: 3 },
        groups: Some(GroupsRow { count: ("n_group", 8), kept: ("topk_group", 4), only: None, best: 2 }),
        factor: Some(("routed_scaling_factor", 2.5)),
        ..ROUTED
    }),
    names: &PLAIN_QUERIES,
    stored: GLM4_MOE.stored,
    variants: &[],
    ..DEEPSEEK_V2
};

pub(super) const DEEPSEEK_V3: Family =
    Family { variants: &[(When::Null("q_lora_rank"), &PLAIN)], names: &NAMES, ..PLAIN };
