//! How fast each pair of channels turns: the plain speeds, and the ways in which they are changed for longer sequences.
//!
//! Formulas are those of `modeling_rope_utils.py` of transformers, rounded to f32 where it rounds.

use std::f64::consts::TAU;
use std::sync::Arc;

/// The rotation speeds of one head, one for each pair of channels that is turned, in radians per position.
#[derive(Clone, Debug, PartialEq)]
pub struct Frequencies(Arc<[f32]>);

impl Frequencies {
    /// `ω_i = θ^(-2i/d)`, with `d` the channels that are turned.
    pub fn new(theta: f64, dims: usize) -> Self {
        Self(powers(theta, dims).map(|power| 1.0 / power).collect())
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

    /// YaRN (Peng et al., arXiv 2309.00071), `_compute_yarn_parameters`: pairs that turn often within the original context keep
    /// their speed, those that turn seldom are divided by the factor, and a ramp over the pairs lies between.
    pub fn yarn(theta: f64, dims: usize, how: &Yarn) -> Self {
        let (low, high) = how.ramp(theta, dims);
        let (low, width) = (low as f32, (if low == high { 0.001 } else { high - low }) as f32);
        let factor = how.factor as f32;
        let scale = |(i, power): (usize, f32)| {
            let kept = 1.0 - ((i as f32 - low) / width).clamp(0.0, 1.0);
            1.0 / (factor * power) * (1.0 - kept) + 1.0 / power * kept
        };
        Self(powers(theta, dims).enumerate().map(scale).collect())
    }

    /// LongRoPE (Ding et al., arXiv 2402.13753), `_compute_longrope_parameters`: each speed divided by a number of its own.
    pub fn divided(theta: f64, dims: usize, by: &[f32]) -> Self {
        Self(powers(theta, dims).zip(by).map(|(power, by)| 1.0 / (by * power)).collect())
    }

    /// Dynamic NTK scaling, `_compute_dynamic_ntk_parameters`: the base grows with the `length` of the sequence once that is
    /// more than `positions`. Every step is one of f32, as the length is a tensor there.
    pub fn dynamic(theta: f64, dims: usize, factor: f64, positions: usize, length: usize) -> Self {
        if length <= positions {
            return Self::new(theta, dims);
        }
        let stretch = factor as f32 * length as f32 / positions as f32 - (factor - 1.0) as f32;
        let base = theta as f32 * stretch.powf((dims as f64 / (dims as f64 - 2.0)) as f32);
        Self(exponents(dims).map(|exponent| 1.0 / base.powf(exponent)).collect())
    }

    /// `_compute_proportional_parameters`: the first `turned` pairs have the speeds that they have in a whole head, divided
    /// by `factor`, and the others stand still.
    pub fn proportional(theta: f64, dims: usize, turned: usize, factor: f32) -> Self {
        let speed = |(i, power): (usize, f32)| if i < turned { 1.0 / power / factor } else { 0.0 };
        Self(powers(theta, dims).enumerate().map(speed).collect())
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

/// How YaRN changes speeds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Yarn {
    /// By how much slow speeds are divided.
    pub factor: f64,
    /// Pairs that turn at least so many times within the original context keep their speed: `beta_fast`.
    pub fast: f64,
    /// Pairs that turn at most so many times are divided: `beta_slow`.
    pub slow: f64,
    /// Positions of the original context.
    pub original: f64,
    /// Whether the ends of the ramp are whole pairs.
    pub truncate: bool,
}

impl Yarn {
    /// The pairs between which the ramp lies.
    fn ramp(&self, theta: f64, dims: usize) -> (f64, f64) {
        let dims = dims as f64;
        let pair = |turns: f64| dims * (self.original / (turns * TAU)).ln() / (2.0 * theta.ln());
        let (low, high) = (pair(self.fast), pair(self.slow));
        let (low, high) = if self.truncate { (low.floor(), high.ceil()) } else { (low, high) };
        (low.max(0.0), high.min(dims - 1.0))
    }
}

/// `2i/d`
fn exponents(dims: usize) -> impl Iterator<Item = f32> {
    (0..dims / 2).map(move |i| (2 * i) as f32 / dims as f32)
}

/// `θ^(2i/d)`
fn powers(theta: f64, dims: usize) -> impl Iterator<Item = f32> {
    exponents(dims).map(move |exponent| theta.powf(f64::from(exponent)) as f32)
}

/// +1 or -1, by a bit of `seed`, spread over its bits (the finaliser of SplitMix64).
fn sign(seed: u64, index: usize) -> f32 {
    let mut z = seed.wrapping_add((index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    if (z ^ (z >> 31)) & 1 == 0 { 1.0 } else { -1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

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
