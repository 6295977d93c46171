//! Rotary position embedding.
//!
//! Su et al., *RoFormer*, arXiv 2104.09864, in the half-split form of `apply_rotary_pos_emb` of transformers: channel `i`
//! is rotated with channel `i + d/2`, by the angle `position · ω_i`.

use std::sync::Arc;

use ndarray::{Array2, Array3, ArrayView3, Axis, Zip};

use super::real::{Real, Rounding};

/// The rotation speeds of one head, `d/2` of them, in radians per position.
#[derive(Clone, Debug, PartialEq)]
pub struct Frequencies(Arc<[f32]>);

impl Frequencies {
    /// `ω_i = θ^(-2i/d)`, rounded to f32 where transformers rounds: the exponent, the power, the reciprocal.
    pub fn new(theta: f64, head_dim: usize) -> Self {
        let speeds = (0..head_dim / 2).map(|i| {
            let exponent = (2 * i) as f32 / head_dim as f32;
            1.0 / (theta.powf(f64::from(exponent)) as f32)
        });
        Self(speeds.collect())
    }

    /// Linear position interpolation (Chen et al., arXiv 2306.15595): every speed divided by `factor`.
    #[must_use]
    pub fn linear(self, factor: f32) -> Self {
        Self(self.0.iter().map(|w| w / factor).collect())
    }

    /// Llama 3.1's scaling, `_compute_llama3_parameters` of transformers: slow rotations are divided by `factor`, fast
    /// ones are kept, and those in between are blended. Wavelengths are compared with `original` positions.
    #[must_use]
    pub fn llama3(self, factor: f32, low_factor: f32, high_factor: f32, original: f32) -> Self {
        let scale = |w: f32| {
            let wavelength = 2.0 * std::f32::consts::PI / w;
            if wavelength > original / low_factor {
                w / factor
            } else if wavelength < original / high_factor {
                w
            } else {
                let smooth = (original / wavelength - low_factor) / (high_factor - low_factor);
                (1.0 - smooth) * w / factor + smooth * w
            }
        };
        Self(self.0.iter().copied().map(scale).collect())
    }

    /// The same speeds as another engine may have them: `ω_i` off by up to `i + 1` roundings of f32, in a direction that
    /// `seed` decides. Powers are taken in other ways, or multiplied up one from the other.
    #[must_use]
    pub fn nudged(&self, seed: u64) -> Self {
        let nudge = |(i, w): (usize, &f32)| w * (1.0 + sign(seed, i) * (i + 1) as f32 * (f32::EPSILON / 2.0));
        Self(self.0.iter().enumerate().map(nudge).collect())
    }

    /// Speeds given one by one, fastest first.
    pub fn of_speeds(speeds: impl IntoIterator<Item = f32>) -> Self {
        Self(speeds.into_iter().collect())
    }

    /// The speeds, fastest first.
    pub fn speeds(&self) -> &[f32] {
        &self.0
    }
}

/// +1 or -1, by a bit of `seed`, spread over its bits (the finaliser of SplitMix64).
pub(super) fn sign(seed: u64, index: usize) -> f32 {
    let mut z = seed.wrapping_add((index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    if (z ^ (z >> 31)) & 1 == 0 { 1.0 } else { -1.0 }
}

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

/// By which angles which channels are rotated.
#[derive(Clone, Debug, PartialEq)]
pub struct Rotation {
    /// Radians per position, one for each pair of channels; channels beyond the pairs stay as they are.
    pub frequencies: Frequencies,
    /// The position of each row.
    pub positions: Vec<f32>,
    /// Which channels form a pair.
    pub pairs: Pairs,
    /// The format of angles, if it is a coarser one.
    pub angles: Rounding,
    /// The format of cosines and sines, if it is a coarser one.
    pub table: Rounding,
}

impl Rotation {
    /// Rows at positions from `first` on, as models have it.
    pub fn new(frequencies: Frequencies, first: usize, rows: usize) -> Self {
        let positions = (first..first + rows).map(|position| position as f32).collect();
        Self { frequencies, positions, pairs: Pairs::Halves, angles: Rounding::None, table: Rounding::None }
    }

    /// Cosines or sines, `[row, pair]`.
    fn table<T: Real>(&self, function: fn(T) -> T, rounding: Rounding) -> Array2<T> {
        // Angles are f32 products, as in transformers: another rounding shows after 100 positions.
        let mut angles = Array2::from_shape_fn((self.positions.len(), self.frequencies.0.len()), |(t, i)| {
            T::of(self.positions[t] * self.frequencies.0[i])
        });
        self.angles.round(angles.as_slice_mut().expect("a fresh array is contiguous"));
        let mut table = angles.mapv(function);
        let words = table.as_slice_mut().expect("a fresh array is contiguous");
        self.table.round(words);
        rounding.round(words);
        table
    }
}

/// Rotates `x` `[head, token, head_dim]`. Cosines and sines, each product and the sum are rounded, as by
/// `apply_rotary_pos_emb`.
pub fn rope<T: Real>(x: ArrayView3<T>, rotation: &Rotation, rounding: Rounding) -> Array3<T> {
    let pairs = rotation.frequencies.0.len();
    assert!(x.len_of(Axis(2)) >= 2 * pairs, "a rotation turns no more channels than a head has");
    assert_eq!(x.len_of(Axis(1)), rotation.positions.len(), "every row has a position");
    let (cos, sin) = (rotation.table(T::cos, rounding), rotation.table(T::sin, rounding));
    let mut y = x.as_standard_layout().into_owned();
    Zip::from(y.outer_iter_mut()).par_for_each(|mut y| {
        // Products with cosines, then with sines, of the first channels of all pairs, then of the second.
        let mut products = vec![T::zero(); 4 * pairs];
        for (t, mut y) in y.outer_iter_mut().enumerate() {
            let y = y.as_slice_mut().expect("a row of a contiguous array");
            for i in 0..pairs {
                let (first, second) = rotation.pairs.channels(i, pairs);
                let (a, b, c, s) = (y[first], y[second], cos[[t, i]], sin[[t, i]]);
                products[i] = a * c;
                products[pairs + i] = b * c;
                products[2 * pairs + i] = -b * s;
                products[3 * pairs + i] = a * s;
            }
            rounding.round(&mut products);
            let (turned, added) = products.split_at_mut(2 * pairs);
            for (turned, added) in turned.iter_mut().zip(added) {
                *turned += *added;
            }
            rounding.round(turned);
            for i in 0..pairs {
                let (first, second) = rotation.pairs.channels(i, pairs);
                (y[first], y[second]) = (turned[i], turned[pairs + i]);
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
        let y = rope(x.view(), &Rotation::new(Frequencies::new(100.0, 4), 5, 3), Rounding::None);
        for t in 0..3 {
            for (i, speed) in [1.0f32, 0.1].iter().enumerate() {
                let angle = (5 + t) as f32 * speed;
                assert!((y[[0, t, i]] - angle.cos()).abs() < 1e-6);
                assert!((y[[0, t, i + 2]] - angle.sin()).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn llama3_scaling_has_three_zones() {
        let plain = Frequencies::new(10_000.0, 16);
        let scaled = plain.clone().llama3(4.0, 1.0, 4.0, 32.0);
        let ratio: Vec<f32> = plain.speeds().iter().zip(scaled.speeds()).map(|(a, b)| a / b).collect();
        assert_eq!(ratio[0], 1.0, "wavelength 6.3 is below 32/4");
        assert!(ratio[1] > 1.0 && ratio[1] < 4.0, "wavelength 19.9 lies between: {}", ratio[1]);
        assert!(ratio[2..].iter().all(|r| (r - 4.0).abs() < 1e-6), "wavelengths above 32: {ratio:?}");
    }
}
