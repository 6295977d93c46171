//! Command R: `LayerNorm` without bias, attention and MLP side by side behind one norm, RoPE of neighbouring channels, a
//! factor of the logits, a tied head. `CohereConfig` and `modeling_cohere.py`.

use super::gpt2::LAYER_NORM;
use super::llama::{LLAMA, MODULES, PATHS};
use super::{Defaults, Family, Keys, LogitFactor, NormRow, QkNormRow, RopeRow, Stored, Switch, View, WiringRow};
use crate::model::role::Names;
use crate::model::spec::Over;
use crate::ops::{Inside, Pairs};

const NAMES: Names = Names { layers: "model.layers", paths: &[PATHS], modules: MODULES };

const NORM: NormRow = NormRow { bias: false, ..LAYER_NORM };

pub(super) const COHERE: Family = Family {
    name: "cohere",
    keys: Keys { eps: Some("layer_norm_eps"), ..LLAMA.keys },
    defaults: Defaults {
        vocab_size: 256_000,
        hidden_size: 8192,
        intermediate_size: Some(22_528),
        num_hidden_layers: 40,
        num_attention_heads: 64,
        max_position_embeddings: 8192,
        eps: 1e-5,
        rope_theta: 5e5,
        tie_word_embeddings: true,
        ..LLAMA.defaults
    },
    norm: NORM,
    whole_heads: false,
    wiring: WiringRow { parallel: Switch::Always, ..LLAMA.wiring },
    mlp_bias: Switch::Never,
    qk_norm: Some(QkNormRow {
        at: Switch::Key("use_qk_norm"),
        norm: NORM,
        over: Over::OwnHead,
        after_rope: false,
        rotated_only: false,
    }),
    rope: Some(RopeRow { pairs: Pairs::Adjacent, inside: Inside::Table, ..RopeRow::HALVES }),
    logit_factor: Some(LogitFactor { key: "logit_scale", default: 0.0625, divides: false }),
    names: &NAMES,
    stored: &[
        Stored { of: "self_attn.q_norm.weight", at: &["self_attn.q_norm.weight"], view: View::Flat },
        Stored { of: "self_attn.k_norm.weight", at: &["self_attn.k_norm.weight"], view: View::Flat },
    ],
    ..LLAMA
};
