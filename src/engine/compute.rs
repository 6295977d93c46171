//! How a run computes: what is rounded, and in which of many legitimate ways.

use ndarray::{ArrayD, ArrayViewD, Axis, CowArray, IxDyn};

use crate::model::op::{Facts, Keyed, Product, Sums};
use crate::ops::{Operands, Real, Rounding};

/// What an op does beyond the arithmetic of its number type. The default does nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compute {
    /// Every result is rounded to this format, where eager PyTorch rounds: after each torch op.
    pub rounding: Rounding,
    /// The format that the model was loaded in: what an op computes in f32 nevertheless, it computes with such weights.
    pub loaded: Rounding,
    /// What enters matrix products: of the projections and the head, and of queries with keys and patterns with values.
    pub operands: Operands,
    /// Another order of summation, simulated: operands are moved by so little that the results differ as those of two
    /// correct programs do. The number chooses one of many such draws.
    pub nudge: Option<u64>,
}

impl Compute {
    /// A model loaded in this format, and results rounded to it.
    pub fn rounded(rounding: Rounding) -> Self {
        Self { rounding, loaded: rounding, ..Self::default() }
    }

    /// What weights are rounded to: where results have fewer bits than the model was loaded in, so have they.
    pub(super) fn of_weights(self) -> Rounding {
        if self.rounding == Rounding::None { self.loaded } else { self.rounding }
    }

    /// Whether operands of an op with these facts are not taken as they are.
    pub(super) fn moves(self, facts: Facts) -> bool {
        let is_rounded = matches!(facts.product, Product::Activations | Product::No);
        self.nudge.is_some() || (self.operands != Operands::Exact && is_rounded)
    }

    /// The operand `x` of an op with these facts, moved if the computation is nudged; `salt` tells ops apart.
    ///
    /// Adding up `n` products one after the other in f32 has a random error of about `u sqrt(n/6) |x w|`, with
    /// `u = 2⁻²⁴` and `|x w|` the root of the sum of their squares; moving each `x` by `u sqrt(n/2)`, up or down, has the
    /// same effect at the cost of one product. `n` is the number of terms of a sum: 1 where nothing is summed.
    pub(super) fn operand<T: Real>(
        self,
        facts: Facts,
        salt: u64,
        index: usize,
        x: ArrayViewD<'_, T>,
    ) -> CowArray<'_, T, IxDyn> {
        let x = match facts.product {
            // Fused attention never has the probabilities: they are not rounded.
            Product::Activations if self.operands == Operands::F16Sums && index == 0 && facts.keyed == Keyed::No => {
                x.into()
            }
            // The rows of a product with weights are rounded there.
            Product::Weights | Product::ExpertWeights => x.into(),
            Product::Activations | Product::No => self.operands.enter(index, x),
        };
        let Some(seed) = self.nudge else { return x };
        let terms = match facts.sums {
            Sums::LastAxis if index == 0 => x.shape()[x.ndim() - 1],
            Sums::State { .. } => x.shape()[x.ndim() - 1],
            Sums::Elements if index == 0 => 1,
            _ => return x,
        };
        let size = f64::from(f32::EPSILON / 2.0) * (terms as f64 / 2.0).sqrt().max(1.0);
        let (up, down) = (T::from_f64(1.0 + size), T::from_f64(1.0 - size));
        let mut state = seed ^ (salt << 32) ^ 0x9e37_79b9_7f4a_7c15;
        let mut moved = x.into_owned();
        for word in &mut moved {
            // Marsaglia's xorshift: one random bit per word is all that is needed.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *word *= if state & 1 == 0 { up } else { down };
        }
        if let Sums::State { decays, chunk } = facts.sums
            && index == decays
        {
            round_sums(&mut moved, chunk, state);
        }
        moved.into()
    }
}

/// Numbers along the first axis as differences of their sums over at most `chunk` of them, which are rounded. Each sum is moved
/// by up to a unit in its last place, which the multiples of the golden ratio choose: no two that are near are moved alike.
fn round_sums<T: Real>(numbers: &mut ArrayD<T>, chunk: usize, seed: u64) {
    const GOLDEN: f64 = 0.618_033_988_749_895;
    for (lane, mut numbers) in numbers.lanes_mut(Axis(0)).into_iter().enumerate() {
        let own: Vec<f64> = numbers.iter().map(|number| number.wide()).collect();
        let first = (seed.rotate_left(lane as u32) % 1024) as f64 / 1024.0;
        let (mut sum, mut before) = (0.0, 0.0);
        for (at, number) in numbers.iter_mut().enumerate() {
            sum += own[at] - at.checked_sub(chunk).map_or(0.0, |left| own[left]);
            let moved = f64::from(f32::EPSILON) * sum * (2.0 * (first + GOLDEN * at as f64).fract() - 1.0);
            *number = T::from_f64(own[at] + moved - before);
            before = moved;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::op::OneSign;

    #[test]
    fn sums_over_a_chunk_are_rounded() {
        let sums = Sums::State { decays: 3, chunk: 64 };
        let facts =
            Facts { product: Product::Activations, sums, one_sign: OneSign::No, keyed: Keyed::No, discrete: false };
        let decays = ArrayD::from_elem(IxDyn(&[200, 2, 1]), -8.0f64);
        let compute = Compute { nudge: Some(1), ..Compute::default() };
        let moved = |index: usize| (&compute.operand(facts, 7, index, decays.view()) - &decays).mapv(f64::abs);
        // The last of 64 of them is the difference of two sums near -512.
        let (at, rounding) = (moved(3), f64::from(f32::EPSILON) * 512.0);
        assert!((at[[150, 1, 0]] / rounding - 1.0).abs() < 0.3, "{}", at[[150, 1, 0]]);
        assert!(at[[0, 0, 0]] < rounding / 32.0 && moved(2)[[150, 1, 0]] < rounding / 32.0);
        let all: f64 = (&compute.operand(facts, 7, 3, decays.view()) - &decays).sum();
        assert!(all.abs() < 10.0 * rounding, "what is added to one is taken off the next: {all}");
    }
}
