//! Who is wrong: the walk over the activations in program order, and its verdict.

pub mod judge;
pub mod part;
pub mod precision;
pub mod report;
pub mod walk;

pub use judge::{Judge, Judgement};
pub use part::{Part, Worst, compare_parts};
pub use precision::Precision;
pub use report::{ActivationRow, Culprit, Divergence, Report, Source, Status, Verdict};
pub use walk::{Witnesses, walk};
