//! A rotation of heads: by which speeds and pairs, and where each row is taken to stand.

use crate::model::spec::Rope;
use crate::ops::{Frequencies, Pairs, Rounding};

/// By which angles each head is rotated.
#[derive(Clone, Debug, PartialEq)]
pub struct Rotate {
    /// Where the speeds come from.
    pub rope: Rope,
    /// Radians per position, one for each pair of channels; channels beyond the pairs stay as they are. `None`: those of
    /// `rope` for the length of the sequence.
    pub frequencies: Option<Frequencies>,
    /// What cosines and sines are multiplied by.
    pub factor: f64,
    /// Width of one head.
    pub head_dim: usize,
    /// Which channels form a pair.
    pub pairs: Pairs,
    /// Which position a row stands at.
    pub places: Places,
    /// The format of angles, if it is a coarser one.
    pub angles: Rounding,
    /// The format of cosines and sines, if it is a coarser one.
    pub table: Rounding,
}

impl Rotate {
    /// As a model rotates heads of this width.
    pub fn new(rope: &Rope, head_dim: usize) -> Self {
        Self {
            rope: rope.clone(),
            frequencies: rope.scaling.limit().is_none().then(|| rope.frequencies(0)),
            factor: rope.factor,
            head_dim,
            pairs: rope.pairs,
            places: Places::Own,
            angles: Rounding::None,
            table: Rounding::None,
        }
    }

    /// The speeds in a forward after which the sequence has `length` tokens.
    pub fn frequencies(&self, length: usize) -> Frequencies {
        self.frequencies.clone().unwrap_or_else(|| self.rope.frequencies(length))
    }
}

/// Which position a row is taken to stand at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Places {
    /// Its own, as models have it.
    Own,
    /// All are shifted by so much.
    Shifted(i64),
    /// From a position on, they go on from another one.
    From {
        /// The first that is wrong.
        at: usize,
        /// What it is taken for.
        to: i64,
    },
    /// From a position on, all are taken for one.
    Stuck {
        /// The first that is wrong.
        at: usize,
        /// What all are taken for.
        to: i64,
    },
    /// Every forward starts at position 0 again.
    Restarted,
}

impl Places {
    /// What position `own` is taken for in a forward whose first token stands at `first`.
    pub fn of(self, own: usize, first: usize) -> i64 {
        let [own, first] = [own, first].map(|place| i64::try_from(place).expect("positions are limited at the door"));
        let from = |at: usize| own >= i64::try_from(at).unwrap_or(i64::MAX);
        match self {
            Self::Shifted(by) => own + by,
            Self::From { at, to } if from(at) => own - i64::try_from(at).unwrap_or_default() + to,
            Self::Stuck { at, to } if from(at) => to,
            Self::Restarted => own - first,
            _ => own,
        }
    }
}
