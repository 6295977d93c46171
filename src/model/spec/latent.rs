//! Multi-head latent attention: keys and values of all heads out of one narrow row. DeepSeek-AI, arXiv 2405.04434, 2.1.

use super::Norm;

/// How queries, keys and values are made of narrow rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Latent {
    /// Width of the row that queries are made of; `None`: they are made of the stream.
    pub query: Option<usize>,
    /// Width of the row that keys and values are made of.
    pub width: usize,
    /// Channels of a query and of a key that are not rotated.
    pub own: usize,
    /// Channels behind those, which are rotated; all keys have the same there.
    pub turned: usize,
    /// Channels of a value.
    pub value: usize,
    /// The norm of the narrow rows.
    pub norm: Norm,
}
