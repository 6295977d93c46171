//! `SmolLM3`: Llama in which every fourth layer is not rotated. `SmolLM3Config` and `modeling_smollm3.py`.

use super::llama::LLAMA;
use super::{Defaults, Family, RopeRow, Rotated, Windows};

pub(super) const SMOLLM3: Family = Family {
    name: "smollm3",
    defaults: Defaults {
        vocab_size: 128_256,
        hidden_size: 2048,
        num_hidden_layers: 36,
        num_attention_heads: 16,
        num_key_value_heads: Some(4),
        max_position_embeddings: 32_768,
        rope_theta: 2e6,
        tie_word_embeddings: true,
        ..LLAMA.defaults
    },
    whole_heads: false,
    rope: Some(RopeRow { layers: Rotated::Listed { interval: 4 }, ..RopeRow::HALVES }),
    windows: Windows::NotRotated,
    ..LLAMA
};
