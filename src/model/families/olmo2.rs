//! OLMo 2: norms behind attention and MLP instead of before them, and on all heads of q, and of k, together.
//! `Olmo2Config` and `modeling_olmo2.py`.

use super::llama::{LLAMA, MODULES, PATHS};
use super::olmo::OLMO;
use super::{Defaults, Family, NormRow, QkNormRow, Switch};
use crate::model::role::{Names, Role};
use crate::model::spec::Over;

const OWN: &[(Role, &str)] =
    &[(Role::AttnOutNorm, "post_attention_layernorm"), (Role::MlpOutNorm, "post_feedforward_layernorm")];

pub(super) const NAMES: Names = Names { layers: "model.layers", paths: &[OWN, PATHS], modules: MODULES };

const NORM: NormRow = NormRow { rounded_once: true, ..LLAMA.norm };

pub(super) const OLMO2: Family = Family {
    name: "olmo2",
    keys: LLAMA.keys,
    defaults: Defaults { eps: 1e-5, ..OLMO.defaults },
    norm: NORM,
    around: (false, true),
    clip: None,
    qk_norm: Some(QkNormRow {
        at: Switch::Always,
        norm: NORM,
        over: Over::Row,
        after_rope: false,
        rotated_only: false,
    }),
    names: &NAMES,
    ..OLMO
};
