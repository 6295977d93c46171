//! ModernBERT: an encoder with RoPE, of which layers with a window have one of their own, and a gated MLP whose activation
//! function is of the first half of one matrix; no biases. `ModernBertConfig` and `modeling_modernbert.py`.

use super::gpt2::LAYER_NORM;
use super::llama::LLAMA;
use super::{Defaults, EncoderRow, Family, Fused, GateUp, Keys, NormRow, RopeRow, Switch, Windows};
use crate::model::role::{Names, Role};
use crate::ops::Inside;

const PATHS: &[(Role, &str)] = &[
    (Role::EmbedTokens, "embeddings.tok_embeddings"),
    (Role::Embeddings, "embeddings.norm"),
    (Role::InputNorm, "attn_norm"),
    (Role::QkvProj, "attn.Wqkv"),
    (Role::QProj, "attn.q"),
    (Role::KProj, "attn.k"),
    (Role::VProj, "attn.v"),
    (Role::QRope, "attn.q_rope"),
    (Role::KRope, "attn.k_rope"),
    (Role::Scores, "attn.scores"),
    (Role::Probs, "attn.probs"),
    (Role::Context, "attn.context"),
    (Role::OProj, "attn.Wo"),
    (Role::MlpNorm, "mlp_norm"),
    (Role::GateUpProj, "mlp.Wi"),
    // The class calls these `input` and `gate`; what the activation function is of is the gate elsewhere.
    (Role::GateProj, "mlp.gate_proj"),
    (Role::UpProj, "mlp.up_proj"),
    (Role::ActFn, "mlp.act"),
    (Role::ActMul, "mlp.act_mul"),
    (Role::DownProj, "mlp.Wo"),
    (Role::Block, ""),
    (Role::FinalNorm, "final_norm"),
];

const NAMES: Names =
    Names { layers: "layers", paths: &[PATHS], modules: &[(Role::OProj, "attn"), (Role::DownProj, "mlp")] };

pub(super) const MODERNBERT: Family = Family {
    name: "modernbert",
    keys: Keys {
        num_key_value_heads: None,
        head_dim: None,
        eps: Some("norm_eps"),
        act: Some("hidden_activation"),
        ..LLAMA.keys
    },
    defaults: Defaults {
        vocab_size: 50_368,
        hidden_size: 768,
        intermediate_size: Some(1152),
        num_hidden_layers: 22,
        num_attention_heads: 12,
        max_position_embeddings: 8192,
        eps: 1e-5,
        act: "gelu",
        rope_theta: 160_000.0,
        sliding_window: Some(128),
        tie_word_embeddings: true,
        ..LLAMA.defaults
    },
    norm: NormRow { bias: false, ..LAYER_NORM },
    fused: Fused::Blocks,
    fused_mlp: GateUp::Halves,
    rope: Some(RopeRow {
        inside: Inside::Table,
        theta: "global_rope_theta",
        sliding: Some((Some("local_rope_theta"), 1e4)),
        scales_all: true,
        ..RopeRow::HALVES
    }),
    embed_norm: true,
    windows: Windows::AllButFirst { key: "global_attn_every_n_layers", every: 3 },
    encoder: Some(EncoderRow {
        first_unnormed: true,
        norm_bias: Switch::Key("norm_bias"),
        window: "local_attention",
        ..EncoderRow::DECODER
    }),
    names: &NAMES,
    base: "model.",
    ..LLAMA
};
