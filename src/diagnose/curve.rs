//! What an error may be at some point of the program, judged by those before it.
//!
//! Errors of a correct engine grow slowly: each op adds its rounding and passes on what came in. An error that stands far
//! above every error before it was made here. It leaves no trace: what comes later is measured against what was in line.

use super::precision::Precision;

/// How many roundings a single op may be worth: sums of thousands of products, and a softmax that turns an absolute error
/// of its scores into a relative one.
const ROUNDINGS: f64 = 256.0;

/// The same for bf16 and f16, whose errors are limited by the number of significant bits.
const COARSE_ROUNDINGS: f64 = 16.0;

/// How far above the largest error before it an error may stand.
const STEP: f64 = 32.0;

/// The same for bf16 and f16, and for other low precision.
const COARSE_STEP: f64 = 8.0;

/// A larger error is a step, unless errors have grown to that.
const MOST: f64 = 0.5;

/// How much larger than the largest before it an error of that size may be.
const GROWTH: f64 = 1.5;

/// Errors in line, so far.
#[derive(Clone, Debug)]
pub(super) struct Curve {
    largest: f64,
    coarsest: Precision,
    /// Whether one side is of low precision that no tensor's bits show.
    noisy: bool,
    /// Whether an error of the pass was out of line.
    diverged: bool,
}

impl Default for Curve {
    fn default() -> Self {
        Self { largest: 0.0, coarsest: Precision::F32, noisy: false, diverged: false }
    }
}

impl Curve {
    /// The largest error that is in line.
    pub(super) fn limit(&self) -> f64 {
        self.grown().max(Self::rounding(self.coarsest)).min(f64::max(MOST, GROWTH * self.largest))
    }

    /// What the largest error in line may have become.
    fn grown(&self) -> f64 {
        self.largest * if self.coarse() { COARSE_STEP } else { STEP }
    }

    /// Whether the next error of a pass is in line, whose bits tell `precision`; behind the first that is not, all but
    /// rounding follows from it.
    pub(super) fn judge(&mut self, error: f64, precision: Option<Precision>) -> bool {
        self.meet(precision.unwrap_or(Precision::F32));
        // Written so that a NaN error is out of line.
        let in_line = error <= Self::rounding(self.coarsest) || (!self.diverged && error <= self.grown());
        if in_line {
            self.take(error);
        }
        self.diverged |= !in_line;
        in_line
    }

    /// Whether a small mistake can hide in low precision.
    pub(super) fn coarse(&self) -> bool {
        self.coarsest != Precision::F32 || self.noisy
    }

    /// The error that an op of this precision may make.
    pub(super) fn rounding(precision: Precision) -> f64 {
        let roundings = if precision == Precision::F32 { ROUNDINGS } else { COARSE_ROUNDINGS };
        roundings * precision.unit()
    }

    /// A tensor of this precision was met, or an op that computes in it.
    pub(super) fn meet(&mut self, precision: Precision) {
        self.coarsest = self.coarsest.max(precision);
    }

    /// An error was in line.
    pub(super) fn take(&mut self, error: f64) {
        self.largest = self.largest.max(error);
    }

    /// From here on there is noise of this size.
    pub(super) fn take_noise(&mut self, error: f64) {
        self.take(error);
        self.noisy = true;
    }

    /// The coarsest precision met.
    pub(super) fn coarsest(&self) -> Precision {
        self.coarsest
    }

    /// The largest error in line.
    pub(super) fn largest(&self) -> f64 {
        self.largest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_growth_is_in_line_and_a_step_is_not() {
        let judged = |errors: &[f64], precision| {
            let mut curve = Curve::default();
            errors.iter().map(|error| curve.judge(*error, Some(precision))).collect::<Vec<bool>>()
        };
        assert_eq!(judged(&[0.0, 2e-7, 4e-7, 3e-6, 8e-6, 2e-5, 5e-5], Precision::F32), [true; 7]);
        let step = judged(&[0.0, 2e-7, 4e-4, 3e-1, 1e-7, 2e-3], Precision::F32);
        assert_eq!(step, [true, true, false, false, true, false]);
        assert_eq!(judged(&[0.0, 2e-3, 4e-3, 2.5e-2, 4e-2], Precision::Bf16), [true; 5]);
        assert_eq!(judged(&[0.0, 2e-3, 0.9], Precision::Bf16), [true, true, false]);
        assert_eq!(judged(&[0.0, f64::NAN], Precision::F32), [true, false]);
    }

    #[test]
    fn what_is_out_of_line_leaves_no_trace() {
        let mut curve = Curve::default();
        assert!(curve.limit() > 1e-5 && curve.limit() < 2e-5);
        curve.take(1e-5);
        assert!(curve.limit() > 3e-4 && curve.limit() < 4e-4);
        curve.meet(Precision::Bf16);
        assert!(curve.limit() > 0.06 && curve.limit() < 0.07);
        curve.take(0.05);
        assert!(curve.limit() > 0.39 && curve.limit() < 0.41);
        let mut noisy = Curve::default();
        noisy.take_noise(0.01);
        assert!(noisy.coarse() && noisy.limit() > 0.079 && noisy.limit() < 0.081);
    }
}
