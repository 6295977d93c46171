//! BERT: an encoder whose norms stand behind the sums, learned positions, types of tokens, biases everywhere. `BertConfig` and
//! `modeling_bert.py`, without its pooler, which no embedder uses.

use super::gpt2::LAYER_NORM;
use super::llama::LLAMA;
use super::{Defaults, EncoderRow, Family, Keys, Stored, Switch, View, WiringRow};
use crate::model::role::{Names, Role};

const PATHS: &[(Role, &str)] = &[
    (Role::EmbedTokens, "embeddings.word_embeddings"),
    (Role::EmbedTypes, "embeddings.token_type_embeddings"),
    (Role::EmbedPositions, "embeddings.position_embeddings"),
    (Role::EmbedSum, "embeddings.sum"),
    (Role::Embeddings, "embeddings.LayerNorm"),
    (Role::QProj, "attention.self.query"),
    (Role::KProj, "attention.self.key"),
    (Role::VProj, "attention.self.value"),
    (Role::Scores, "attention.self.scores"),
    (Role::Probs, "attention.self.probs"),
    (Role::Context, "attention.self.context"),
    (Role::OProj, "attention.output.dense"),
    (Role::AttnSum, "attention.output.sum"),
    (Role::ResidMid, "attention.output.LayerNorm"),
    (Role::UpProj, "intermediate.dense"),
    (Role::ActFn, "intermediate.intermediate_act_fn"),
    (Role::DownProj, "output.dense"),
    (Role::MlpSum, "output.sum"),
    (Role::MlpOutNorm, "output.LayerNorm"),
    (Role::Block, ""),
];

/// What modules give that wrap others, and the norm that a block ends in.
const MODULES: &[(Role, &str)] = &[
    (Role::Context, "attention.self"),
    (Role::ResidMid, "attention"),
    (Role::ResidMid, "attention.output"),
    (Role::ActFn, "intermediate"),
    (Role::Block, "output"),
    (Role::Block, "output.LayerNorm"),
];

const NAMES: Names = Names { layers: "encoder.layer", paths: &[PATHS], modules: MODULES };

pub(super) const BERT: Family = Family {
    name: "bert",
    keys: Keys { num_key_value_heads: None, head_dim: None, eps: Some("layer_norm_eps"), ..LLAMA.keys },
    defaults: Defaults {
        vocab_size: 30_522,
        hidden_size: 768,
        intermediate_size: Some(3072),
        num_hidden_layers: 12,
        num_attention_heads: 12,
        max_position_embeddings: 512,
        eps: 1e-12,
        act: "gelu",
        tie_word_embeddings: true,
        ..LLAMA.defaults
    },
    never: &["is_decoder", "add_cross_attention"],
    norm: LAYER_NORM,
    around: (false, true),
    wiring: WiringRow { post_norm: true, ..LLAMA.wiring },
    qkv_bias: Switch::Always,
    o_bias: Switch::Always,
    mlp_bias: Switch::Always,
    rope: None,
    embed_norm: true,
    gated: false,
    encoder: Some(EncoderRow { types: Some(2), ..EncoderRow::DECODER }),
    names: &NAMES,
    base: "bert.",
    // As TensorFlow calls them, in the oldest files.
    stored: &[
        Stored { of: "LayerNorm.weight", at: &["LayerNorm.weight", "LayerNorm.gamma"], view: View::Whole },
        Stored { of: "LayerNorm.bias", at: &["LayerNorm.bias", "LayerNorm.beta"], view: View::Whole },
    ],
    ..LLAMA
};
