//! Qwen2 and Qwen2.5: biases on q, k and v whatever the file says. `Qwen2Config` and `modeling_qwen2.py`.

use super::llama::LLAMA;
use super::{Defaults, Family, Switch, Windows};

pub(super) const QWEN2: Family = Family {
    name: "qwen2",
    reads: &["attention_bias"],
    defaults: Defaults {
        vocab_size: 151_936,
        intermediate_size: Some(22_016),
        num_key_value_heads: Some(32),
        max_position_embeddings: 32_768,
        sliding_window: Some(4096),
        ..LLAMA.defaults
    },
    whole_heads: false,
    qkv_bias: Switch::Always,
    o_bias: Switch::Never,
    mlp_bias: Switch::Never,
    windows: Windows::ByLayer { first: 28 },
    ..LLAMA
};
