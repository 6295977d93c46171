//! Who is wrong: every dump is followed on its own inputs, and what they do not explain is named.

pub mod arithmetic;
pub mod blind_spots;
pub mod coarse;
pub mod conclude;
mod confirm;
mod curve;
pub mod emulate;
pub mod equivalent;
pub mod finding;
pub mod forced;
pub mod fork;
pub mod gap;
pub mod health;
pub mod label;
pub mod massive;
pub mod noise;
pub mod part;
pub mod precision;
mod relabel;
pub mod report;
pub mod span;
pub mod suspects;
pub mod tie;
pub mod trail;
pub mod walk;
pub mod without_model;
pub mod witnesses;

pub use blind_spots::{Coverage, blind_spots};
pub use finding::{Finding, Kind};
pub use health::health;
pub use part::{Part, Worst, compare_parts};
pub use precision::Precision;
pub use report::{ActivationRow, BlindSpot, Culprit, Divergence, Local, Report, Source, Status, Verdict};
pub use walk::{Walk, walk};
pub use without_model::without_model;
pub use witnesses::Witnesses;
