//! Mistral: Llama with a sliding window in every layer. `MistralConfig` and `modeling_mistral.py`.

use super::llama::LLAMA;
use super::{Defaults, Family, Switch, Windows};

pub(super) const MISTRAL: Family = Family {
    name: "mistral",
    defaults: Defaults {
        intermediate_size: Some(14_336),
        num_key_value_heads: Some(8),
        max_position_embeddings: 131_072,
        sliding_window: Some(4096),
        ..LLAMA.defaults
    },
    whole_heads: false,
    qkv_bias: Switch::Never,
    o_bias: Switch::Never,
    mlp_bias: Switch::Never,
    windows: Windows::All,
    ..LLAMA
};
