//! GLM-4 of 2025: GLM with norms behind attention and MLP as well. `Glm4Config` and `modeling_glm4.py`.

use super::Family;
use super::glm::{GLM, OWN as OF_GLM};
use super::llama::{MODULES, PATHS};
use crate::model::role::{Names, Role};

const OWN: &[(Role, &str)] =
    &[(Role::AttnOutNorm, "post_self_attn_layernorm"), (Role::MlpOutNorm, "post_mlp_layernorm")];

const NAMES: Names = Names { layers: "model.layers", paths: &[OWN, OF_GLM, PATHS], modules: MODULES };

pub(super) const GLM4: Family = Family { name: "glm4", around: (true, true), names: &NAMES, ..GLM };
