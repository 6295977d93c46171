//! OLMo 3: OLMo 2 with windows in three of four layers; the scaling of RoPE is that of the others. `Olmo3Config` and
//! `modeling_olmo3.py`.

use super::olmo::ROPE;
use super::olmo2::OLMO2;
use super::{Defaults, Family, RopeRow, Windows};

pub(super) const OLMO3: Family = Family {
    name: "olmo3",
    defaults: Defaults { rope_theta: 5e5, sliding_window: Some(4096), ..OLMO2.defaults },
    rope: Some(RopeRow { sliding: Some((None, 5e5)), ..ROPE }),
    windows: Windows::AllBut { key: None, every: 4 },
    ..OLMO2
};
