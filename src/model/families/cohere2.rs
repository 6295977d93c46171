//! Command R7B and A: Command R with windows in three of four layers, which alone are rotated. `Cohere2Config` and
//! `modeling_cohere2.py`.

use super::cohere::COHERE;
use super::{Defaults, Family, RopeRow, Rotated, Windows};
use crate::ops::{Inside, Pairs};

pub(super) const COHERE2: Family = Family {
    name: "cohere2",
    defaults: Defaults { rope_theta: 1e4, sliding_window: Some(4096), ..COHERE.defaults },
    qk_norm: None,
    rope: Some(RopeRow { pairs: Pairs::Adjacent, inside: Inside::Table, layers: Rotated::Windowed, ..RopeRow::HALVES }),
    windows: Windows::AllBut { key: Some("sliding_window_pattern"), every: 4 },
    stored: &[],
    ..COHERE
};
