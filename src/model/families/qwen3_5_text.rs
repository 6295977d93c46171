//! The text model of Qwen3.5: Qwen3-Next with an MLP in the place of experts, and matrices of their own for what the delta rule
//! reads. `Qwen3_5TextConfig` and `modeling_qwen3_5.py`.

use super::llama::PATHS;
use super::qwen3_next::{DELTA, DELTA_STORED, MIXER, MODULES, QWEN3_NEXT};
use super::{Defaults, Family, MixerKind, MixerRow, RopeRow};
use crate::model::role::{Names, Role};

pub(super) const OWN: &[(Role, &str)] = &[
    (Role::ConvIn, "linear_attn.in_proj_qkv"),
    (Role::StateZ, "linear_attn.in_proj_z"),
    (Role::StateB, "linear_attn.in_proj_b"),
    (Role::StateA, "linear_attn.in_proj_a"),
];

const NAMES: Names = Names { layers: "model.layers", paths: &[OWN, DELTA, PATHS], modules: MODULES };

pub(super) const QWEN3_5_TEXT: Family = Family {
    name: "qwen3_5_text",
    defaults: Defaults {
        vocab_size: 248_320,
        hidden_size: 4096,
        intermediate_size: Some(12_288),
        num_hidden_layers: 32,
        num_attention_heads: 16,
        num_key_value_heads: Some(4),
        ..QWEN3_NEXT.defaults
    },
    rope: Some(RopeRow { share: Some(("partial_rotary_factor", 0.25)), sections: true, ..RopeRow::HALVES }),
    mixer: Some(MixerRow { kind: MixerKind::Delta { woven: false }, ..MIXER }),
    experts: None,
    names: &NAMES,
    stored: &DELTA_STORED,
    ..QWEN3_NEXT
};
