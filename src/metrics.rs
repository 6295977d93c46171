//! Numbers about arrays: views in, small plain structs out. No names, no strings, no colours; sums in f64, and a defined
//! answer for empty arrays, NaN and infinities.

pub mod compare;
pub mod squares;
pub mod summary;

pub use compare::{Comparison, compare};
pub use squares::squared_distances;
pub use summary::{Summary, summarise};
