//! The number types that ops compute in, and the formats that they round to.

use std::cell::RefCell;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use ndarray::NdFloat;

/// A format that results are rounded to, beyond the arithmetic of the number type itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Rounding {
    /// Nothing is rounded further.
    #[default]
    None,
    /// IEEE half precision: 11 bits of significand.
    F16,
    /// bfloat16: 8 bits of significand.
    Bf16,
}

impl Rounding {
    /// Rounds every word, to nearest, ties to even.
    pub fn round<T: Real>(self, words: &mut [T]) {
        if self != Self::None {
            T::round_to(words, self);
        }
    }
}

/// `f32`, what engines compute in, or `f64`, the oracle.
pub trait Real: NdFloat + Default {
    /// Exact.
    fn of(value: f32) -> Self;
    /// Rounded to this type.
    fn from_f64(value: f64) -> Self;
    /// Exact.
    fn wide(self) -> f64;
    /// Rounded to f32.
    fn narrow(self) -> f32;
    /// `eˣ`.
    #[must_use]
    fn exponential(self) -> Self;
    /// Rounds every word to `format`.
    fn round_to(words: &mut [Self], format: Rounding);
    /// The same words, if they are of this type already.
    fn same(words: &[f32]) -> Option<&[Self]>;
    /// Widens exactly.
    fn widen_f32(words: &[f32], out: &mut [Self]);
    /// Widens exactly.
    fn widen_f16(words: &[f16], out: &mut [Self]);
    /// Widens exactly.
    fn widen_bf16(words: &[bf16], out: &mut [Self]);
    /// Lends a thread's own buffer, kept from one task to the next.
    fn with_scratch(task: impl FnOnce(&mut Vec<Self>));
}

thread_local! {
    /// Widened words, of one task at a time.
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    static WIDE_SCRATCH: RefCell<Vec<f64>> = const { RefCell::new(Vec::new()) };
}

impl Real for f32 {
    #[inline]
    fn of(value: f32) -> Self {
        value
    }
    #[inline]
    fn from_f64(value: f64) -> Self {
        value as f32
    }
    #[inline]
    fn wide(self) -> f64 {
        f64::from(self)
    }
    #[inline]
    fn narrow(self) -> f32 {
        self
    }
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a loop over it becomes vector code only when it is inlined")]
    fn exponential(self) -> Self {
        super::exp::exp(self)
    }
    fn round_to(words: &mut [Self], format: Rounding) {
        match format {
            Rounding::None => {}
            Rounding::Bf16 => pulp::Arch::new().dispatch(
                #[inline(always)]
                || {
                    for word in words {
                        *word = round_to_bf16(*word);
                    }
                },
            ),
            Rounding::F16 => {
                let mut narrow = [f16::ZERO; 256];
                for words in words.chunks_mut(narrow.len()) {
                    let narrow = &mut narrow[..words.len()];
                    narrow.convert_from_f32_slice(words);
                    narrow.convert_to_f32_slice(words);
                }
            }
        }
    }
    fn same(words: &[f32]) -> Option<&[Self]> {
        Some(words)
    }
    fn widen_f32(words: &[f32], out: &mut [Self]) {
        out.copy_from_slice(words);
    }
    fn widen_f16(words: &[f16], out: &mut [Self]) {
        words.convert_to_f32_slice(out);
    }
    fn widen_bf16(words: &[bf16], out: &mut [Self]) {
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                for (out, word) in out.iter_mut().zip(words) {
                    *out = widen_one_bf16(*word);
                }
            },
        );
    }
    fn with_scratch(task: impl FnOnce(&mut Vec<Self>)) {
        SCRATCH.with_borrow_mut(task);
    }
}

impl Real for f64 {
    #[inline]
    fn of(value: f32) -> Self {
        f64::from(value)
    }
    #[inline]
    fn from_f64(value: f64) -> Self {
        value
    }
    #[inline]
    fn wide(self) -> f64 {
        self
    }
    #[inline]
    fn narrow(self) -> f32 {
        self as f32
    }
    #[inline]
    fn exponential(self) -> Self {
        self.exp()
    }
    fn round_to(words: &mut [Self], format: Rounding) {
        for word in words {
            *word = match format {
                Rounding::None => *word,
                Rounding::F16 => round_wide(*word, 11, -14, f16::MAX.to_f64()),
                Rounding::Bf16 => round_wide(*word, 8, -126, bf16::MAX.to_f64()),
            };
        }
    }
    fn same(_: &[f32]) -> Option<&[Self]> {
        None
    }
    fn widen_f32(words: &[f32], out: &mut [Self]) {
        for (out, word) in out.iter_mut().zip(words) {
            *out = f64::from(*word);
        }
    }
    fn widen_f16(words: &[f16], out: &mut [Self]) {
        words.convert_to_f64_slice(out);
    }
    fn widen_bf16(words: &[bf16], out: &mut [Self]) {
        for (out, word) in out.iter_mut().zip(words) {
            *out = f64::from(widen_one_bf16(*word));
        }
    }
    fn with_scratch(task: impl FnOnce(&mut Vec<Self>)) {
        WIDE_SCRATCH.with_borrow_mut(task);
    }
}

/// A bf16 word is the upper half of an f32.
#[inline]
pub(super) fn widen_one_bf16(word: bf16) -> f32 {
    f32::from_bits(u32::from(word.to_bits()) << 16)
}

/// To nearest, ties to even; a NaN stays one. Written without branches, for vector code.
#[inline]
fn round_to_bf16(word: f32) -> f32 {
    let bits = word.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) & 0xffff_0000;
    f32::from_bits(if word.is_nan() { bits | 0x0040_0000 } else { rounded })
}

/// To nearest, ties to even, in a format of so many bits of significand and of this least exponent. The conversions of
/// `half` look at the upper 32 bits of an f64 only, and take what lies just above a tie for a tie.
fn round_wide(word: f64, digits: i32, least: i32, largest: f64) -> f64 {
    if !word.is_finite() {
        return word;
    }
    let exponent = ((word.to_bits() >> 52) & 0x7ff) as i32 - 1023;
    let unit = f64::powi(2.0, exponent.max(least) - (digits - 1));
    let rounded = (word / unit).round_ties_even() * unit;
    if rounded.abs() > largest { f64::INFINITY.copysign(word) } else { rounded }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_that_of_the_formats() {
        let words: Vec<f32> = (0..100_000u32).map(|n| f32::from_bits(n.wrapping_mul(2_654_435_761))).collect();
        let check = |format: Rounding, expected: fn(f32) -> f32| {
            let mut narrow = words.clone();
            format.round(&mut narrow);
            let mut wide: Vec<f64> = words.iter().map(|word| f64::from(*word)).collect();
            format.round(&mut wide);
            for ((word, found), found_wide) in words.iter().zip(narrow).zip(wide) {
                let expected = expected(*word);
                let equal = |found: f64| found == f64::from(expected) || (found.is_nan() && expected.is_nan());
                assert!(
                    equal(f64::from(found)) && equal(found_wide),
                    "{format:?} of {word:e}: {found:e} {found_wide:e}"
                );
            }
        };
        check(Rounding::Bf16, |word| bf16::from_f32(word).to_f32());
        check(Rounding::F16, |word| f16::from_f32(word).to_f32());
        check(Rounding::None, |word| word);
    }
}
