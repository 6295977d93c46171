//! LFM2: in most layers a convolution over three positions stands in the place of attention, between two gates; q and k are
//! normalised per head. `Lfm2Config` and `modeling_lfm2.py`.

use super::llama::{LLAMA, PATHS};
use super::qwen3::QK_NORM;
use super::{Defaults, Family, Keys, MixerKind, MixerLayers, MixerRow, Stored, Switch, View};
use crate::model::role::{Names, Role};

pub(super) const OWN: &[(Role, &str)] = &[
    (Role::InputNorm, "operator_norm"),
    (Role::QNorm, "self_attn.q_layernorm"),
    (Role::KNorm, "self_attn.k_layernorm"),
    (Role::OProj, "self_attn.out_proj"),
    (Role::MixIn, "conv.in_proj"),
    (Role::ConvB, "conv.B"),
    (Role::ConvC, "conv.C"),
    (Role::ConvX, "conv.x"),
    (Role::ConvIn, "conv.Bx"),
    // `conv.conv` is called by nobody: its weights are taken out of it.
    (Role::ConvOut, "conv.conv_out"),
    (Role::Mixed, "conv.y"),
    (Role::MixOut, "conv.out_proj"),
    (Role::MlpNorm, "ffn_norm"),
    (Role::GateProj, "feed_forward.w1"),
    (Role::UpProj, "feed_forward.w3"),
    (Role::ActFn, "feed_forward.act_fn"),
    (Role::ActMul, "feed_forward.act_mul"),
    (Role::DownProj, "feed_forward.w2"),
    // In its GGUF files, too, this is the last norm.
    (Role::FinalNorm, "model.embedding_norm"),
];

pub(super) const MODULES: &[(Role, &str)] = &[
    (Role::OProj, "self_attn"),
    (Role::MixOut, "conv"),
    (Role::DownProj, "feed_forward"),
    (Role::Experts, "feed_forward"),
];

const NAMES: Names = Names { layers: "model.layers", paths: &[OWN, PATHS], modules: MODULES };

pub(super) const FILTERED: [Stored; 2] = [
    Stored { of: "conv.conv_out.weight", at: &["conv.conv.weight"], view: View::Filters },
    Stored { of: "conv.conv_out.bias", at: &["conv.conv.bias"], view: View::Whole },
];

pub(super) const LFM2: Family = Family {
    name: "lfm2",
    keys: Keys { head_dim: Some("head_dim"), eps: Some("norm_eps"), act: None, ..LLAMA.keys },
    others: &[("intermediate_size", "block_ff_dim"), ("tie_word_embeddings", "tie_embedding")],
    // What stands in published files beside, and nothing reads.
    reads: &["block_dim", "block_norm_eps", "conv_dim", "conv_dim_out", "num_heads", "theta"],
    defaults: Defaults {
        vocab_size: 65_536,
        hidden_size: 2560,
        intermediate_size: Some(12_288),
        num_key_value_heads: Some(8),
        max_position_embeddings: 128_000,
        eps: 1e-5,
        rope_theta: 1e6,
        tie_word_embeddings: true,
        ..LLAMA.defaults
    },
    whole_heads: false,
    qkv_bias: Switch::Never,
    o_bias: Switch::Never,
    mlp_bias: Switch::Never,
    qk_norm: Some(QK_NORM),
    mixer: Some(MixerRow {
        kind: MixerKind::ShortConvolution { taps: ("conv_L_cache", 3), bias: Switch::Key("conv_bias") },
        words: &["conv"],
        layers: MixerLayers::AllButListed { key: "full_attn_idxs", alone: false },
        abreast: false,
    }),
    adjusts_width: true,
    names: &NAMES,
    stored: &FILTERED,
    ..LLAMA
};
