//! Gemma 2: norms of `1 + w` before and behind attention and MLP, capped scores and logits, windows in every second layer,
//! scaled embeddings. `Gemma2Config` and `modeling_gemma2.py`.

use super::llama::{LLAMA, MODULES, PATHS};
use super::{Defaults, Family, Keys, NormRow, ScaleRow, Switch, Windows};
use crate::model::role::{Names, Role};

/// `post_attention_layernorm` is another thing than in Llama: it norms what attention gives.
pub(super) const OWN: &[(Role, &str)] = &[
    (Role::AttnOutNorm, "post_attention_layernorm"),
    (Role::MlpNorm, "pre_feedforward_layernorm"),
    (Role::MlpOutNorm, "post_feedforward_layernorm"),
];

const NAMES: Names = Names { layers: "model.layers", paths: &[OWN, PATHS], modules: MODULES };

pub(super) const GEMMA2: Family = Family {
    name: "gemma2",
    keys: Keys { act: Some("hidden_activation"), ..LLAMA.keys },
    // `hidden_act` stands in published files, and nothing reads it.
    reads: &["hidden_act"],
    defaults: Defaults {
        vocab_size: 256_000,
        hidden_size: 2304,
        intermediate_size: Some(9216),
        num_hidden_layers: 26,
        num_attention_heads: 8,
        num_key_value_heads: Some(4),
        head_dim: Some(256),
        max_position_embeddings: 8192,
        act: "gelu_pytorch_tanh",
        sliding_window: Some(4096),
        tie_word_embeddings: true,
        ..LLAMA.defaults
    },
    norm: NormRow { offset: 1.0, rounded_once: true, ..LLAMA.norm },
    around: (true, true),
    mlp_bias: Switch::Never,
    scale: ScaleRow::InverseRoot("query_pre_attn_scalar", 256.0),
    score_cap: Some(("attn_logit_softcapping", Some(50.0))),
    logit_cap: Some(("final_logit_softcapping", Some(30.0))),
    embed_scale: true,
    windows: Windows::AllBut { key: None, every: 2 },
    names: &NAMES,
    ..LLAMA
};
