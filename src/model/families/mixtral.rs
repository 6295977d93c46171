//! Mixtral: Mistral with experts in the place of the MLP; checkpoints have transformers 4's names for them.
//! `MixtralConfig` and `modeling_mixtral.py`.

use super::mistral::MISTRAL;
use super::qwen3_moe::{NAMES, experts};
use super::{Defaults, ExpertsRow, Family, Stored, View};

/// In published files, and as transformers 5 keeps them.
pub(super) const STORED: [Stored; 3] = [
    experts("mlp.experts.gate.weight", &["block_sparse_moe.experts.{}.w1.weight", "mlp.experts.gate_up_proj"], 0, 2),
    experts("mlp.experts.up.weight", &["block_sparse_moe.experts.{}.w3.weight", "mlp.experts.gate_up_proj"], 1, 2),
    experts("mlp.experts.down.weight", &["block_sparse_moe.experts.{}.w2.weight", "mlp.experts.down_proj"], 0, 1),
];

pub(super) const MIXTRAL: Family = Family {
    name: "mixtral",
    defaults: Defaults { eps: 1e-5, rope_theta: 1e6, sliding_window: None, ..MISTRAL.defaults },
    experts: Some(ExpertsRow::ALL_LAYERS),
    names: &NAMES,
    stored: &[
        Stored { of: "mlp.gate.weight", at: &["block_sparse_moe.gate.weight", "mlp.gate.weight"], view: View::Whole },
        STORED[0],
        STORED[1],
        STORED[2],
    ],
    ..MISTRAL
};
