//! Is an error in line with those before it?
//!
//! Errors of a correct engine grow slowly: each op adds its rounding and passes on what came in. An error that stands
//! far above every error before it was made here. The judge sees the errors of a whole pass, chained, in program order.

use super::precision::Precision;

/// The place of an error among those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Rounding.
    InLine,
    /// The first one far above all before it.
    OutOfLine,
    /// After the first, and no smaller than rounding.
    Follows,
}

/// Judges one error after another.
#[derive(Clone, Debug)]
pub struct Judge {
    largest: f64,
    coarsest: Precision,
    diverged: bool,
}

impl Default for Judge {
    fn default() -> Self {
        Self { largest: 0.0, coarsest: Precision::F32, diverged: false }
    }
}

/// How many roundings a single op may be worth: sums of thousands of products, and a softmax that turns an absolute
/// error of its scores into a relative one.
const ROUNDINGS: f64 = 256.0;

/// The same for bf16 and f16, whose errors are large enough to be limited by the number of significant bits.
const COARSE_ROUNDINGS: f64 = 16.0;

/// How far above the largest error before it an error must stand.
const STEP: f64 = 32.0;

/// The same for bf16 and f16.
const COARSE_STEP: f64 = 8.0;

impl Judge {
    /// The judgement on the next error; `precision` is what the bits of the compared values tell.
    pub fn judge(&mut self, error: f64, precision: Option<Precision>) -> Judgement {
        self.coarsest = self.coarsest.max(precision.unwrap_or(Precision::F32));
        let coarse = self.coarsest != Precision::F32;
        let (roundings, step) = if coarse { (COARSE_ROUNDINGS, COARSE_STEP) } else { (ROUNDINGS, STEP) };
        let rounding = roundings * self.coarsest.unit();
        // Written so that a NaN error is out of line.
        let in_line = error <= rounding || (!self.diverged && error <= step * self.largest);
        if in_line {
            self.largest = self.largest.max(error);
            Judgement::InLine
        } else if self.diverged {
            Judgement::Follows
        } else {
            self.diverged = true;
            Judgement::OutOfLine
        }
    }

    /// The coarsest precision met so far.
    pub fn coarsest(&self) -> Precision {
        self.coarsest
    }

    /// The largest error that was in line.
    pub fn largest_in_line(&self) -> f64 {
        self.largest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judgements(errors: &[f64], precision: Precision) -> Vec<Judgement> {
        let mut judge = Judge::default();
        errors.iter().map(|error| judge.judge(*error, Some(precision))).collect()
    }

    #[test]
    fn slow_growth_is_in_line_and_a_step_is_not() {
        use Judgement::{Follows, InLine, OutOfLine};
        let f32s = judgements(&[0.0, 2e-7, 4e-7, 3e-6, 8e-6, 2e-5, 5e-5], Precision::F32);
        assert!(f32s.iter().all(|j| *j == InLine), "{f32s:?}");
        let step = judgements(&[0.0, 2e-7, 4e-4, 3e-1, 1e-7, 2e-3], Precision::F32);
        assert_eq!(step, [InLine, InLine, OutOfLine, Follows, InLine, Follows]);
        let bf16 = judgements(&[0.0, 2e-3, 4e-3, 2.5e-2, 4e-2], Precision::Bf16);
        assert!(bf16.iter().all(|j| *j == InLine), "{bf16:?}");
        assert_eq!(judgements(&[0.0, 2e-3, 0.9], Precision::Bf16)[2], OutOfLine);
        assert_eq!(judgements(&[0.0, f64::NAN], Precision::F32)[1], OutOfLine);
    }
}
