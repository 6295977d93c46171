//! Scaled dot-product attention with grouped query heads, in its three visible steps: scores, probabilities, context.
//!
//! Vaswani et al., arXiv 1706.03762; grouped queries of Ainslie et al., arXiv 2305.13245: query head `h` of `H` reads
//! key/value head `h · G / H` of `G`. Shapes and order of operations as in `eager_attention_forward` of transformers.

use std::ops::Range;
use std::sync::Arc;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, Array3, ArrayView1, ArrayView3, ArrayViewMut1, Axis, s};
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

use super::activation::{cap_in_place, softmax_rows};
use super::real::{Real, Rounding};

/// Which keys a query may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mask {
    /// Position of the first query row; key rows start at position 0.
    pub first: usize,
    /// Keys further back than this many positions, the query itself counted, are hidden.
    pub window: Option<usize>,
    /// Keys further ahead than this many positions are hidden: 0 in models; `None` hides none.
    pub ahead: Option<isize>,
    /// Keys behind the first so many are hidden: models have no such length.
    pub length: Option<usize>,
    /// Keys of earlier chunks of so many positions are hidden.
    pub chunk: Option<usize>,
}

impl Mask {
    /// A causal mask, as models have it.
    pub fn causal(first: usize, window: Option<usize>) -> Self {
        Self { first, window, ahead: Some(0), length: None, chunk: None }
    }

    /// Whether the query in row `query` may see the key at position `key`.
    pub fn allows(&self, query: usize, key: usize) -> bool {
        let ahead = key.cast_signed() - (self.first + query).cast_signed();
        self.ahead.is_none_or(|most| ahead <= most)
            && self.window.is_none_or(|window| -ahead < window.cast_signed())
            && self.length.is_none_or(|length| key < length)
            && key >= self.chunk_start(query)
    }

    /// The keys, of so many, that the query in row `query` may see: they stand side by side.
    pub fn seen(&self, query: usize, keys: usize) -> Range<usize> {
        let position = self.first + query;
        let keys = self.length.map_or(keys, |length| length.min(keys));
        let end = self.ahead.map_or(keys, |most| (position + 1).saturating_add_signed(most).min(keys));
        let start = self.window.map_or(0, |window| (position + 1).saturating_sub(window));
        start.max(self.chunk_start(query)).min(end)..end
    }

    /// The first position of the chunk of the query in row `query`.
    fn chunk_start(&self, query: usize) -> usize {
        let position = self.first + query;
        self.chunk.map_or(0, |chunk| position - position % chunk.max(1))
    }
}

/// How scores are computed, beside the queries and keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Scoring {
    /// The factor of products.
    pub scale: f64,
    /// They pass through `c tanh(s / c)` after that.
    pub cap: Option<f64>,
    /// Which keys are seen.
    pub mask: Mask,
    /// For each query head, what is added for each position of a key.
    pub slopes: Option<Arc<[f32]>>,
    /// For each query head, the key head that it reads.
    pub groups: Arc<[usize]>,
    /// The format of scores, if it is a coarser one.
    pub format: Rounding,
}

impl Scoring {
    /// As most models have it.
    pub fn new(heads: usize, key_heads: usize, head_dim: usize, mask: Mask) -> Self {
        let scale = (head_dim as f64).sqrt().recip();
        Self { scale, cap: None, mask, slopes: None, groups: grouped(heads, key_heads).into(), format: Rounding::None }
    }
}

/// For each of `heads` query heads, which of `key_heads` key heads it reads.
pub fn grouped(heads: usize, key_heads: usize) -> Vec<usize> {
    (0..heads).map(|head| head / (heads / key_heads.max(1)).max(1)).collect()
}

/// For each of `heads` query heads, what `ALiBi` adds for each position of a key: `2^(-8i/n)` for a power of two `n`, and
/// between those of the next lower power the odd ones of the next higher (`_get_alibi_slopes` of transformers; Press et al.,
/// arXiv 2108.12409).
pub fn slopes(heads: usize) -> Vec<f32> {
    let even = 1u32 << heads.max(1).ilog2();
    let base = |count: u32| f64::from((-(-(f64::from(count).log2() - 3.0)).exp2()).exp2() as f32);
    let own = (1..=even).map(|power| base(even).powf(f64::from(power)) as f32);
    let between = (0..even).map(|index| base(2 * even).powf(f64::from(2 * index + 1)) as f32);
    own.chain(between).take(heads).collect()
}

/// How the heads' contexts are joined to one row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Join {
    /// Heads side by side, as models have it.
    #[default]
    Heads,
    /// `[head, query, head_dim]` read as rows of another width: what is left when a transposition is forgotten.
    Untransposed,
    /// Channels of the heads in turn.
    Interleaved,
}

/// `q kᵀ · scale`, -inf where masked: `q` `[head, query, head_dim]`, `keys` `[key, kv_head, head_dim]` →
/// `[head, query, key]`. Rounded after the product, after the scale, and after each step of the cap; where slopes are added,
/// once, as by `baddbmm`.
pub fn scores<T: Real>(q: ArrayView3<T>, keys: ArrayView3<T>, how: &Scoring, rounding: Rounding) -> Array3<T> {
    let (heads, queries, _) = q.dim();
    let scale = T::from_f64(how.scale);
    let mut out = Array3::zeros((heads, queries, keys.len_of(Axis(0))));
    out.outer_iter_mut().into_par_iter().enumerate().for_each(|(head, mut out)| {
        let (q, k) = (q.index_axis(Axis(0), head), keys.index_axis(Axis(1), how.groups[head]));
        general_mat_mul(T::one(), &q, &k.t(), T::zero(), &mut out);
        let words = out.as_slice_mut().expect("a head of a fresh array is contiguous");
        if how.slopes.is_none() {
            rounding.round(words);
        }
        for word in words.iter_mut() {
            *word *= scale;
        }
        if let Some(slopes) = &how.slopes {
            // The position of a key times its slope is a tensor of its own.
            let mut added: Vec<T> = (0..keys.len_of(Axis(0))).map(|key| T::of(slopes[head] * key as f32)).collect();
            rounding.round(&mut added);
            for row in words.chunks_exact_mut(added.len().max(1)) {
                row.iter_mut().zip(&added).for_each(|(word, added)| *word += *added);
            }
        }
        how.format.round(words);
        rounding.round(words);
        if let Some(limit) = how.cap {
            cap_in_place(words, limit, rounding);
        }
        for (query, mut row) in out.outer_iter_mut().enumerate() {
            let seen = how.mask.seen(query, row.len());
            row.slice_mut(s![..seen.start]).fill(T::neg_infinity());
            row.slice_mut(s![seen.end..]).fill(T::neg_infinity());
        }
    });
    out
}

/// Softmax over the last axis, `[head, query, key]`; the sum is accumulated in f64, and only the result is rounded.
pub fn softmax<T: Real>(scores: ArrayView3<T>, rounding: Rounding) -> Array3<T> {
    let mut y = scores.as_standard_layout().into_owned();
    softmax_rows(&mut y);
    rounding.round(y.as_slice_mut().expect("standard layout"));
    y
}

/// [`softmax`] over keys and one score more for each head, `[head]`, which no value belongs to. What all are less than the
/// largest is rounded, and the result: `eager_attention_forward` of `modeling_gpt_oss.py`.
pub fn softmax_with_sinks<T: Real>(scores: ArrayView3<T>, sinks: ArrayView1<f32>, rounding: Rounding) -> Array3<T> {
    let (heads, queries, keys) = scores.dim();
    let sinks = sinks.mapv(T::of);
    let mut all = Array3::from_shape_fn((heads, queries, keys + 1), |(head, query, key)| {
        if key == keys { sinks[head] } else { scores[[head, query, key]] }
    });
    for mut row in all.rows_mut() {
        let largest = row.iter().copied().fold(T::neg_infinity(), T::max);
        row.mapv_inplace(|x| x - largest);
    }
    rounding.round(all.as_slice_mut().expect("a fresh array is contiguous"));
    softmax_rows(&mut all);
    let mut y = all.slice(s![.., .., ..keys]).to_owned();
    rounding.round(y.as_slice_mut().expect("a fresh array is contiguous"));
    y
}

/// [`softmax`] with every step rounded, as a program has it that computes in a coarser format: what is above the largest score,
/// its exponential, the sum of those, the quotient. The sum itself is added up in full.
pub fn softmax_in_steps<T: Real>(scores: ArrayView3<T>, format: Rounding) -> Array3<T> {
    let mut y = scores.as_standard_layout().into_owned();
    let round = |row: &mut ArrayViewMut1<T>| format.round(row.as_slice_mut().expect("standard layout"));
    for mut row in y.rows_mut() {
        let largest = row.iter().copied().fold(T::neg_infinity(), T::max);
        row.mapv_inplace(|x| x - largest);
        round(&mut row);
        row.mapv_inplace(T::exp);
        round(&mut row);
        let mut sum = [row.sum()];
        format.round(&mut sum);
        row.mapv_inplace(|x| x / sum[0]);
        round(&mut row);
    }
    y
}

/// The weighted sum of values: `probs` `[head, query, key]`, `values` `[key, kv_head, head_dim]` →
/// `[query, head * head_dim]`; query head `h` reads value head `groups[h]`.
pub fn context<T: Real>(
    probs: ArrayView3<T>,
    values: ArrayView3<T>,
    groups: &[usize],
    join: Join,
    rounding: Rounding,
) -> Array2<T> {
    let (heads, queries, _) = probs.dim();
    let head_dim = values.len_of(Axis(2));
    let mut out = Array2::zeros((queries, heads * head_dim));
    out.axis_chunks_iter_mut(Axis(1), head_dim).into_par_iter().enumerate().for_each(|(head, mut out)| {
        let (probs, values) = (probs.index_axis(Axis(0), head), values.index_axis(Axis(1), groups[head]));
        general_mat_mul(T::one(), &probs, &values, T::zero(), &mut out);
    });
    rounding.round(out.as_slice_mut().expect("a fresh array is contiguous"));
    let order: [usize; 3] = match join {
        Join::Heads => return out,
        Join::Untransposed => [1, 0, 2],
        Join::Interleaved => [0, 2, 1],
    };
    let parts = out.into_shape_with_order((queries, heads, head_dim)).expect("heads side by side");
    let moved = parts.permuted_axes(order).as_standard_layout().into_owned();
    moved.into_shape_with_order((queries, heads * head_dim)).expect("as many words as before")
}

/// [`context`] as fused attention of llama.cpp on a processor computes it: one key after the other, weights relative to
/// the largest score so far, values and the growing sum rounded to f16, divided by the sum of weights at the end.
pub fn context_in_f16_sums<T: Real>(probs: ArrayView3<T>, values: ArrayView3<T>) -> Array2<T> {
    let (heads, queries, keys) = probs.dim();
    let (_, groups, head_dim) = values.dim();
    let repeat = heads / groups;
    let mut out = Array2::zeros((queries, heads * head_dim));
    out.axis_chunks_iter_mut(Axis(1), head_dim).into_par_iter().enumerate().for_each(|(head, mut out)| {
        for (query, mut out) in out.rows_mut().into_iter().enumerate() {
            let weights = probs.slice(s![head, query, ..]);
            let mut sums = vec![T::zero(); head_dim];
            let (mut largest, mut total) = (T::zero(), T::zero());
            for key in (0..keys).filter(|key| weights[*key] > T::zero()) {
                let weight = weights[key];
                if weight > largest {
                    let shrink = largest / weight;
                    for sum in &mut sums {
                        *sum *= shrink;
                    }
                    Rounding::F16.round(&mut sums);
                    (largest, total) = (weight, total * shrink);
                }
                let weight = weight / largest;
                total += weight;
                for (sum, value) in sums.iter_mut().zip(values.slice(s![key, head / repeat, ..])) {
                    *sum += *value * weight;
                }
                Rounding::F16.round(&mut sums);
            }
            for (out, sum) in out.iter_mut().zip(&sums) {
                *out = *sum / total;
            }
        }
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array;

    #[test]
    fn masks_hide_the_future_and_what_left_the_window() {
        let mask = Mask::causal(3, Some(2));
        let seen: Vec<bool> = (0..6).map(|key| mask.allows(1, key)).collect();
        assert_eq!(seen, [false, false, false, true, true, false], "position 4 sees itself and one before");
        let masks = [
            mask,
            Mask::causal(0, None),
            Mask { ahead: Some(-2), ..mask },
            Mask { ahead: None, ..mask },
            Mask { length: Some(4), ..mask },
            Mask { chunk: Some(2), window: None, ..mask },
        ];
        for (mask, query, keys) in masks.iter().flat_map(|m| (0..5).flat_map(move |q| (0..7).map(move |k| (m, q, k)))) {
            let seen: Vec<usize> = (0..keys).filter(|key| mask.allows(query, *key)).collect();
            assert_eq!(mask.seen(query, keys).collect::<Vec<_>>(), seen, "{mask:?} {query} of {keys}");
        }
    }

    fn halved(heads: usize, key_heads: usize, first: usize) -> Scoring {
        Scoring { scale: 0.5, ..Scoring::new(heads, key_heads, 1, Mask::causal(first, None)) }
    }

    #[test]
    fn grouped_heads_read_the_key_head_of_their_group() {
        // head_dim 1, keys and values of kv head g are g + 1, so the scores tell which head was read.
        let q = Array3::<f32>::ones((4, 1, 1));
        let keys = Array::from_shape_fn((2, 2, 1), |(_, g, _)| (g + 1) as f32);
        let scores = scores(q.view(), keys.view(), &halved(4, 2, 1), Rounding::None);
        assert_eq!(scores.iter().copied().collect::<Vec<_>>(), [0.5, 0.5, 0.5, 0.5, 1.0, 1.0, 1.0, 1.0]);
        let probs = softmax(scores.view(), Rounding::None);
        let context = context(probs.view(), keys.view(), &grouped(4, 2), Join::Heads, Rounding::None);
        assert_eq!(context.row(0).to_vec(), [1.0, 1.0, 2.0, 2.0]);
    }

    #[test]
    fn probabilities_of_masked_keys_are_zero_and_rows_sum_to_one() {
        let q = Array::from_shape_fn((2, 3, 4), |(h, t, i)| (h + t + i) as f32);
        let keys = Array::from_shape_fn((3, 1, 4), |(t, _, i)| (t * i) as f32 * 0.3);
        let scores = scores(q.view(), keys.view(), &halved(2, 1, 0), Rounding::None);
        let probs = softmax(scores.view(), Rounding::None);
        for row in probs.lanes(Axis(2)) {
            assert!((row.sum() - 1.0).abs() < 1e-6);
        }
        assert_eq!(probs[[1, 0, 1]], 0.0);
    }
}
