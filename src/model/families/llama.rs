//! Llama 2 and 3, `SmolLM2`: `LlamaConfig` and `modeling_llama.py`. The parent of most families.

use super::{Defaults, Family, Fused, Keys, NormRow, RopeRow, ScaleRow, Switch, Windows, WiringRow};
use crate::model::role::{Names, Role};
use crate::model::spec::Term;
use crate::ops::Form;

/// Modules of a decoder with a gated MLP, as most families call them.
pub(super) const PATHS: &[(Role, &str)] = &[
    (Role::EmbedTokens, "model.embed_tokens"),
    (Role::Embeddings, "model.embeddings"),
    (Role::InputNorm, "input_layernorm"),
    (Role::QProj, "self_attn.q_proj"),
    (Role::KProj, "self_attn.k_proj"),
    (Role::VProj, "self_attn.v_proj"),
    (Role::QNorm, "self_attn.q_norm"),
    (Role::KNorm, "self_attn.k_norm"),
    (Role::QRope, "self_attn.q_rope"),
    (Role::KRope, "self_attn.k_rope"),
    (Role::Scores, "self_attn.scores"),
    (Role::Probs, "self_attn.probs"),
    (Role::Context, "self_attn.context"),
    (Role::OProj, "self_attn.o_proj"),
    (Role::MlpNorm, "post_attention_layernorm"),
    (Role::GateProj, "mlp.gate_proj"),
    (Role::UpProj, "mlp.up_proj"),
    (Role::ActFn, "mlp.act_fn"),
    (Role::ActMul, "mlp.act_mul"),
    (Role::DownProj, "mlp.down_proj"),
    (Role::Block, ""),
    (Role::FinalNorm, "model.norm"),
];

/// `self_attn` gives what `o_proj` gives, `mlp` what `down_proj` gives.
pub(super) const MODULES: &[(Role, &str)] = &[(Role::OProj, "self_attn"), (Role::DownProj, "mlp")];

const NAMES: Names = Names { layers: "model.layers", paths: &[PATHS], modules: MODULES };

pub(super) const LLAMA: Family = Family {
    name: "llama",
    keys: Keys {
        hidden_size: "hidden_size",
        intermediate_size: "intermediate_size",
        num_hidden_layers: "num_hidden_layers",
        num_attention_heads: "num_attention_heads",
        num_key_value_heads: Some("num_key_value_heads"),
        head_dim: Some("head_dim"),
        max_position_embeddings: "max_position_embeddings",
        eps: Some("rms_norm_eps"),
        act: Some("hidden_act"),
    },
    others: &[],
    variants: &[],
    as_wide: &[],
    never: &[],
    reads: &[],
    defaults: Defaults {
        vocab_size: 32_000,
        hidden_size: 4096,
        intermediate_size: Some(11_008),
        num_hidden_layers: 32,
        num_attention_heads: 32,
        num_key_value_heads: None,
        head_dim: None,
        max_position_embeddings: 2048,
        eps: 1e-6,
        act: "silu",
        rope_theta: 1e4,
        sliding_window: None,
        tie_word_embeddings: false,
    },
    acts: &[],
    norm: NormRow { form: Form::Rms, offset: 0.0, weight: true, bias: false, rounded_once: false },
    around: (true, false),
    whole_heads: true,
    wiring: WiringRow { parallel: Switch::Never, two_norms: false, order: [Term::Stream, Term::Attention, Term::Mlp] },
    one_key_head: Switch::Never,
    qkv_bias: Switch::Key("attention_bias"),
    o_bias: Switch::Key("attention_bias"),
    mlp_bias: Switch::Key("mlp_bias"),
    head_bias: Switch::Never,
    fused: Fused::No,
    qk_norm: None,
    rope: Some(RopeRow::HALVES),
    alibi: false,
    rows_before: 0,
    embed_norm: false,
    scale: ScaleRow::OfWidth,
    scale_by_layer: None,
    score_cap: None,
    logit_cap: None,
    embed_scale: false,
    embed_factor: None,
    residual_factor: None,
    logit_factor: None,
    windows: Windows::None,
    gated: true,
    fused_mlp: false,
    experts: None,
    names: &NAMES,
    base: "model.",
    stored: &[],
};
