//! Phi-3.5-MoE: `LayerNorm` with bias, and experts that a token has two of, each weighted among those whose logits are nearly
//! as large. `PhimoeConfig` and `modeling_phimoe.py`.

use super::gpt2::LAYER_NORM;
use super::llama::{LLAMA, PATHS};
use super::mixtral::STORED;
use super::qwen3_moe::{EXPERTS, MODULES};
use super::{Defaults, ExpertsRow, Family, RopeRow, ScoreRow, Stored, Switch, View, Windows};
use crate::model::role::{Names, Role};

const OWN: &[(Role, &str)] = &[(Role::RouterLogits, "mlp.router")];

const NAMES: Names = Names { layers: "model.layers", paths: &[OWN, EXPERTS, PATHS], modules: MODULES };

pub(super) const PHIMOE: Family = Family {
    name: "phimoe",
    defaults: Defaults {
        vocab_size: 32_064,
        intermediate_size: Some(6400),
        num_key_value_heads: Some(8),
        max_position_embeddings: 131_072,
        eps: 1e-5,
        rope_theta: 1e6,
        ..LLAMA.defaults
    },
    norm: LAYER_NORM,
    whole_heads: false,
    mlp_bias: Switch::Never,
    head_bias: Switch::Key("lm_head_bias"),
    rope: Some(RopeRow {
        mscales: true,
        types: &[("default", "default"), ("longrope", "longrope")],
        ..RopeRow::HALVES
    }),
    windows: Windows::All,
    experts: Some(ExpertsRow {
        count: (&["num_local_experts", "num_experts"], 16),
        width: ("intermediate_size", 6400),
        renormalise: Switch::Never,
        rounded: true,
        score: ScoreRow::Mixer("router_jitter_noise", 0.01),
        ..ExpertsRow::ALL_LAYERS
    }),
    names: &NAMES,
    stored: &[
        Stored {
            of: "mlp.router.weight",
            at: &["block_sparse_moe.gate.weight", "mlp.router.weight"],
            view: View::Whole,
        },
        STORED[0],
        STORED[1],
        STORED[2],
    ],
    ..LLAMA
};
