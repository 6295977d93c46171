//! How queries and keys are scored.

use std::sync::Arc;

use super::{Held, Places};
use crate::ops::{self, Rounding};

/// How scores are computed, beside the queries and keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Scoring {
    /// The factor of products.
    pub scale: f64,
    /// They pass through `c tanh(s / c)` after that.
    pub cap: Option<f64>,
    /// How many positions a query sees, itself counted; `None` sees all.
    pub window: Option<usize>,
    /// Chunks of so many positions: a query sees the keys of its own; `None`: there are none.
    pub chunk: Option<usize>,
    /// Keys further ahead than this many positions are hidden: 0 in models; `None` hides none.
    pub ahead: Option<isize>,
    /// Where the mask takes queries to stand.
    pub places: Places,
    /// Keys behind the first so many are hidden.
    pub length: Option<usize>,
    /// For each query head, what is added for each position of a key: `ALiBi`; none where nothing is.
    pub slopes: Option<Arc<[f32]>>,
    /// For each query head, the key head that it reads.
    pub groups: Arc<[usize]>,
    /// The format of scores, if it is a coarser one.
    pub format: Rounding,
    /// Slots of the cache that hold something else.
    pub held: Vec<Held>,
}

impl Scoring {
    /// What a query sees in a forward whose first token stands at `first`.
    pub fn mask(&self, first: usize) -> ops::Mask {
        let by = self.places.of(first, first) - i64::try_from(first).unwrap_or_default();
        let by = isize::try_from(by).unwrap_or_default();
        ops::Mask {
            first,
            window: self.window.map(|window| window.saturating_add_signed(-by)),
            ahead: self.ahead.map(|ahead| ahead + by),
            length: self.length,
            chunk: self.chunk,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_stands_where_its_queries_are_taken_to_stand() {
        let scoring = Scoring {
            scale: 1.0,
            cap: None,
            window: None,
            chunk: None,
            ahead: Some(0),
            places: Places::Own,
            length: None,
            slopes: None,
            groups: [0].into(),
            format: Rounding::None,
            held: Vec::new(),
        };
        let seen = |scoring: &Scoring| [0, 1].map(|query| scoring.mask(4).seen(query, 6));
        assert_eq!(seen(&scoring), [0..5, 0..6]);
        assert_eq!(seen(&Scoring { places: Places::Restarted, ..scoring.clone() }), [0..1, 0..2]);
        assert_eq!(seen(&Scoring { places: Places::Shifted(-1), ..scoring.clone() }), [0..4, 0..5]);
        assert_eq!(seen(&Scoring { length: Some(3), ..scoring.clone() }), [0..3, 0..3]);
        let windowed = Scoring { window: Some(2), places: Places::Shifted(-1), ..scoring };
        assert_eq!(seen(&windowed), [2..4, 3..5]);
    }
}
