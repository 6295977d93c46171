//! `OLMoE`: experts in every layer; norms over all heads of q, and of k, together. `OlmoeConfig` and `modeling_olmoe.py`.

use super::llama::LLAMA;
use super::qwen3::QK_NORM;
use super::qwen3_moe::{NAMES, QWEN3_MOE};
use super::{Defaults, ExpertsRow, Family, Keys, QkNormRow, Switch};
use crate::model::spec::Over;

pub(super) const OLMOE: Family = Family {
    name: "olmoe",
    keys: Keys { head_dim: None, ..LLAMA.keys },
    defaults: Defaults {
        vocab_size: 50_304,
        hidden_size: 2048,
        intermediate_size: Some(2048),
        num_hidden_layers: 16,
        num_attention_heads: 16,
        max_position_embeddings: 4096,
        eps: 1e-5,
        ..LLAMA.defaults
    },
    whole_heads: false,
    mlp_bias: Switch::Never,
    qk_norm: Some(QkNormRow { over: Over::Row, ..QK_NORM }),
    experts: Some(ExpertsRow {
        count: (&["num_experts", "num_local_experts"], 64),
        top_k: (&["num_experts_per_tok"], 8),
        width: ("intermediate_size", 2048),
        renormalise: Switch::Key("norm_topk_prob"),
        rounded: true,
        ..ExpertsRow::ALL_LAYERS
    }),
    names: &NAMES,
    stored: QWEN3_MOE.stored,
    ..LLAMA
};
