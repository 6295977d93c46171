//! What numbers come out of this build on this processor: kernels choose their instructions by what the processor has,
//! and with them the order of summation.

use std::sync::OnceLock;

use bytemuck::cast_slice;
use half::bf16;
use ndarray::{Array1, Array2, Array3};

use crate::model::fingerprint::digest;
use crate::ops::{
    Activation, Format, Frequencies, Join, Mask, Matrix, Normalisation, Rotation, Rounding, Scoring, Words, context,
    linear, normalise, rope, scores, softmax,
};

/// A digest, 16 hexadecimal digits, of what our kernels make of some fixed numbers. Where it is the same, a run gives
/// the same bits; it is another one on processors with other vectors, or after a kernel was changed.
pub fn arithmetic() -> &'static str {
    static DIGEST: OnceLock<String> = OnceLock::new();
    DIGEST.get_or_init(|| digest(&sample())[..16].to_owned())
}

/// Numbers from -1 to 1, the same everywhere: a linear congruential generator (Knuth's MMIX).
struct Numbers(u64);

impl Numbers {
    fn take(&mut self, count: usize) -> Vec<f32> {
        let mut next = || {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 40) as f32 / (1u32 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }

    fn rows(&mut self, rows: usize, columns: usize) -> Array2<f32> {
        Array2::from_shape_vec((rows, columns), self.take(rows * columns)).expect("as many numbers as asked for")
    }

    fn heads(&mut self, first: usize, second: usize, third: usize) -> Array3<f32> {
        let numbers = self.take(first * second * third);
        Array3::from_shape_vec((first, second, third), numbers).expect("as many numbers as asked for")
    }
}

/// The bytes of results of every kernel whose sums or functions have a choice.
fn sample() -> Vec<u8> {
    let mut numbers = Numbers(1);
    let mut bytes = Vec::new();
    let mut keep = |values: &[f32]| bytes.extend_from_slice(cast_slice(values));
    // Wide enough for the blocked product to split the sum, and for bf16 words to be widened in strips.
    for (columns, rows) in [(1536, 96), (4864, 24)] {
        let x = numbers.rows(17, columns);
        let words = numbers.take(rows * columns);
        let halves: Vec<bf16> = words.iter().map(|word| bf16::from_f32(*word)).collect();
        for words in [Words::F32(&words), Words::Bf16(&halves)] {
            let weight = Matrix::new(rows, columns, words);
            for tokens in [17, 1] {
                let x = x.slice(ndarray::s![..tokens, ..]);
                let y = linear(x, &weight, None, Format::default());
                keep(y.as_slice().expect("a fresh array is contiguous"));
            }
        }
        let scale = Array1::from_vec(numbers.take(columns));
        let y = normalise(x.view(), scale.view(), None, Normalisation::rms(1e-6), Rounding::None);
        keep(y.as_slice().expect("a fresh array is contiguous"));
        let y = Activation::Silu.apply((x * 9.0).view(), Rounding::None);
        keep(y.as_slice().expect("a fresh array is contiguous"));
    }
    let (q, k, v) = (numbers.heads(4, 40, 64), numbers.heads(2, 40, 64), numbers.heads(40, 2, 64));
    let rotation = Rotation::new(Frequencies::new(1e6, 64), (100..140).map(|position| position as f32));
    let [q, k] = [q, k].map(|x| rope(x.view(), &rotation, Rounding::None));
    let how = Scoring::new(4, 2, 64, Mask::causal(0, None));
    let k = k.permuted_axes([1, 0, 2]);
    let scores = scores(q.view(), k.view(), &how, Rounding::None);
    let probs = softmax(scores.view(), Rounding::None);
    let context = context(probs.view(), v.view(), &how.groups, Join::Heads, Rounding::None);
    for values in [q.as_slice(), scores.as_slice(), probs.as_slice(), context.as_slice()] {
        keep(values.expect("fresh arrays are contiguous"));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_of_numbers_and_always_the_same() {
        let bytes = sample();
        let values: Vec<f32> = bytes.as_chunks().0.iter().map(|word| f32::from_le_bytes(*word)).collect();
        assert!(values.iter().all(|value| !value.is_nan()));
        let large = values.iter().filter(|value| value.is_finite() && value.abs() > 1e-3).count();
        assert!(large > values.len() / 2, "{large} of {}", values.len());
        assert_eq!(digest(&sample())[..16], *arithmetic());
        let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
        assert_eq!(alone.install(sample), bytes);
    }
}
