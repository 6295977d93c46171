//! What was computed in more bits than it was stored in: the values that an op really had lie somewhere within half a unit
//! in the last place of those in the dump.
//!
//! An engine that computes in f32 and saves f16, or keeps a value in registers from one op to the next, gives results that
//! its own dump does not explain to the last bit. How far they are off follows from the op: little for a sum of many
//! products, much where terms cancel or a softmax is steep. It is measured by moving the inputs, at random and each on its
//! own, within what storing has taken from them.

use std::collections::BTreeMap;

use ndarray::{ArrayD, ArrayViewD};

use super::part::Part;
use super::precision::Precision;
use crate::engine::{Keyed, Node, Product, Read, Site, Value};
use crate::model::op::{Facts, Sums};
use crate::ops::Real;

/// In which precision a dump has its activations.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// In this forward, or where it is not dumped, the last that has it; f32 is left out.
    now: BTreeMap<Site, Precision>,
    /// The coarsest of the forwards before: what a cache keeps is of all of them.
    past: BTreeMap<Site, Precision>,
    /// Whether sums and products of two stored numbers are what the dump has, to the last bit: then its engine went on with
    /// what it stored. `None` until one is seen.
    goes_on: Option<bool>,
}

impl Stored {
    /// The dump has `site` in `precision`.
    pub fn tell(&mut self, site: Site, precision: Precision) {
        match precision {
            Precision::F32 => drop(self.now.remove(&site)),
            narrow => drop(self.now.insert(site, narrow)),
        }
    }

    /// Begins a decode step.
    pub fn begin_forward(&mut self) {
        for (site, narrow) in &self.now {
            let past = self.past.entry(*site).or_insert(*narrow);
            *past = (*past).max(*narrow);
        }
    }

    /// Takes notice of `part`, what the dump has where our own engine gives `ours` in the precision of that: `node` reads
    /// nothing else. One that stores what it does not go on with is off by a bit in a third of all sums.
    pub fn weigh(&mut self, node: &Node, part: &Part, ours: &Value<f32>) {
        const ENOUGH: usize = 64;
        const EQUAL: f64 = 0.98;
        let facts = node.op.facts();
        let one_rounding = node.reads.len() == 2 && facts.sums == Sums::Nothing && facts.product == Product::No;
        let narrow = node.reads.iter().all(|read| self.narrow(*read).is_some());
        if !one_rounding || !narrow || part.values.shape() != ours.shape() || ours.len() < ENOUGH {
            return;
        }
        let equal = part.values.iter().zip(ours).filter(|(dumped, ours)| dumped == ours).count();
        let goes_on = equal as f64 >= EQUAL * ours.len() as f64;
        self.goes_on = Some(goes_on && self.goes_on != Some(false));
    }

    /// Whether what an op with these facts read may have had more bits. Fused attention has more bits of what it reads even
    /// where the rest of an engine has not.
    pub fn is_in_doubt(&self, facts: Facts) -> bool {
        self.goes_on != Some(true) || facts.product == Product::Activations || facts.keyed != Keyed::No
    }

    /// In which precision it is.
    pub fn of(&self, site: Site) -> Precision {
        self.now.get(&site).copied().unwrap_or(Precision::F32)
    }

    /// In which precision that has fewer bits than f32 some of what an op reads is.
    pub fn narrow(&self, read: Read) -> Option<Precision> {
        let now = self.now.get(&read.site());
        let past = self.past.get(&read.site()).filter(|_| matches!(read, Read::Past(_)));
        now.into_iter().chain(past).max().copied()
    }

    /// Whether nothing was stored in fewer bits.
    pub fn is_empty(&self) -> bool {
        self.now.is_empty() && self.past.is_empty()
    }
}

/// Draws over which the squared effect is averaged: one alone may be small by chance where a few inputs decide.
pub(super) const DRAWS: usize = 8;

/// Marsaglia's xorshift.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    /// Another sequence for every `seed`.
    pub(super) fn new(seed: u64) -> Self {
        Self((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// From -1 to 1.
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / f64::powi(2.0, 52) - 1.0
    }
}

/// Values that round to `stored`, which is in `precision`.
pub(super) fn unrounded<T: Real>(stored: ArrayViewD<T>, precision: Precision, random: &mut Random) -> ArrayD<T> {
    stored.mapv(|stored| {
        let value = stored.wide();
        if value == 0.0 || !value.is_finite() {
            return stored;
        }
        let power = f64::powi(2.0, value.abs().log2().floor() as i32);
        let half_unit = (precision.unit() * power).max(precision.least_half_unit());
        let moved = half_unit * random.next();
        // Below a power of two, numbers lie twice as close.
        let is_closer = value.abs() == power && moved * value < 0.0 && half_unit > precision.least_half_unit();
        T::from_f64(value + if is_closer { moved / 2.0 } else { moved })
    })
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};
    use ndarray::Array;

    use super::*;

    #[test]
    fn an_unrounded_value_rounds_to_the_stored_one() {
        for precision in [Precision::F16, Precision::Bf16] {
            let round = |v: f32| match precision {
                Precision::F16 => f16::from_f32(v).to_f32(),
                _ => bf16::from_f32(v).to_f32(),
            };
            // A power of two has a nearer neighbour below it: its values reach down half as far.
            let stored = Array::from_shape_fn(500, |i| round((i as f32 - 250.3) * 0.0173)).into_dyn();
            let moved = unrounded(stored.view(), precision, &mut Random::new(7));
            let changed = stored.iter().zip(&moved).filter(|(a, b)| a != b).count();
            assert!(changed > 490, "{changed} of 500 moved");
            for (stored, moved) in stored.iter().zip(&moved) {
                assert!(round(*moved) == *stored, "{moved} rounds to {}, not {stored}", round(*moved));
            }
        }
    }
}
