//! Rotary position embedding.
//!
//! Su et al., *RoFormer*, arXiv 2104.09864: the channels of a pair are rotated together, by the angle `position · ω_i`. In the
//! half-split form of `apply_rotary_pos_emb` of transformers channel `i` is rotated with channel `i + d/2`.

mod frequencies;

use ndarray::{Array2, Array3, ArrayView3, Axis, Zip};

use super::real::{Real, Rounding};
pub use frequencies::{Frequencies, Yarn};

/// Which channels are rotated together, of the `2n` that are rotated at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pairs {
    /// `(i, i + n)`, as models of Hugging Face have them.
    #[default]
    Halves,
    /// `(2i, 2i + 1)`.
    Adjacent,
}

impl Pairs {
    /// The channels of pair `i` of `n`.
    pub fn channels(self, i: usize, n: usize) -> (usize, usize) {
        match self {
            Self::Halves => (i, i + n),
            Self::Adjacent => (2 * i, 2 * i + 1),
        }
    }
}

/// What is rounded inside a rotation, beside its result, in a run of a coarser format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Inside {
    /// Cosines and sines, and each product: Llama.
    #[default]
    Products,
    /// Cosines and sines: Cohere.
    Table,
    /// Nothing: OLMo.
    Nothing,
}

/// By which angles which channels are rotated.
#[derive(Clone, Debug, PartialEq)]
pub struct Rotation {
    /// Radians per position, one for each pair of channels; channels beyond the pairs stay as they are.
    pub frequencies: Frequencies,
    /// The position of each row.
    pub positions: Vec<f32>,
    /// Which channels form a pair.
    pub pairs: Pairs,
    /// Whether the channels of pair `i` of `n` are written to `(i, i + n)`, wherever they are read.
    pub parted: bool,
    /// What cosines and sines are multiplied by: the attention factor of YaRN and LongRoPE.
    pub factor: f64,
    /// What is rounded inside.
    pub inside: Inside,
    /// The format of angles, if it is a coarser one.
    pub angles: Rounding,
    /// The format of cosines and sines, if it is a coarser one.
    pub table: Rounding,
    /// What each row is multiplied by behind the rotation.
    pub gains: Option<Vec<f32>>,
}

impl Rotation {
    /// Rows at `positions`, as most models have it.
    pub fn new(frequencies: Frequencies, positions: impl IntoIterator<Item = f32>) -> Self {
        Self {
            frequencies,
            positions: positions.into_iter().collect(),
            pairs: Pairs::Halves,
            parted: false,
            factor: 1.0,
            inside: Inside::Products,
            angles: Rounding::None,
            table: Rounding::None,
            gains: None,
        }
    }

    /// Cosines or sines, `[row, pair]`.
    fn table<T: Real>(&self, function: fn(T) -> T, rounding: Rounding) -> Array2<T> {
        // Angles are f32 products, as in transformers: another rounding shows after 100 positions.
        let speeds = self.frequencies.speeds();
        let mut angles =
            Array2::from_shape_fn((self.positions.len(), speeds.len()), |(t, i)| T::of(self.positions[t] * speeds[i]));
        self.angles.round(angles.as_slice_mut().expect("a fresh array is contiguous"));
        // The factor is one of f32, as cosines and sines are.
        let factor = T::of(self.factor as f32);
        let mut table = angles.mapv(|angle| function(angle) * factor);
        let words = table.as_slice_mut().expect("a fresh array is contiguous");
        self.table.round(words);
        if self.inside != Inside::Nothing {
            rounding.round(words);
        }
        table
    }
}

/// Rotates `x` `[head, token, head_dim]`. Cosines and sines, each product and the sum are rounded, as by
/// `apply_rotary_pos_emb`, unless the rotation says otherwise.
pub fn rope<T: Real>(x: ArrayView3<T>, rotation: &Rotation, rounding: Rounding) -> Array3<T> {
    let pairs = rotation.frequencies.speeds().len();
    assert!(x.len_of(Axis(2)) >= 2 * pairs, "a rotation turns no more channels than a head has");
    assert_eq!(x.len_of(Axis(1)), rotation.positions.len(), "every row has a position");
    let products = if rotation.inside == Inside::Products { rounding } else { Rounding::None };
    let (cos, sin) = (rotation.table(T::cos, rounding), rotation.table(T::sin, rounding));
    let gains: Option<Vec<T>> = rotation.gains.as_ref().map(|gains| {
        let mut gains: Vec<T> = gains.iter().map(|gain| T::of(*gain)).collect();
        rounding.round(&mut gains);
        gains
    });
    let mut y = x.as_standard_layout().into_owned();
    Zip::from(y.outer_iter_mut()).par_for_each(|mut y| {
        // Products with cosines, then with sines, of the first channels of all pairs, then of the second.
        let mut terms = vec![T::zero(); 4 * pairs];
        for (t, mut y) in y.outer_iter_mut().enumerate() {
            let y = y.as_slice_mut().expect("a row of a contiguous array");
            for i in 0..pairs {
                let (first, second) = rotation.pairs.channels(i, pairs);
                let (a, b, c, s) = (y[first], y[second], cos[[t, i]], sin[[t, i]]);
                terms[i] = a * c;
                terms[pairs + i] = b * c;
                terms[2 * pairs + i] = -b * s;
                terms[3 * pairs + i] = a * s;
            }
            products.round(&mut terms);
            let (turned, added) = terms.split_at_mut(2 * pairs);
            for (turned, added) in turned.iter_mut().zip(added) {
                *turned += *added;
            }
            rounding.round(turned);
            let written = if rotation.parted { Pairs::Halves } else { rotation.pairs };
            for i in 0..pairs {
                let (first, second) = written.channels(i, pairs);
                (y[first], y[second]) = (turned[i], turned[pairs + i]);
            }
            if let Some(gain) = gains.as_ref().map(|gains| gains[t]) {
                for word in y.iter_mut() {
                    *word *= gain;
                }
                rounding.round(y);
            }
        }
    });
    y
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_turns_each_pair_by_its_own_angle() {
        let x = Array3::from_shape_fn((1, 3, 4), |(_, _, i)| if i < 2 { 1.0f32 } else { 0.0 });
        let y = rope(x.view(), &Rotation::new(Frequencies::new(100.0, 4), [5.0, 6.0, 7.0]), Rounding::None);
        for t in 0..3 {
            for (i, speed) in [1.0f32, 0.1].iter().enumerate() {
                let angle = (5 + t) as f32 * speed;
                assert!((y[[0, t, i]] - angle.cos()).abs() < 1e-6);
                assert!((y[[0, t, i + 2]] - angle.sin()).abs() < 1e-6);
            }
        }
    }
}
