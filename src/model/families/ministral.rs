//! Ministral 8B: Mistral in which only the layers that `layer_types` lists have a window. `MinistralConfig` and
//! `modeling_ministral.py`.

use super::mistral::MISTRAL;
use super::{Family, Windows};

pub(super) const MINISTRAL: Family = Family { name: "ministral", windows: Windows::AsListed, ..MISTRAL };
