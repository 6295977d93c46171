//! How a run computes: what is rounded, and in which of many legitimate ways.

use ndarray::{ArrayViewD, CowArray, IxDyn};

use crate::model::op::{Facts, Keyed, Product, Sums};
use crate::ops::{Operands, Real, Rounding};

/// What an op does beyond the arithmetic of its number type. The default does nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compute {
    /// Every result is rounded to this format, where eager PyTorch rounds: after each torch op.
    pub rounding: Rounding,
    /// What enters matrix products: of the projections and the head, and of queries with keys and patterns with values.
    pub operands: Operands,
    /// Another order of summation, simulated: operands are moved by so little that the results differ as those of two
    /// correct programs do. The number chooses one of many such draws.
    pub nudge: Option<u64>,
}

impl Compute {
    /// Results rounded to `rounding`.
    pub fn rounded(rounding: Rounding) -> Self {
        Self { rounding, ..Self::default() }
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
            Sums::EveryLastAxis => x.shape()[x.ndim() - 1],
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
        moved.into()
    }
}
