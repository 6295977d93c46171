//! Apertus: Llama whose MLP has no gate and a function with weights, xIELU; q and k are normalised per head. `ApertusConfig`
//! and `modeling_apertus.py`.

use super::llama::{LLAMA, MODULES, PATHS};
use super::qwen3::QK_NORM;
use super::{Defaults, Family, RopeRow, Stored, Switch, View};
use crate::model::role::{Names, Role};

const OWN: &[(Role, &str)] = &[(Role::InputNorm, "attention_layernorm"), (Role::MlpNorm, "feedforward_layernorm")];

const NAMES: Names = Names { layers: "model.layers", paths: &[OWN, PATHS], modules: MODULES };

pub(super) const APERTUS: Family = Family {
    name: "apertus",
    defaults: Defaults {
        vocab_size: 131_072,
        intermediate_size: Some(14_336),
        max_position_embeddings: 65_536,
        eps: 1e-5,
        act: "xielu",
        rope_theta: 12e6,
        ..LLAMA.defaults
    },
    xielu: true,
    whole_heads: false,
    mlp_bias: Switch::Never,
    qk_norm: Some(QK_NORM),
    rope: Some(RopeRow {
        missing: r#"{"rope_type": "llama3", "rope_theta": 12e6, "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}"#,
        ..RopeRow::HALVES
    }),
    gated: false,
    names: &NAMES,
    // They have no axes.
    stored: &[
        Stored { of: "mlp.act_fn.beta", at: &["mlp.act_fn.beta"], view: View::Flat },
        Stored { of: "mlp.act_fn.eps", at: &["mlp.act_fn.eps"], view: View::Flat },
    ],
    ..LLAMA
};
