//! The precision a tensor was computed in, read from its bits: f32 words whose low 16 bits are all zero came from bf16.

use half::f16;
use ndarray::ArrayViewD;

/// A float format, from fine to coarse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Precision {
    /// 24 bits of significand.
    F32,
    /// 11 bits of significand.
    F16,
    /// 8 bits of significand.
    Bf16,
}

impl Precision {
    /// Half the distance between 1 and the next number: the relative error of one rounding.
    pub fn unit(self) -> f64 {
        match self {
            Self::F32 => f64::powi(2.0, -24),
            Self::F16 => f64::powi(2.0, -11),
            Self::Bf16 => f64::powi(2.0, -8),
        }
    }

    /// As it is written on screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }

    /// What the bits of `values` tell. `None` when they tell nothing: fewer than 16 distinct finite values, which is what
    /// constants and probabilities over a single key look like.
    pub fn detect(values: ArrayViewD<f32>) -> Option<Self> {
        let mut seen: Vec<u32> = Vec::with_capacity(16);
        let (mut bf16, mut half) = (true, true);
        for value in values.iter().filter(|value| value.is_finite() && **value > -1e30) {
            if seen.len() < 16 && !seen.contains(&value.to_bits()) {
                seen.push(value.to_bits());
            }
            bf16 &= value.to_bits().trailing_zeros() >= 16;
            half &= f16::from_f32(*value).to_f32() == *value;
            if !bf16 && !half {
                break;
            }
        }
        match (bf16, half) {
            _ if seen.len() < 16 && (bf16 || half) => None,
            (true, _) => Some(Self::Bf16),
            (false, true) => Some(Self::F16),
            (false, false) => Some(Self::F32),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::bf16;
    use ndarray::Array;

    #[test]
    fn precision_is_read_from_the_bits() {
        let values = Array::from_shape_fn(64, |i| (i as f32 * 0.7).sin());
        let detect = |f: fn(f32) -> f32| Precision::detect(values.mapv(f).into_dyn().view());
        assert_eq!(detect(|v| v), Some(Precision::F32));
        assert_eq!(detect(|v| f16::from_f32(v).to_f32()), Some(Precision::F16));
        assert_eq!(detect(|v| bf16::from_f32(v).to_f32()), Some(Precision::Bf16));
        assert_eq!(detect(|_| 1.0), None);
        assert_eq!(detect(|_| f32::NAN), None);
    }
}
