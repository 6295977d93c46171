//! ERNIE 4.5 with experts: a bias chooses among shares of all, beside experts that every token has.
//! `Ernie4_5_MoeConfig` and `modeling_ernie4_5_moe.py`.

use super::ernie4_5::ERNIE4_5;
use super::glm4_moe::NAMES;
use super::qwen3_moe::STORED;
use super::{Defaults, ExpertsRow, Family, SharedRow, SharedWidth, SparseLayers, Stored, Switch, View};

pub(super) const ERNIE4_5_MOE: Family = Family {
    name: "ernie4_5_moe",
    reads: &["moe_norm_min"],
    defaults: Defaults {
        hidden_size: 2560,
        intermediate_size: Some(12_288),
        num_hidden_layers: 28,
        num_attention_heads: 20,
        num_key_value_heads: Some(4),
        head_dim: None,
        ..ERNIE4_5.defaults
    },
    head_bias: Switch::Key("use_bias"),
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
    ..ERNIE4_5
};
