//! GLM-4 of 2024: gate and up out of one matrix, biases on q, k and v, neighbouring channels of half of each head rotated.
//! `GlmConfig` and `modeling_glm.py`.

use super::llama::{LLAMA, MODULES, PATHS};
use super::{Defaults, Family, GateUp, RopeRow, Switch};
use crate::model::role::{Names, Role};
use crate::ops::Pairs;

pub(super) const OWN: &[(Role, &str)] = &[(Role::GateUpProj, "mlp.gate_up_proj"), (Role::ActFn, "mlp.activation_fn")];

const NAMES: Names = Names { layers: "model.layers", paths: &[OWN, PATHS], modules: MODULES };

pub(super) const GLM: Family = Family {
    name: "glm",
    defaults: Defaults {
        vocab_size: 151_552,
        intermediate_size: Some(13_696),
        num_hidden_layers: 40,
        num_key_value_heads: Some(2),
        head_dim: Some(128),
        max_position_embeddings: 131_072,
        eps: 1.5625e-7,
        ..LLAMA.defaults
    },
    whole_heads: false,
    qkv_bias: Switch::Unless("attention_bias"),
    o_bias: Switch::Never,
    mlp_bias: Switch::Never,
    rope: Some(RopeRow { pairs: Pairs::Adjacent, share: Some(("partial_rotary_factor", 0.5)), ..RopeRow::HALVES }),
    fused_mlp: GateUp::Halves,
    names: &NAMES,
    ..LLAMA
};
