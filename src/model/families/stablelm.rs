//! StableLM 2: `LayerNorm` with bias, a quarter of each head rotated, the norm of each head of q and k with a weight of its own;
//! or attention and MLP side by side behind one norm. `StableLmConfig` and `modeling_stablelm.py`.

use super::gpt2::LAYER_NORM;
use super::llama::{LLAMA, MODULES, PATHS};
use super::{Defaults, Family, Keys, NormRow, QkNormRow, RopeRow, Stored, Switch, View, WiringRow};
use crate::model::role::{Names, Role};
use crate::model::spec::Over;

const OWN: &[(Role, &str)] = &[(Role::QNorm, "self_attn.q_layernorm"), (Role::KNorm, "self_attn.k_layernorm")];

const NAMES: Names = Names { layers: "model.layers", paths: &[OWN, PATHS], modules: MODULES };

const fn of_heads(of: &'static str, at: &'static [&'static str]) -> Stored {
    Stored { of, at, view: View::Joined }
}

pub(super) const STABLELM: Family = Family {
    name: "stablelm",
    keys: Keys { head_dim: None, eps: Some("layer_norm_eps"), ..LLAMA.keys },
    defaults: Defaults {
        vocab_size: 50_304,
        hidden_size: 2560,
        intermediate_size: Some(6912),
        num_key_value_heads: Some(32),
        max_position_embeddings: 4096,
        eps: 1e-5,
        ..LLAMA.defaults
    },
    norm: LAYER_NORM,
    wiring: WiringRow { parallel: Switch::Key("use_parallel_residual"), ..LLAMA.wiring },
    qkv_bias: Switch::Key("use_qkv_bias"),
    o_bias: Switch::Never,
    mlp_bias: Switch::Never,
    qk_norm: Some(QkNormRow {
        at: Switch::Key("qk_layernorm"),
        norm: NormRow { bias: false, ..LAYER_NORM },
        over: Over::OwnHead,
        after_rope: false,
        rotated_only: false,
    }),
    rope: Some(RopeRow { share: Some(("partial_rotary_factor", 0.25)), ..RopeRow::HALVES }),
    names: &NAMES,
    stored: &[
        of_heads("self_attn.q_layernorm.weight", &["self_attn.q_layernorm.norms.{}.weight"]),
        of_heads("self_attn.k_layernorm.weight", &["self_attn.k_layernorm.norms.{}.weight"]),
    ],
    ..LLAMA
};
