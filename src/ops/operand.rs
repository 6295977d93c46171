//! What engines do to the operands of a product before they multiply: arithmetic that no dumped tensor shows.

use half::f16;
use ndarray::{Array2, ArrayD, ArrayView2, ArrayViewD, CowArray, Ix2, IxDyn, Zip};
use rayon::iter::ParallelIterator;
use rayon::slice::ParallelSliceMut;

use super::real::{Real, Rounding};

/// How the operands of a matrix product are rounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Operands {
    /// Not at all.
    #[default]
    Exact,
    /// Both to bf16.
    Bf16,
    /// Both to f16.
    F16,
    /// Both to f16, and so is the growing sum: llama.cpp's fused attention.
    F16Sums,
    /// Both to 11 bits of significand, as the tensor cores of NVIDIA do with TF32.
    Tf32,
    /// Activations to int8 in blocks of 32 with an f16 scale: ggml's Q8_0, met by weights of types Q8_0, Q4_0, Q5_0.
    Q8_0,
    /// The same, with the sum of each block kept apart: ggml's Q8_1, met by weights of types Q4_1 and Q5_1.
    Q8_1,
    /// Activations to int8 in blocks of 256 with an f32 scale: ggml's Q8_K, met by weights of types Q4_K to Q6_K.
    Q8K,
    /// The first only: activations before weights, queries before keys, patterns before values.
    First(Few),
    /// The second only: keys and values, as a cache keeps them.
    Second(Few),
    /// None, but what the op gives: a key or value that was dumped as the cache keeps it.
    Result(Few),
}

/// Few bits, in which engines keep what they read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Few {
    /// IEEE half.
    F16,
    /// The upper half of f32.
    Bf16,
    /// 8 bits, 4 of significand: E4M3 of OCP, without infinity, up to 448.
    E4M3,
    /// 8 bits, 3 of significand: E5M2 of OCP, up to 57,344.
    E5M2,
    /// int8 in blocks of up to 32 with an f16 scale: ggml's Q8_0.
    Q8_0,
    /// 4 bits in blocks of up to 32 with an f16 scale: ggml's Q4_0.
    Q4_0,
    /// int8 with one f32 scale for each head of a token.
    Int8,
}

impl Few {
    /// Those of caches, fine ones first.
    pub const ALL: [Self; 7] = [Self::F16, Self::Bf16, Self::Q8_0, Self::Int8, Self::E4M3, Self::E5M2, Self::Q4_0];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::E4M3 => "fp8 (e4m3)",
            Self::E5M2 => "fp8 (e5m2)",
            Self::Q8_0 => "q8_0",
            Self::Q4_0 => "q4_0",
            Self::Int8 => "int8",
        }
    }

    /// `x` in this format; blocks lie along the last axis, within it.
    pub fn round<T: Real>(self, x: ArrayViewD<T>) -> ArrayD<T> {
        self.round_in(x.shape()[x.ndim() - 1], x)
    }

    /// The same where the last axis holds several heads of `width` channels: blocks lie within a head.
    pub fn round_in<T: Real>(self, width: usize, x: ArrayViewD<T>) -> ArrayD<T> {
        const BLOCK: usize = 32;
        let mut y = x.as_standard_layout().into_owned();
        let columns = width.max(1);
        let words = y.as_slice_mut().expect("standard layout");
        let blocks = |words: &mut [T], length: usize, each: &(dyn Fn(&mut [T]) + Sync)| {
            words.par_chunks_mut(columns).flat_map_iter(|row| row.chunks_mut(length)).for_each(each);
        };
        match self {
            Self::F16 => Rounding::F16.round(words),
            Self::Bf16 => Rounding::Bf16.round(words),
            Self::E4M3 => words.iter_mut().for_each(|word| *word = T::of(short(word.narrow(), 4, -6, 448.0))),
            Self::E5M2 => words.iter_mut().for_each(|word| *word = T::of(short(word.narrow(), 3, -14, 57_344.0))),
            Self::Q8_0 => blocks(words, BLOCK, &|block| {
                let scale = f16::from_f32(quantise(block, |largest| (largest / 127.0, 127.0 / largest))).to_f32();
                scale_by(block, T::of(scale));
            }),
            Self::Int8 => blocks(words, columns, &|block| {
                let scale = quantise(block, |largest| (largest / 127.0, 127.0 / largest));
                scale_by(block, T::of(scale));
            }),
            Self::Q4_0 => blocks(words, BLOCK, &|block| {
                let largest = block.iter().map(|word| word.narrow()).max_by(|a, b| a.abs().total_cmp(&b.abs()));
                let exact = largest.unwrap_or(0.0) / -8.0;
                let inverse = if exact == 0.0 { 0.0 } else { 1.0 / exact };
                let scale = f16::from_f32(exact).to_f32();
                for word in block {
                    let level = (word.narrow() * inverse + 8.5).floor().clamp(0.0, 15.0);
                    *word = T::of((level - 8.0) * scale);
                }
            }),
        }
        y
    }
}

/// The nearest number with `bits` of significand and no exponent below `least`, ties to even; the largest is `largest`.
fn short(word: f32, bits: i32, least: i32, largest: f32) -> f32 {
    if word == 0.0 || !word.is_finite() {
        return word;
    }
    let exponent = (word.abs().log2().floor() as i32).max(least);
    let unit = f32::powi(2.0, exponent - (bits - 1));
    ((word / unit).round_ties_even() * unit).clamp(-largest, largest)
}

impl Operands {
    /// Those of products with weights, but the exact ones.
    pub const ALL: [Self; 6] = [Self::F16, Self::Tf32, Self::Bf16, Self::Q8_1, Self::Q8_0, Self::Q8K];

    /// For people.
    pub fn describe(self) -> String {
        match self {
            Self::Exact => "f32".into(),
            Self::Bf16 => "operands rounded to bf16".into(),
            Self::F16 => "operands rounded to f16".into(),
            Self::F16Sums => "operands and sums rounded to f16".into(),
            Self::Tf32 => "operands rounded to TF32".into(),
            Self::Q8_0 => "activations rounded to int8 in blocks of 32 (ggml Q8_0)".into(),
            Self::Q8_1 => "activations rounded to int8 in blocks of 32 with their sums (ggml Q8_1)".into(),
            Self::Q8K => "activations rounded to int8 in blocks of 256 (ggml Q8_K)".into(),
            Self::First(few) => format!("inputs rounded to {}", few.name()),
            Self::Second(few) => format!("keys and values rounded to {}", few.name()),
            Self::Result(few) => format!("dumped as the cache keeps it, in {},", few.name()),
        }
    }

    /// Operand `index` of a product of activations, or of an op that is no product, as it enters.
    pub fn enter<T: Real>(self, index: usize, x: ArrayViewD<T>) -> CowArray<T, IxDyn> {
        match (self, index) {
            (Self::First(few), 0) | (Self::Second(few), 1) => few.round(x).into(),
            (Self::First(_) | Self::Second(_) | Self::Result(_), _) => x.into(),
            _ => self.round(x),
        }
    }

    /// Whether weights are rounded, too.
    pub(super) fn round_weights<T: Real>(self, words: &mut [T]) {
        match self {
            Self::Bf16 => Rounding::Bf16.round(words),
            Self::F16 | Self::F16Sums => Rounding::F16.round(words),
            Self::Tf32 => {
                for word in words {
                    *word = T::of(tf32(word.narrow()));
                }
            }
            _ => {}
        }
    }

    /// Whether [`Operands::round_weights`] does anything.
    pub(super) fn touches_weights(self) -> bool {
        matches!(self, Self::Bf16 | Self::F16 | Self::F16Sums | Self::Tf32)
    }

    /// `x` as it enters a product.
    pub fn round<T: Real>(self, x: ArrayViewD<T>) -> CowArray<T, IxDyn> {
        match self {
            Self::Exact | Self::Second(_) | Self::Result(_) => return x.into(),
            Self::First(few) => return few.round(x).into(),
            _ => {}
        }
        let mut y = x.as_standard_layout().into_owned();
        let columns = y.shape()[y.ndim() - 1].max(1);
        let words = y.as_slice_mut().expect("standard layout");
        match self {
            Self::Exact | Self::First(_) | Self::Second(_) | Self::Result(_) => {}
            Self::Bf16 | Self::F16 | Self::F16Sums | Self::Tf32 => self.round_weights(words),
            Self::Q8_0 | Self::Q8_1 => {
                words.par_chunks_mut(columns).flat_map_iter(|row| row.chunks_mut(32)).for_each(|block| {
                    let scale = f16::from_f32(quantise(block, |largest| (largest / 127.0, 127.0 / largest))).to_f32();
                    scale_by(block, T::of(scale));
                });
            }
            Self::Q8K => {
                words.par_chunks_mut(columns).flat_map_iter(|row| row.chunks_mut(256)).for_each(|block| {
                    let scale = quantise(block, |largest| (largest / 127.0, 127.0 / largest));
                    scale_by(block, T::of(scale));
                });
            }
        }
        y.into()
    }

    /// What Q8_1 adds to each product, given the sums of the blocks before and after rounding: `[token, block]` factors of
    /// the least weight of each block. `None` for all others.
    pub(super) fn corrections<T: Real>(self, x: ArrayView2<T>) -> Option<Array2<T>> {
        if self != Self::Q8_1 {
            return None;
        }
        let blocks = x.ncols().div_ceil(32);
        let mut corrections = Array2::zeros((x.nrows(), blocks));
        Zip::from(x.rows()).and(corrections.rows_mut()).par_for_each(|row, mut corrections| {
            let mut row: Vec<T> = row.to_vec();
            for (words, correction) in row.chunks_mut(32).zip(&mut corrections) {
                let exact = quantise(words, |largest| (largest / 127.0, 127.0 / largest));
                let sum: f32 = words.iter().map(|word| word.narrow()).sum();
                let stored = f16::from_f32(exact * sum).to_f32();
                *correction = T::of(stored) - T::of(f16::from_f32(exact).to_f32()) * T::of(sum);
            }
        });
        Some(corrections)
    }
}

fn scale_by<T: Real>(words: &mut [T], scale: T) {
    for word in words {
        *word *= scale;
    }
}

/// Rounds a block to whole multiples of its scale, as ggml does, and returns the scale: `scales(largest)` gives the scale
/// and its inverse.
fn quantise<T: Real>(block: &mut [T], scales: fn(f32) -> (f32, f32)) -> f32 {
    let largest = block.iter().map(|word| word.narrow().abs()).fold(0.0f32, f32::max);
    if largest == 0.0 {
        return 0.0;
    }
    let (scale, inverse) = scales(largest);
    for word in block.iter_mut() {
        // Adding 1.5 · 2²³ rounds to the nearest whole number, ties to even, as the word is smaller than 2²².
        *word = T::of((word.narrow() * inverse + 12_582_912.0) - 12_582_912.0);
    }
    scale
}

/// Rounds to 11 bits of significand, ties to even.
fn tf32(word: f32) -> f32 {
    let bits = word.to_bits();
    let rounded = bits.wrapping_add(0x0fff + ((bits >> 13) & 1)) & 0xffff_e000;
    if word.is_finite() { f32::from_bits(rounded) } else { word }
}

/// The least weight of each block of 32, `[out, block]`: what Q4_1 and Q5_1 keep apart.
pub(super) fn least_of_blocks<T: Real>(row: &[T]) -> Vec<T> {
    row.chunks(32).map(|block| block.iter().copied().fold(T::infinity(), T::min)).collect()
}

/// A view of two axes, for operands of a linear layer.
pub(super) fn flat<'a, T: Real>(x: &'a CowArray<T, IxDyn>) -> ArrayView2<'a, T> {
    x.view().into_dimensionality::<Ix2>().expect("a linear layer reads [token, channel]")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array;

    #[test]
    fn rounded_operands_are_near_and_on_their_grid() {
        let x = Array::from_shape_fn((3, 512), |(t, i)| ((t * 512 + i) as f32 * 0.37).sin() * 3.0);
        for operands in Operands::ALL {
            let y = operands.round(x.view().into_dyn());
            let worst = x.iter().zip(&y).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
            assert!(worst > 0.0 && worst < 0.02, "{operands:?}: {worst}");
        }
        assert_eq!(tf32(1.0 + f32::EPSILON * 3000.0), 1.0);
        // Half a step of the largest number, 3; of blocks with an f16 scale, and what rounding that adds;
        // of Q4_0 a whole step, at the end of its range that has no level.
        for (few, allowed) in Few::ALL.into_iter().zip([0.0015, 0.012, 0.0133, 0.012, 0.13, 0.26, 0.376]) {
            let y = few.round(x.view().into_dyn());
            let worst = x.iter().zip(&y).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
            assert!(worst > 0.0 && worst < allowed, "{few:?}: {worst}");
            assert_eq!(few.round(x.view().into_dyn()), y, "{few:?}");
        }
    }

    #[test]
    fn eight_bit_floats_are_those_of_ocp() {
        // Values of the tables in "OCP 8-bit Floating Point Specification".
        let e4m3 = |v| short(v, 4, -6, 448.0);
        let e5m2 = |v| short(v, 3, -14, 57_344.0);
        for (given, wanted) in
            [(1.0, 1.0), (1.07, 1.125), (17.0, 16.0), (500.0, 448.0), (0.002, 0.001_953_125), (0.0009, 0.0)]
        {
            assert_eq!(e4m3(given), wanted, "{given}");
        }
        for (given, wanted) in [(1.0, 1.0), (1.12, 1.0), (1.13, 1.25), (6e4, 57_344.0), (-3.4, -3.5)] {
            assert_eq!(e5m2(given), wanted, "{given}");
        }
    }
}
