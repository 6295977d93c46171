//! The text model of Qwen3.5 with experts: Qwen3-Next's experts with the matrices of Qwen3.5. `Qwen3_5MoeTextConfig` and
//! `modeling_qwen3_5_moe.py`.

use super::llama::PATHS;
use super::qwen2_moe::SHARED;
use super::qwen3_5_text::{OWN, QWEN3_5_TEXT};
use super::qwen3_moe::EXPERTS;
use super::qwen3_next::{DELTA, MODULES, QWEN3_NEXT};
use super::{Defaults, ExpertsRow, Family, SharedRow, SharedWidth, SparseLayers, Switch};
use crate::model::role::Names;

const NAMES: Names = Names { layers: "model.layers", paths: &[OWN, DELTA, SHARED, EXPERTS, PATHS], modules: MODULES };

pub(super) const QWEN3_5_MOE_TEXT: Family = Family {
    name: "qwen3_5_moe_text",
    defaults: Defaults {
        hidden_size: 2048,
        num_hidden_layers: 40,
        num_key_value_heads: Some(2),
        ..QWEN3_5_TEXT.defaults
    },
    experts: Some(ExpertsRow {
        count: (&["num_experts", "num_local_experts"], 256),
        top_k: (&["num_experts_per_tok"], 8),
        width: ("moe_intermediate_size", 512),
        renormalise: Switch::Always,
        rounded: true,
        layers: SparseLayers::All,
        shared: Some(SharedRow { width: SharedWidth::Own("shared_expert_intermediate_size", 512), weighed: true }),
        ..ExpertsRow::ALL_LAYERS
    }),
    names: &NAMES,
    stored: QWEN3_NEXT.stored,
    ..QWEN3_5_TEXT
};
