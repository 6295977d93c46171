//! Numbers about arrays: views in, small plain structs out. No names, no strings, no colours; sums in f64, and a defined
//! answer for empty arrays, NaN and infinities.

pub mod attention;
pub mod channels;
pub mod compare;
pub mod distribution;
pub mod histogram;
pub mod least;
pub mod norms;
pub mod pool;
pub mod relation;
pub mod squares;
pub mod summary;
pub mod top;

pub use attention::{HeadNumbers, head_numbers, largest_difference};
pub use channels::{Channel, loudest_channels};
pub use compare::{Comparison, compare, relative_error};
pub use distribution::{Softmax, divergence};
pub use histogram::{Histogram, histogram};
pub use least::least;
pub use norms::norms;
pub use pool::{middle_range, pool};
pub use relation::Relation;
pub use squares::squared_distances;
pub use summary::{Summary, summarise};
pub use top::{rank, top};
