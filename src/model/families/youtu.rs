//! Youtu-LLM: DeepSeek-V3's latent attention before an MLP of its own in every layer. `YoutuConfig` and `modeling_youtu.py`.

use super::deepseek_v2::{KEYS, LATENT, NAMES, PLAIN_QUERIES};
use super::deepseek_v3::DEEPSEEK_V3;
use super::llama::LLAMA;
use super::{Defaults, Family, Switch, When};

/// Queries that are made of the stream.
const PLAIN: Family = Family {
    name: "youtu",
    keys: KEYS,
    defaults: Defaults {
        vocab_size: 128_256,
        hidden_size: 2048,
        intermediate_size: Some(6144),
        num_attention_heads: 16,
        max_position_embeddings: 131_072,
        tie_word_embeddings: true,
        ..LLAMA.defaults
    },
    whole_heads: false,
    mlp_bias: Switch::Never,
    latent: Some(LATENT),
    rope: DEEPSEEK_V3.rope,
    names: &PLAIN_QUERIES,
    ..LLAMA
};

pub(super) const YOUTU: Family = Family { variants: &[(When::Null("q_lora_rank"), &PLAIN)], names: &NAMES, ..PLAIN };
