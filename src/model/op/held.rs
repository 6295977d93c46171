//! What slots of the cache hold where it is not what was put there.

use std::sync::Arc;

use crate::ops::{Frequencies, Pairs};

/// Slots of the cache that hold something else than was put there.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// Which.
    pub slots: Slots,
    /// Of one key head only.
    pub head: Option<usize>,
    /// What they hold.
    pub content: Content,
}

/// Slots of the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slots {
    /// Those of some tokens.
    Of(Arc<[usize]>),
    /// That of a token, and all behind it.
    From(usize),
    /// Those of the forwards before.
    Before,
    /// Those of the forwards before, from a token on.
    Since(usize),
    /// All.
    All,
}

/// What a slot holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Zeros.
    Zeros,
    /// What belongs to one token.
    Of(usize),
    /// What belongs to the token so many further on; where there is none, its own.
    Moved(isize),
    /// Keys that are turned once more, as if they stood at `times` their position, plus `by`.
    Turned {
        /// Radians per position.
        frequencies: Frequencies,
        /// Which channels form a pair.
        pairs: Pairs,
        /// How many times their own position: -1 turns them back.
        times: i64,
        /// Positions beside that.
        by: i64,
    },
}
