//! ERNIE 4.5: Llama with RoPE of neighbouring channels in f32, a tied head. `Ernie4_5Config` and `modeling_ernie4_5.py`.

use super::llama::LLAMA;
use super::olmo::ROPE;
use super::{Defaults, Family, RopeRow, Switch};
use crate::ops::Pairs;

pub(super) const ERNIE4_5: Family = Family {
    name: "ernie4_5",
    defaults: Defaults {
        vocab_size: 103_424,
        hidden_size: 1024,
        intermediate_size: Some(3072),
        num_hidden_layers: 18,
        num_attention_heads: 16,
        num_key_value_heads: Some(2),
        head_dim: Some(128),
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
    rope: Some(RopeRow { pairs: Pairs::Adjacent, ..ROPE }),
    ..LLAMA
};
