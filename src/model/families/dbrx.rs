//! DBRX: `LayerNorm` without bias, q, k and v out of one matrix and clipped, experts in the place of the MLP, whose matrices
//! stand below each other. Keys of attention and of experts stand in objects of their own. `DbrxConfig` and
//! `modeling_dbrx.py`; where `attn_config` has another `rope_theta` than the model, transformers 5.23 rotates by the model's,
//! older code by the other: refused.

use super::cohere::COHERE;
use super::llama::LLAMA;
use super::{Defaults, ExpertsRow, Family, Fused, Keys, RopeRow, Stored, Switch, View};
use crate::model::role::{Names, Role};

const PATHS: &[(Role, &str)] = &[
    (Role::EmbedTokens, "transformer.wte"),
    (Role::InputNorm, "norm_attn_norm.norm_1"),
    (Role::QkvProj, "norm_attn_norm.attn.Wqkv"),
    (Role::QProj, "norm_attn_norm.attn.q"),
    (Role::KProj, "norm_attn_norm.attn.k"),
    (Role::VProj, "norm_attn_norm.attn.v"),
    (Role::QClip, "norm_attn_norm.attn.q_clip"),
    (Role::KClip, "norm_attn_norm.attn.k_clip"),
    (Role::VClip, "norm_attn_norm.attn.v_clip"),
    (Role::QRope, "norm_attn_norm.attn.q_rope"),
    (Role::KRope, "norm_attn_norm.attn.k_rope"),
    (Role::Scores, "norm_attn_norm.attn.scores"),
    (Role::Probs, "norm_attn_norm.attn.probs"),
    (Role::Context, "norm_attn_norm.attn.context"),
    (Role::OProj, "norm_attn_norm.attn.out_proj"),
    (Role::MlpNorm, "norm_attn_norm.norm_2"),
    (Role::RouterLogits, "ffn.router.layer"),
    (Role::Routing, "ffn.routing"),
    (Role::ExpertGate, "ffn.experts.gate"),
    (Role::ExpertUp, "ffn.experts.up"),
    (Role::ExpertAct, "ffn.experts.act"),
    (Role::ExpertActMul, "ffn.experts.act_mul"),
    (Role::ExpertDown, "ffn.experts.down"),
    (Role::Experts, "ffn.experts"),
    (Role::Block, ""),
    (Role::FinalNorm, "transformer.norm_f"),
];

const NAMES: Names = Names {
    layers: "transformer.blocks",
    paths: &[PATHS],
    modules: &[(Role::OProj, "norm_attn_norm.attn"), (Role::RouterLogits, "ffn.router"), (Role::Experts, "ffn")],
};

/// All experts in one matrix; that of `down` is stored `[in, out]`.
const fn below(of: &'static str, at: &'static [&'static str], transposed: bool) -> Stored {
    Stored { of, at, view: View::Below { transposed } }
}

pub(super) const DBRX: Family = Family {
    name: "dbrx",
    keys: Keys {
        hidden_size: "d_model",
        intermediate_size: "ffn_config.ffn_hidden_size",
        num_hidden_layers: "n_layers",
        num_attention_heads: "n_heads",
        num_key_value_heads: Some("attn_config.kv_n_heads"),
        head_dim: None,
        max_position_embeddings: "max_seq_len",
        eps: None,
        act: Some("ffn_config.ffn_act_fn.name"),
    },
    others: &[("d_model", "hidden_size"), ("n_layers", "num_hidden_layers"), ("n_heads", "num_attention_heads")],
    nested: &["attn_config", "ffn_config", "ffn_config.ffn_act_fn"],
    never: &["tie_word_embeddings"],
    // The class puts the model's width in the place of that of its experts.
    reads: &["ffn_config.hidden_size"],
    defaults: Defaults {
        hidden_size: 2048,
        intermediate_size: Some(3584),
        num_hidden_layers: 24,
        num_attention_heads: 16,
        num_key_value_heads: Some(1),
        eps: 1e-5,
        ..LLAMA.defaults
    },
    norm: COHERE.norm,
    qkv_bias: Switch::Never,
    o_bias: Switch::Never,
    mlp_bias: Switch::Never,
    fused: Fused::Blocks,
    clip: Some("attn_config.clip_qkv"),
    rope: Some(RopeRow { idle: Some("attn_config.rope_theta"), ..RopeRow::HALVES }),
    experts: Some(ExpertsRow {
        count: (&["ffn_config.moe_num_experts"], 4),
        top_k: (&["ffn_config.moe_top_k"], 1),
        width: ("ffn_config.ffn_hidden_size", 3584),
        renormalise: Switch::One("ffn_config.moe_normalize_expert_weights"),
        rounded: true,
        ..ExpertsRow::ALL_LAYERS
    }),
    names: &NAMES,
    base: "transformer.",
    stored: &[
        below("ffn.experts.gate.weight", &["ffn.experts.mlp.w1"], false),
        below("ffn.experts.up.weight", &["ffn.experts.mlp.v1"], false),
        below("ffn.experts.down.weight", &["ffn.experts.mlp.w2"], true),
    ],
    ..LLAMA
};
