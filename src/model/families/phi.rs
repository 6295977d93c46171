//! Phi-1, 1.5 and 2: `LayerNorm` with bias, attention and MLP side by side behind one norm, a part of each head rotated, an
//! MLP without a gate, biases everywhere, of the head as well. `PhiConfig` and `modeling_phi.py`.

use super::gpt2::LAYER_NORM;
use super::llama::{LLAMA, MODULES, PATHS};
use super::{Defaults, Family, Keys, QkNormRow, RopeRow, Switch, WiringRow};
use crate::model::role::{Names, Role};
use crate::model::spec::{Over, Term};

const OWN: &[(Role, &str)] = &[
    (Role::QNorm, "self_attn.q_layernorm"),
    (Role::KNorm, "self_attn.k_layernorm"),
    (Role::OProj, "self_attn.dense"),
    (Role::UpProj, "mlp.fc1"),
    (Role::ActFn, "mlp.activation_fn"),
    (Role::DownProj, "mlp.fc2"),
    (Role::FinalNorm, "model.final_layernorm"),
];

const NAMES: Names = Names { layers: "model.layers", paths: &[OWN, PATHS], modules: MODULES };

pub(super) const PHI: Family = Family {
    name: "phi",
    keys: Keys { eps: Some("layer_norm_eps"), ..LLAMA.keys },
    defaults: Defaults {
        vocab_size: 51_200,
        hidden_size: 2048,
        intermediate_size: Some(8192),
        num_hidden_layers: 24,
        eps: 1e-5,
        act: "gelu_new",
        ..LLAMA.defaults
    },
    norm: LAYER_NORM,
    whole_heads: false,
    wiring: WiringRow { parallel: Switch::Always, order: [Term::Attention, Term::Mlp, Term::Stream], ..LLAMA.wiring },
    qkv_bias: Switch::Always,
    o_bias: Switch::Always,
    mlp_bias: Switch::Always,
    head_bias: Switch::Always,
    qk_norm: Some(QkNormRow {
        at: Switch::Key("qk_layernorm"),
        norm: LAYER_NORM,
        over: Over::Head,
        after_rope: false,
        rotated_only: false,
    }),
    rope: Some(RopeRow { share: Some(("partial_rotary_factor", 0.5)), ..RopeRow::HALVES }),
    gated: false,
    names: &NAMES,
    ..LLAMA
};
