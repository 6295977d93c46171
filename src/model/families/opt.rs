//! OPT: `LayerNorm` with bias, learned positions whose table begins with two other rows, an MLP without a gate, biases
//! everywhere, a tied head. That of 350M norms behind the sums, and its embeddings have a width of their own. `OPTConfig` and
//! `modeling_opt.py`.

use super::gpt2::LAYER_NORM;
use super::llama::LLAMA;
use super::{Defaults, Family, Keys, Switch, When, WiringRow};
use crate::model::role::{Names, Role};

const PATHS: &[(Role, &str)] = &[
    (Role::EmbedTokens, "model.decoder.embed_tokens"),
    (Role::EmbedProj, "model.decoder.project_in"),
    (Role::EmbedPositions, "model.decoder.embed_positions"),
    (Role::Embeddings, "model.decoder.embeddings"),
    (Role::InputNorm, "self_attn_layer_norm"),
    (Role::QProj, "self_attn.q_proj"),
    (Role::KProj, "self_attn.k_proj"),
    (Role::VProj, "self_attn.v_proj"),
    (Role::Scores, "self_attn.scores"),
    (Role::Probs, "self_attn.probs"),
    (Role::Context, "self_attn.context"),
    (Role::OProj, "self_attn.out_proj"),
    (Role::MlpNorm, "final_layer_norm"),
    (Role::UpProj, "fc1"),
    (Role::ActFn, "activation_fn"),
    (Role::DownProj, "fc2"),
    (Role::Block, ""),
    (Role::FinalNorm, "model.decoder.final_layer_norm"),
    (Role::HeadProj, "model.decoder.project_out"),
];

/// Of blocks whose norms stand behind the sums.
const POST: &[(Role, &str)] = &[(Role::ResidMid, "self_attn_layer_norm"), (Role::MlpOutNorm, "final_layer_norm")];

/// No module is called `mlp`; people ask for it all the same.
const NAMES: Names = Names {
    layers: "model.decoder.layers",
    paths: &[PATHS],
    modules: &[(Role::OProj, "self_attn"), (Role::DownProj, "mlp")],
};

const NAMES_OF_POST: Names = Names {
    paths: &[POST, PATHS],
    modules: &[(Role::OProj, "self_attn"), (Role::DownProj, "mlp"), (Role::Block, "final_layer_norm")],
    ..NAMES
};

pub(super) const OPT: Family = Family { variants: &[(When::Off("do_layer_norm_before"), &POST_NORM)], ..BASE };

/// OPT 350M.
const POST_NORM: Family = Family {
    reads: &["do_layer_norm_before"],
    around: (false, true),
    wiring: WiringRow { post_norm: true, ..LLAMA.wiring },
    names: &NAMES_OF_POST,
    ..BASE
};

const BASE: Family = Family {
    name: "opt",
    keys: Keys {
        intermediate_size: "ffn_dim",
        num_key_value_heads: None,
        head_dim: None,
        eps: None,
        act: Some("activation_function"),
        ..LLAMA.keys
    },
    defaults: Defaults {
        vocab_size: 50_272,
        hidden_size: 768,
        intermediate_size: Some(3072),
        num_hidden_layers: 12,
        num_attention_heads: 12,
        eps: 1e-5,
        act: "relu",
        tie_word_embeddings: true,
        ..LLAMA.defaults
    },
    embed_width: Some("word_embed_proj_dim"),
    norm: LAYER_NORM,
    qkv_bias: Switch::Unless("enable_bias"),
    o_bias: Switch::Unless("enable_bias"),
    mlp_bias: Switch::Unless("enable_bias"),
    rope: None,
    rows_before: 2,
    gated: false,
    names: &NAMES,
    ..LLAMA
};
