//! ERNIE 4.5 with experts: a bias chooses among shares of all, beside experts that every token has; neighbouring channels are
//! rotated. `Ernie4_5_MoeConfig` and `modeling_ernie4_5_moe.py`.

use super::glm4_moe::NAMES;
use super::llama::LLAMA;
use super::qwen3_moe::STORED;
use super::{Defaults, ExpertsRow, Family, RopeRow, SharedRow, SharedWidth, SparseLayers, Stored, Switch, View};
use crate::ops::{Inside, Pairs};

pub(super) const ERNIE4_5_MOE: Family = Family {
    name: "ernie4_5_moe",
    reads: &["moe_norm_min"],
    defaults: Defaults {
        vocab_size: 103_424,
        hidden_size: 2560,
        intermediate_size: Some(12_288),
        num_hidden_layers: 28,
        num_attention_heads: 20,
        num_key_value_heads: Some(4),
        max_position_embeddings: 131_072,
        eps: 1e-5,
        rope_theta: 5e5,
        tie_word_embeddings: true,
        ..LLAMA.defaults
    },
    whole_heads: false,
    qkv_bias: Switch::Key("use_bias"),
    o_bias: Switch::Key("use_bias"),
    mlp_bias: Switch::Key("use_bias"),
    head_bias: Switch::Key("use_bias"),
    rope: Some(RopeRow { pairs: Pairs::Adjacent, inside: Inside::Nothing, ..RopeRow::HALVES }),
    experts: Some(ExpertsRow {
        count: (&["moe_num_experts", "num_experts"], 64),
        top_k: (&["moe_k", "num_experts_per_tok"], 6),
        width: ("moe_intermediate_size", 1536),
        rounded: true,
        layers: SparseLayers::Between,
        choice_bias: true,
        fine: true,
        shared: Some(SharedRow { width: SharedWidth::Times("moe_num_shared_experts", 2), weighed: false }),
        ..ExpertsRow::ALL_LAYERS
    }),
    names: &NAMES,
    stored: &[
        Stored {
            of: "mlp.routing.bias",
            at: &["mlp.moe_statics.e_score_correction_bias", "mlp.gate.moe_statics.e_score_correction_bias"],
            view: View::Flat,
        },
        STORED[0],
        STORED[1],
        STORED[2],
    ],
    ..LLAMA
};
