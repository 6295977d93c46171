//! GPT-J: `LayerNorm` with bias, attention and MLP side by side behind one norm, neighbouring channels of a part of each head
//! rotated, an MLP without a gate, biases of the MLP and of the head. `GPTJConfig` and `modeling_gptj.py`.

use super::gpt2::{GPT2, LAYER_NORM};
use super::llama::LLAMA;
use super::phi::PHI;
use super::{Defaults, Family, RopeRow, Switch};
use crate::model::role::{Names, Role};
use crate::ops::Pairs;

const PATHS: &[(Role, &str)] = &[
    (Role::EmbedTokens, "transformer.wte"),
    (Role::InputNorm, "ln_1"),
    (Role::QProj, "attn.q_proj"),
    (Role::KProj, "attn.k_proj"),
    (Role::VProj, "attn.v_proj"),
    (Role::QRope, "attn.q_rope"),
    (Role::KRope, "attn.k_rope"),
    (Role::Scores, "attn.scores"),
    (Role::Probs, "attn.probs"),
    (Role::Context, "attn.context"),
    (Role::OProj, "attn.out_proj"),
    (Role::UpProj, "mlp.fc_in"),
    (Role::ActFn, "mlp.act"),
    (Role::DownProj, "mlp.fc_out"),
    (Role::Block, ""),
    (Role::FinalNorm, "transformer.ln_f"),
];

const NAMES: Names =
    Names { layers: "transformer.h", paths: &[PATHS], modules: &[(Role::OProj, "attn"), (Role::DownProj, "mlp")] };

pub(super) const GPTJ: Family = Family {
    name: "gptj",
    keys: GPT2.keys,
    defaults: Defaults {
        vocab_size: 50_400,
        hidden_size: 4096,
        intermediate_size: None,
        num_hidden_layers: 28,
        num_attention_heads: 16,
        eps: 1e-5,
        act: "gelu_new",
        ..LLAMA.defaults
    },
    norm: LAYER_NORM,
    wiring: PHI.wiring,
    qkv_bias: Switch::Never,
    o_bias: Switch::Never,
    mlp_bias: Switch::Always,
    head_bias: Switch::Always,
    rope: Some(RopeRow { pairs: Pairs::Adjacent, dims: Some(("rotary_dim", 64)), ..RopeRow::HALVES }),
    gated: false,
    names: &NAMES,
    base: "transformer.",
    ..LLAMA
};
