//! Ministral 3: Mistral with `YaRN`, whose queries grow with their position. `Ministral3Config` and `modeling_ministral3.py`.

use super::mistral::MISTRAL;
use super::{Defaults, Family, RopeRow};

pub(super) const MINISTRAL3: Family = Family {
    name: "ministral3",
    defaults: Defaults {
        vocab_size: 131_072,
        num_hidden_layers: 34,
        head_dim: Some(128),
        max_position_embeddings: 262_144,
        eps: 1e-5,
        sliding_window: None,
        ..MISTRAL.defaults
    },
    rope: Some(RopeRow {
        missing: r#"{"type": "yarn", "rope_theta": 1e6, "factor": 16.0, "original_max_position_embeddings": 16384,
            "beta_fast": 32.0, "beta_slow": 1.0, "mscale_all_dim": 1.0, "mscale": 1.0, "llama_4_scaling_beta": 0.1}"#,
        growth: Some("llama_4_scaling_beta"),
        ..RopeRow::HALVES
    }),
    ..MISTRAL
};
