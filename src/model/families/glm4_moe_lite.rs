//! GLM-4.7 Flash: DeepSeek-V3's latent attention and router, with a list of the layers that have experts. `Glm4MoeLiteConfig` and
//! `modeling_glm4_moe_lite.py`.

use super::deepseek_v2::{NAMES, PLAIN_QUERIES};
use super::deepseek_v3::DEEPSEEK_V3;
use super::glm4_moe::ROUTED;
use super::{Defaults, ExpertsRow, Family, LatentRow, SparseLayers, When};

/// Queries that are made of the stream.
const PLAIN: Family = Family {
    name: "glm4_moe_lite",
    // The class goes by its list of layers.
    reads: &["first_k_dense_replace"],
    defaults: Defaults {
        vocab_size: 154_880,
        hidden_size: 2048,
        intermediate_size: Some(10_240),
        num_hidden_layers: 47,
        num_attention_heads: 20,
        max_position_embeddings: 202_752,
        eps: 1e-5,
        ..DEEPSEEK_V3.defaults
    },
    latent: Some(LatentRow { query: Some(768), width: 512, own: 192, turned: 64, value: 256, eps: 1e-6 }),
    experts: Some(ExpertsRow {
        count: (&["n_routed_experts", "num_local_experts"], 64),
        top_k: (&["num_experts_per_tok"], 4),
        width: ("moe_intermediate_size", 1536),
        layers: SparseLayers::Listed,
        factor: Some(("routed_scaling_factor", 1.8)),
        ..ROUTED
    }),
    names: &PLAIN_QUERIES,
    variants: &[],
    ..DEEPSEEK_V3
};

pub(super) const GLM4_MOE_LITE: Family =
    Family { variants: &[(When::Null("q_lora_rank"), &PLAIN)], names: &NAMES, ..PLAIN };
