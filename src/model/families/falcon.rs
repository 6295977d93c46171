//! Falcon: `LayerNorm` with bias, attention and MLP side by side behind one norm or two, q, k and v out of one matrix, few key
//! heads, an MLP without a gate, a tied head. `FalconConfig` and `modeling_falcon.py`; models with `ALiBi` are refused: eager
//! attention of transformers 5.23 adds the slopes to the scores and once more with the mask, its other kinds add them once.

use super::gpt2::LAYER_NORM;
use super::llama::LLAMA;
use super::{Defaults, Family, Fused, Keys, Switch, When, WiringRow};
use crate::model::role::{Names, Role};
use crate::model::spec::Term;

const PATHS: &[(Role, &str)] = &[
    (Role::EmbedTokens, "transformer.word_embeddings"),
    (Role::InputNorm, "input_layernorm"),
    (Role::QkvProj, "self_attention.query_key_value"),
    (Role::QProj, "self_attention.q"),
    (Role::KProj, "self_attention.k"),
    (Role::VProj, "self_attention.v"),
    (Role::QRope, "self_attention.q_rope"),
    (Role::KRope, "self_attention.k_rope"),
    (Role::Scores, "self_attention.scores"),
    (Role::Probs, "self_attention.probs"),
    (Role::Context, "self_attention.context"),
    (Role::OProj, "self_attention.dense"),
    (Role::MlpNorm, "post_attention_layernorm"),
    (Role::UpProj, "mlp.dense_h_to_4h"),
    (Role::ActFn, "mlp.act"),
    (Role::DownProj, "mlp.dense_4h_to_h"),
    (Role::Block, ""),
    (Role::FinalNorm, "transformer.ln_f"),
];

/// Of blocks with two norms.
const TWO: &[(Role, &str)] = &[(Role::InputNorm, "ln_attn"), (Role::MlpNorm, "ln_mlp")];

const MODULES: &[(Role, &str)] = &[(Role::OProj, "self_attention"), (Role::DownProj, "mlp")];

const NAMES: Names = Names { layers: "transformer.h", paths: &[PATHS], modules: MODULES };

const NAMES_OF_TWO: Names = Names { layers: "transformer.h", paths: &[TWO, PATHS], modules: MODULES };

const BASE: Family = Family {
    name: "falcon",
    keys: Keys {
        intermediate_size: "ffn_hidden_size",
        num_key_value_heads: None,
        head_dim: None,
        eps: Some("layer_norm_epsilon"),
        act: Some("activation"),
        ..LLAMA.keys
    },
    others: &[("hidden_size", "n_embed")],
    defaults: Defaults {
        vocab_size: 65_024,
        hidden_size: 4544,
        intermediate_size: None,
        num_attention_heads: 71,
        eps: 1e-5,
        act: "gelu",
        tie_word_embeddings: true,
        ..LLAMA.defaults
    },
    norm: LAYER_NORM,
    wiring: WiringRow {
        post_norm: false,
        parallel: Switch::Unless("parallel_attn"),
        two_norms: false,
        order: [Term::Mlp, Term::Attention, Term::Stream],
    },
    one_key_head: Switch::Unless("multi_query"),
    qkv_bias: Switch::Key("bias"),
    o_bias: Switch::Key("bias"),
    mlp_bias: Switch::Key("bias"),
    fused: Fused::ByKeyHead,
    gated: false,
    names: &NAMES,
    base: "transformer.",
    ..LLAMA
};

/// Falcon 7B.
pub(super) const FALCON: Family = Family { variants: &[(When::Flag("new_decoder_architecture"), &OF_GROUPS)], ..BASE };

const GROUPS_READ: &[&str] = &["new_decoder_architecture", "multi_query", "parallel_attn", "num_ln_in_parallel_attn"];

/// Falcon 40B and 180B: a norm each before attention and MLP, and several key heads.
const OF_GROUPS: Family = Family {
    keys: Keys { num_key_value_heads: Some("num_kv_heads"), ..BASE.keys },
    variants: &[(When::Number("num_ln_in_parallel_attn", 1), &WITH_ONE_NORM)],
    reads: GROUPS_READ,
    wiring: WiringRow { parallel: Switch::Always, two_norms: true, ..BASE.wiring },
    one_key_head: Switch::Never,
    names: &NAMES_OF_TWO,
    ..BASE
};

/// Falcon 2.
const WITH_ONE_NORM: Family = Family {
    keys: Keys { num_key_value_heads: Some("num_kv_heads"), ..BASE.keys },
    reads: GROUPS_READ,
    wiring: WiringRow { parallel: Switch::Always, ..BASE.wiring },
    one_key_head: Switch::Never,
    ..BASE
};
