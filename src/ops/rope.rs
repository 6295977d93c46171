//! Rotary position embedding.
//!
//! Su et al., *RoFormer*, arXiv 2104.09864, in the half-split form of `apply_rotary_pos_emb` of transformers: channel `i`
//! is rotated with channel `i + d/2`, by the angle `position · ω_i`.

use ndarray::{Array2, Array3, ArrayView1, ArrayView3, ArrayViewMut1, Axis, Zip, s};

use super::real::{Real, Rounding};

/// The rotation speeds of one head, `d/2` of them, in radians per position.
#[derive(Clone, Debug, PartialEq)]
pub struct Frequencies(Vec<f32>);

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
        Self(self.0.into_iter().map(|w| w / factor).collect())
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
        Self(self.0.into_iter().map(scale).collect())
    }

    /// The same speeds as another engine may have them: `ω_i` off by up to `i + 1` roundings of f32, in a direction that
    /// `seed` decides. Powers are taken in other ways, or multiplied up one from the other.
    #[must_use]
    pub fn nudged(&self, seed: u64) -> Self {
        let nudge = |(i, w): (usize, &f32)| w * (1.0 + sign(seed, i) * (i + 1) as f32 * (f32::EPSILON / 2.0));
        Self(self.0.iter().enumerate().map(nudge).collect())
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

/// Rotates `x` `[head, token, head_dim]`; row `t` stands at position `first + t`. Cosines and sines, each product and the
/// sum are rounded, as by `apply_rotary_pos_emb`.
pub fn rope<T: Real>(x: ArrayView3<T>, first: usize, frequencies: &Frequencies, rounding: Rounding) -> Array3<T> {
    let half = frequencies.0.len();
    assert_eq!(x.len_of(Axis(2)), 2 * half, "head_dim of a rotation");
    let tokens = x.len_of(Axis(1));
    // Angles are f32 products, as in transformers: another rounding shows after 100 positions.
    let table = |function: fn(T) -> T| {
        let angle = |(t, i): (usize, usize)| function(T::of((first + t) as f32 * frequencies.0[i]));
        let mut table = Array2::from_shape_fn((tokens, half), angle);
        rounding.round(table.as_slice_mut().expect("a fresh array is contiguous"));
        table
    };
    let (cos, sin) = (table(T::cos), table(T::sin));
    let mut y = x.as_standard_layout().into_owned();
    Zip::from(y.outer_iter_mut()).and(x.outer_iter()).par_for_each(|mut y, x| {
        let mut turned = vec![T::zero(); half];
        for (t, mut y) in y.outer_iter_mut().enumerate() {
            let (a, b) = (x.slice(s![t, ..half]), x.slice(s![t, half..]));
            let (cos, sin) = (cos.row(t), sin.row(t));
            let (mut ya, mut yb) = y.multi_slice_mut((s![..half], s![half..]));
            let mut rotate = |y: &mut ArrayViewMut1<T>, a: ArrayView1<T>, b: ArrayView1<T>, sign: T| {
                let y = y.as_slice_mut().expect("half of a contiguous row");
                for (((y, turned), (a, b)), (c, s)) in
                    y.iter_mut().zip(&mut turned).zip(a.iter().zip(b)).zip(cos.iter().zip(sin))
                {
                    (*y, *turned) = (*a * *c, sign * *b * *s);
                }
                rounding.round(y);
                rounding.round(&mut turned);
                for (y, turned) in y.iter_mut().zip(&turned) {
                    *y += *turned;
                }
                rounding.round(y);
            };
            rotate(&mut ya, a, b, -T::one());
            rotate(&mut yb, b, a, T::one());
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
        let y = rope(x.view(), 5, &Frequencies::new(100.0, 4), Rounding::None);
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
