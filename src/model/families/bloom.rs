//! BLOOM: `LayerNorm` with bias, also behind the embeddings, slopes in the place of positions (`ALiBi`), q, k and v of each
//! head out of one matrix, an MLP without a gate, biases everywhere, a tied head. `BloomConfig` and `modeling_bloom.py`.

use super::gpt2::{GPT2, LAYER_NORM};
use super::llama::LLAMA;
use super::{Defaults, Family, Fused, Keys, Switch};
use crate::model::role::{Names, Role};

const PATHS: &[(Role, &str)] = &[
    (Role::EmbedTokens, "transformer.word_embeddings"),
    (Role::Embeddings, "transformer.word_embeddings_layernorm"),
    (Role::InputNorm, "input_layernorm"),
    (Role::QkvProj, "self_attention.query_key_value"),
    (Role::QProj, "self_attention.q"),
    (Role::KProj, "self_attention.k"),
    (Role::VProj, "self_attention.v"),
    (Role::Scores, "self_attention.scores"),
    (Role::Probs, "self_attention.probs"),
    (Role::Context, "self_attention.context"),
    (Role::OProj, "self_attention.dense"),
    (Role::MlpNorm, "post_attention_layernorm"),
    (Role::UpProj, "mlp.dense_h_to_4h"),
    (Role::ActFn, "mlp.gelu_impl"),
    (Role::DownProj, "mlp.dense_4h_to_h"),
    (Role::Block, ""),
    (Role::FinalNorm, "transformer.ln_f"),
];

/// Its modules of attention and MLP add the residual stream themselves.
const NAMES: Names = Names {
    layers: "transformer.h",
    paths: &[PATHS],
    modules: &[(Role::ResidMid, "self_attention"), (Role::Block, "mlp")],
};

pub(super) const BLOOM: Family = Family {
    name: "bloom",
    keys: Keys { hidden_size: "hidden_size", max_position_embeddings: "seq_length", act: None, ..GPT2.keys },
    // It divides sums of an option that is refused.
    reads: &["pretraining_tp"],
    others: &[("hidden_size", "n_embed"), ("n_layer", "num_hidden_layers"), ("n_head", "num_attention_heads")],
    defaults: Defaults {
        vocab_size: 250_880,
        hidden_size: 64,
        intermediate_size: None,
        num_hidden_layers: 2,
        num_attention_heads: 8,
        max_position_embeddings: 2048,
        eps: 1e-5,
        act: "bloom_gelu",
        tie_word_embeddings: true,
        ..LLAMA.defaults
    },
    norm: LAYER_NORM,
    qkv_bias: Switch::Always,
    o_bias: Switch::Always,
    mlp_bias: Switch::Always,
    fused: Fused::ByKeyHead,
    rope: None,
    alibi: true,
    embed_norm: true,
    gated: false,
    names: &NAMES,
    base: "transformer.",
    ..LLAMA
};
