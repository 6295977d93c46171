//! GPT-2: `LayerNorm` with bias, learned positions, q, k and v out of one matrix, an MLP without a gate. Its matrices are
//! stored `[in, out]`. `GPT2Config` and `modeling_gpt2.py`.

use super::llama::LLAMA;
use super::{Defaults, Family, Fused, Keys, NormRow, Stored, Switch, View};
use crate::model::role::{Names, Role};
use crate::ops::Form;

const PATHS: &[(Role, &str)] = &[
    (Role::EmbedTokens, "transformer.wte"),
    (Role::EmbedPositions, "transformer.wpe"),
    (Role::Embeddings, "transformer.embeddings"),
    (Role::InputNorm, "ln_1"),
    (Role::QkvProj, "attn.c_attn"),
    (Role::QProj, "attn.q"),
    (Role::KProj, "attn.k"),
    (Role::VProj, "attn.v"),
    (Role::Scores, "attn.scores"),
    (Role::Probs, "attn.probs"),
    (Role::Context, "attn.context"),
    (Role::OProj, "attn.c_proj"),
    (Role::MlpNorm, "ln_2"),
    (Role::UpProj, "mlp.c_fc"),
    (Role::ActFn, "mlp.act"),
    (Role::DownProj, "mlp.c_proj"),
    (Role::Block, ""),
    (Role::FinalNorm, "transformer.ln_f"),
];

const NAMES: Names =
    Names { layers: "transformer.h", paths: &[PATHS], modules: &[(Role::OProj, "attn"), (Role::DownProj, "mlp")] };

const fn conv1d(of: &'static str, at: &'static [&'static str]) -> Stored {
    Stored { of, at, view: View::Transposed }
}

/// PyTorch's.
pub(super) const LAYER_NORM: NormRow =
    NormRow { form: Form::Centred, offset: 0.0, weight: true, bias: true, rounded_once: true };

pub(super) const GPT2: Family = Family {
    name: "gpt2",
    keys: Keys {
        hidden_size: "n_embd",
        intermediate_size: "n_inner",
        num_hidden_layers: "n_layer",
        num_attention_heads: "n_head",
        num_key_value_heads: None,
        head_dim: None,
        max_position_embeddings: "n_positions",
        eps: Some("layer_norm_epsilon"),
        act: Some("activation_function"),
    },
    defaults: Defaults {
        vocab_size: 50_257,
        hidden_size: 768,
        intermediate_size: None,
        num_hidden_layers: 12,
        num_attention_heads: 12,
        max_position_embeddings: 1024,
        eps: 1e-5,
        act: "gelu_new",
        tie_word_embeddings: true,
        ..LLAMA.defaults
    },
    norm: LAYER_NORM,
    qkv_bias: Switch::Always,
    o_bias: Switch::Always,
    mlp_bias: Switch::Always,
    fused: Fused::Blocks,
    rope: None,
    scale_by_layer: Some("scale_attn_by_inverse_layer_idx"),
    gated: false,
    names: &NAMES,
    base: "transformer.",
    stored: &[
        conv1d("attn.c_attn.weight", &["attn.c_attn.weight"]),
        conv1d("attn.c_proj.weight", &["attn.c_proj.weight"]),
        conv1d("mlp.c_fc.weight", &["mlp.c_fc.weight"]),
        conv1d("mlp.c_proj.weight", &["mlp.c_proj.weight"]),
    ],
    ..LLAMA
};
