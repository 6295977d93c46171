//! StarCoder2: `LayerNorm` with bias, an MLP without a gate, biases everywhere, a tied head. `Starcoder2Config` and
//! `modeling_starcoder2.py`.

use super::gpt2::LAYER_NORM;
use super::llama::{LLAMA, MODULES, PATHS};
use super::{Defaults, Family, Keys, Switch, Windows};
use crate::model::role::{Names, Role};

const OWN: &[(Role, &str)] = &[(Role::UpProj, "mlp.c_fc"), (Role::ActFn, "mlp.act"), (Role::DownProj, "mlp.c_proj")];

const NAMES: Names = Names { layers: "model.layers", paths: &[OWN, PATHS], modules: MODULES };

pub(super) const STARCODER2: Family = Family {
    name: "starcoder2",
    keys: Keys { eps: Some("norm_epsilon"), ..LLAMA.keys },
    defaults: Defaults {
        vocab_size: 49_152,
        hidden_size: 3072,
        intermediate_size: Some(12_288),
        num_hidden_layers: 30,
        num_attention_heads: 24,
        num_key_value_heads: Some(2),
        max_position_embeddings: 4096,
        eps: 1e-5,
        act: "gelu_pytorch_tanh",
        tie_word_embeddings: true,
        ..LLAMA.defaults
    },
    norm: LAYER_NORM,
    whole_heads: false,
    qkv_bias: Switch::Unless("use_bias"),
    o_bias: Switch::Unless("use_bias"),
    mlp_bias: Switch::Unless("use_bias"),
    windows: Windows::All,
    gated: false,
    names: &NAMES,
    ..LLAMA
};
