//! What engines do to the operands of a product before they multiply: arithmetic that no dumped tensor shows.

use half::f16;
use ndarray::{Array2, ArrayView2, ArrayViewD, CowArray, Ix2, IxDyn, Zip};
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
}

impl Operands {
    /// Those of products with weights, but the exact ones.
    pub const ALL: [Self; 6] = [Self::F16, Self::Tf32, Self::Bf16, Self::Q8_1, Self::Q8_0, Self::Q8K];

    /// For people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Exact => "f32",
            Self::Bf16 => "operands rounded to bf16",
            Self::F16 => "operands rounded to f16",
            Self::F16Sums => "operands and sums rounded to f16",
            Self::Tf32 => "operands rounded to TF32",
            Self::Q8_0 => "activations rounded to int8 in blocks of 32 (ggml Q8_0)",
            Self::Q8_1 => "activations rounded to int8 in blocks of 32 with their sums (ggml Q8_1)",
            Self::Q8K => "activations rounded to int8 in blocks of 256 (ggml Q8_K)",
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
        if self == Self::Exact {
            return x.into();
        }
        let mut y = x.as_standard_layout().into_owned();
        let columns = y.shape()[y.ndim() - 1].max(1);
        let words = y.as_slice_mut().expect("standard layout");
        match self {
            Self::Exact => {}
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
    }
}
