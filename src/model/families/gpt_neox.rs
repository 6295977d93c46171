//! GPT-NeoX and Pythia: `LayerNorm` with bias, attention and MLP side by side behind a norm each, a quarter of each head
//! rotated, q, k and v of each head out of one matrix, an MLP without a gate. `GPTNeoXConfig` and `modeling_gpt_neox.py`.

use super::gpt2::LAYER_NORM;
use super::llama::LLAMA;
use super::{Defaults, Family, Fused, Keys, RopeRow, Stored, Switch, View, WiringRow};
use crate::model::role::{Names, Role};
use crate::model::spec::Term;

const PATHS: &[(Role, &str)] = &[
    (Role::EmbedTokens, "gpt_neox.embed_in"),
    (Role::InputNorm, "input_layernorm"),
    (Role::QkvProj, "attention.query_key_value"),
    (Role::QProj, "attention.q"),
    (Role::KProj, "attention.k"),
    (Role::VProj, "attention.v"),
    (Role::QRope, "attention.q_rope"),
    (Role::KRope, "attention.k_rope"),
    (Role::Scores, "attention.scores"),
    (Role::Probs, "attention.probs"),
    (Role::Context, "attention.context"),
    (Role::OProj, "attention.dense"),
    (Role::MlpNorm, "post_attention_layernorm"),
    (Role::UpProj, "mlp.dense_h_to_4h"),
    (Role::ActFn, "mlp.act"),
    (Role::DownProj, "mlp.dense_4h_to_h"),
    (Role::Block, ""),
    (Role::FinalNorm, "gpt_neox.final_layer_norm"),
];

const NAMES: Names = Names {
    layers: "gpt_neox.layers",
    paths: &[PATHS],
    modules: &[(Role::OProj, "attention"), (Role::DownProj, "mlp")],
};

pub(super) const GPT_NEOX: Family = Family {
    name: "gpt_neox",
    keys: Keys { num_key_value_heads: None, head_dim: None, eps: Some("layer_norm_eps"), ..LLAMA.keys },
    defaults: Defaults {
        vocab_size: 50_432,
        hidden_size: 6144,
        intermediate_size: Some(24_576),
        num_hidden_layers: 44,
        num_attention_heads: 64,
        eps: 1e-5,
        act: "gelu",
        ..LLAMA.defaults
    },
    norm: LAYER_NORM,
    wiring: WiringRow {
        post_norm: false,
        parallel: Switch::Unless("use_parallel_residual"),
        two_norms: true,
        order: [Term::Mlp, Term::Attention, Term::Stream],
    },
    qkv_bias: Switch::Unless("attention_bias"),
    o_bias: Switch::Unless("attention_bias"),
    mlp_bias: Switch::Always,
    fused: Fused::ByKeyHead,
    rope: Some(RopeRow { theta: "rotary_emb_base", share: Some(("rotary_pct", 0.25)), ..RopeRow::HALVES }),
    gated: false,
    names: &NAMES,
    base: "gpt_neox.",
    // Published files have the older name.
    stored: &[Stored { of: "lm_head.weight", at: &["embed_out.weight", "lm_head.weight"], view: View::Whole }],
    ..LLAMA
};
