//! Arcee: Llama whose MLP has no gate and squares what relu leaves. `ArceeConfig` and `modeling_arcee.py`.

use super::llama::LLAMA;
use super::{Defaults, Family};

pub(super) const ARCEE: Family = Family {
    name: "arcee",
    defaults: Defaults {
        hidden_size: 2560,
        intermediate_size: Some(18_432),
        max_position_embeddings: 4096,
        eps: 1e-5,
        act: "relu2",
        ..LLAMA.defaults
    },
    gated: false,
    ..LLAMA
};
