//! The precision a tensor was computed in, read from its bits: f32 words whose low 16 bits are all zero came from bf16.

use half::f16;
use ndarray::ArrayViewD;

use crate::dump::{self, Dump, Planned};
use crate::engine::{Keyed, Node, Op};
use crate::model::op::OneSign;
use crate::ops::{Form, Rounding};

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
    /// All of them.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::Bf16];

    /// Bits of significand, the hidden one included.
    fn bits(self) -> u32 {
        match self {
            Self::F32 => 24,
            Self::F16 => 11,
            Self::Bf16 => 8,
        }
    }

    /// The finest format with no more bits of significand than that.
    pub fn of_bits(bits: u32) -> Self {
        Self::ALL.into_iter().find(|precision| precision.bits() <= bits).unwrap_or(Self::Bf16)
    }

    /// Half the distance between 1 and the next number: the relative error of one rounding.
    pub fn unit(self) -> f64 {
        f64::powi(2.0, -self.bits().cast_signed())
    }

    /// Half the distance between 0 and the next number: that of all numbers too small for an exponent.
    pub fn least_half_unit(self) -> f64 {
        match self {
            Self::F32 | Self::Bf16 => 0.0,
            Self::F16 => f64::powi(2.0, -25),
        }
    }

    /// What a run has to round to, to compute like it.
    pub fn rounding(self) -> Rounding {
        match self {
            Self::F32 => Rounding::None,
            Self::F16 => Rounding::F16,
            Self::Bf16 => Rounding::Bf16,
        }
    }

    /// The least relative error a correct program of this precision is allowed at a node whose value has `shape`: one
    /// rounding of the result, and in f32 what sums that all have one sign cost (mean of squares, sum of a softmax): added
    /// up one by one, `n` of them are off by `sqrt(n)/3` roundings, all elements of a row alike; a norm takes the root.
    pub fn least(self, node: &Node, shape: &[usize]) -> f64 {
        let sum = shape.last().map_or(0.0, |n| (*n as f64).sqrt() / 3.0);
        let f32s = match (node.op.facts().one_sign, &node.op) {
            // The mean is taken off first: that is another sum.
            (OneSign::Root, Op::Norm { how, .. }) if how.form == Form::Centred => 2.0 + sum,
            (OneSign::Root, _) => 2.0 + sum / 2.0,
            (OneSign::LastAxis, _) => 2.0 + sum,
            (OneSign::No, _) => 2.0,
        };
        let own = if self == Self::F32 { 0.0 } else { 0.5 * self.unit() };
        f32s * Self::F32.unit() + own
    }

    /// What most tensors of a dump were computed in, from a few of them; f32 if they tell nothing.
    pub fn typical(dump: &Dump) -> Result<Self, dump::Error> {
        const SAMPLE: usize = 7;
        // Rows of tables have the bits of these; many probabilities and weights of experts are 0 or 1.
        let telling = |planned: &&Planned| {
            let facts = dump.graph()[planned.site].op.facts();
            planned.forward == 0
                && !dump.graph().is_copy(planned.site)
                && facts.keyed != Keyed::Probs
                && !facts.discrete
        };
        let planned: Vec<&Planned> = dump.all_planned().iter().filter(telling).collect();
        let every = planned.len().div_ceil(SAMPLE).max(1);
        let mut found = [0usize; 3];
        for planned in planned.into_iter().step_by(every) {
            let aligned = dump.read(0, planned.site, None)?;
            if let Some(precision) = aligned.and_then(|aligned| Self::detect(aligned.part.values.view())) {
                found[precision as usize] += 1;
            }
        }
        let most = Self::ALL.into_iter().max_by_key(|precision| found[*precision as usize]);
        Ok(most.filter(|precision| found[*precision as usize] > 0).unwrap_or(Self::F32))
    }

    /// As it is written on screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }

    /// What the bits of `values` tell. `None` when they tell nothing: few distinct values, or round ones, which is what
    /// constants and probabilities over a single key look like.
    pub fn detect(values: ArrayViewD<f32>) -> Option<Self> {
        // So many values that need more than 4 bits do not fit 8 or 11 by chance.
        const TELLING: usize = 2;
        // Numbers that are subnormal in f16 have few bits there.
        let is_half = |value: f32| f16::from_f32(value).to_f32() == value;
        let is_subnormal = |value: f32| value.abs() < f16::MIN_POSITIVE.to_f32() && is_half(value);
        let is_round = |value: f32| value.to_bits().trailing_zeros() >= 20 || is_subnormal(value);
        let mut seen: Vec<u32> = Vec::with_capacity(TELLING);
        let (mut bf16, mut half) = (true, true);
        for value in values.iter().filter(|value| value.is_finite() && **value > -1e30) {
            if seen.len() < TELLING && !is_round(*value) && !seen.contains(&value.to_bits()) {
                seen.push(value.to_bits());
            }
            bf16 &= value.to_bits().trailing_zeros() >= 16;
            half &= is_half(*value);
            if !bf16 && !half {
                break;
            }
        }
        match (bf16, half) {
            _ if seen.len() < TELLING && (bf16 || half) => None,
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
        assert_eq!(detect(|v| f16::from_f32(v * 1e-5).to_f32()), None, "of 8 bits, as bf16 has them");
        assert_eq!(detect(|v| bf16::from_f32(v * 1e-5).to_f32()), Some(Precision::Bf16));
        assert_eq!(detect(|_| 1.0), None);
        assert_eq!(detect(|v| (8.0 * v).round() / 8.0), None, "round numbers tell nothing");
        let one_row = Array::from_shape_fn(8, |i| bf16::from_f32((i as f32 * 0.7 + 0.1).sin()).to_f32());
        assert_eq!(Precision::detect(one_row.into_dyn().view()), Some(Precision::Bf16), "one row of a router");
        assert_eq!(detect(|_| f32::NAN), None);
    }
}
