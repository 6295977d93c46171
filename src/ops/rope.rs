//! Rotary position embedding.
//!
//! Su et al., *RoFormer*, arXiv 2104.09864, in the half-split form of `apply_rotary_pos_emb` of transformers: channel `i`
//! is rotated with channel `i + d/2`, by the angle `position · ω_i`.

use ndarray::{Array3, ArrayView3, Axis, Zip, s};

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

    /// The speeds, fastest first.
    pub fn speeds(&self) -> &[f32] {
        &self.0
    }
}

/// Rotates `x` `[head, token, head_dim]`; row `t` stands at position `first + t`.
pub fn rope(x: ArrayView3<f32>, first: usize, frequencies: &Frequencies) -> Array3<f32> {
    let half = frequencies.0.len();
    assert_eq!(x.len_of(Axis(2)), 2 * half, "head_dim of a rotation");
    let tokens = x.len_of(Axis(1));
    // Angles are f32 products and their cosines f32, as in transformers: another rounding shows after 100 positions.
    let angle = |t: usize, i: usize| (first + t) as f32 * frequencies.0[i];
    let cos = ndarray::Array2::from_shape_fn((tokens, half), |(t, i)| angle(t, i).cos());
    let sin = ndarray::Array2::from_shape_fn((tokens, half), |(t, i)| angle(t, i).sin());
    let mut y = x.as_standard_layout().into_owned();
    Zip::from(y.outer_iter_mut()).and(x.outer_iter()).par_for_each(|mut y, x| {
        let (a, b) = (x.slice(s![.., ..half]), x.slice(s![.., half..]));
        let (mut ya, mut yb) = y.multi_slice_mut((s![.., ..half], s![.., half..]));
        Zip::from(&mut ya).and(&a).and(&b).and(&cos).and(&sin).for_each(|y, a, b, c, s| *y = a * c - b * s);
        Zip::from(&mut yb).and(&a).and(&b).and(&cos).and(&sin).for_each(|y, a, b, c, s| *y = b * c + a * s);
    });
    y
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_turns_each_pair_by_its_own_angle() {
        let x = Array3::from_shape_fn((1, 3, 4), |(_, _, i)| if i < 2 { 1.0 } else { 0.0 });
        let y = rope(x.view(), 5, &Frequencies::new(100.0, 4));
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
