//! Scaled dot-product attention with grouped query heads, in its three visible steps: scores, probabilities, context.
//!
//! Vaswani et al., arXiv 1706.03762; grouped queries of Ainslie et al., arXiv 2305.13245: query head `h` of `H` reads
//! key/value head `h · G / H` of `G`. Shapes and order of operations as in `eager_attention_forward` of transformers.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, Array3, ArrayView3, Axis};
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

use super::activation::softmax_rows;

/// Which keys a query may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mask {
    /// Position of the first query row; key rows start at position 0.
    pub first: usize,
    /// Keys further back than this many positions, the query itself counted, are hidden.
    pub window: Option<usize>,
}

impl Mask {
    /// Whether the query in row `query` may see the key at position `key`.
    pub fn allows(&self, query: usize, key: usize) -> bool {
        let position = self.first + query;
        key <= position && self.window.is_none_or(|window| position - key < window)
    }
}

/// `q kᵀ · scale`, -inf where masked: `q` `[head, query, head_dim]`, `keys` `[key, kv_head, head_dim]` →
/// `[head, query, key]`.
pub fn scores(q: ArrayView3<f32>, keys: ArrayView3<f32>, scale: f32, mask: Mask) -> Array3<f32> {
    let (heads, queries, _) = q.dim();
    let repeat = heads / keys.len_of(Axis(1));
    let mut out = Array3::zeros((heads, queries, keys.len_of(Axis(0))));
    out.outer_iter_mut().into_par_iter().enumerate().for_each(|(head, mut out)| {
        let (q, k) = (q.index_axis(Axis(0), head), keys.index_axis(Axis(1), head / repeat));
        general_mat_mul(1.0, &q, &k.t(), 0.0, &mut out);
        for ((query, key), score) in out.indexed_iter_mut() {
            *score = if mask.allows(query, key) { *score * scale } else { f32::NEG_INFINITY };
        }
    });
    out
}

/// Softmax over the last axis, `[head, query, key]`; the sum is accumulated in f64.
pub fn softmax(scores: ArrayView3<f32>) -> Array3<f32> {
    let mut y = scores.as_standard_layout().into_owned();
    softmax_rows(&mut y);
    y
}

/// The weighted sum of values: `probs` `[head, query, key]`, `values` `[key, kv_head, head_dim]` →
/// `[query, head * head_dim]`, heads side by side.
pub fn context(probs: ArrayView3<f32>, values: ArrayView3<f32>) -> Array2<f32> {
    let (heads, queries, _) = probs.dim();
    let (_, groups, head_dim) = values.dim();
    let repeat = heads / groups;
    let mut out = Array2::zeros((queries, heads * head_dim));
    out.axis_chunks_iter_mut(Axis(1), head_dim).into_par_iter().enumerate().for_each(|(head, mut out)| {
        let (probs, values) = (probs.index_axis(Axis(0), head), values.index_axis(Axis(1), head / repeat));
        general_mat_mul(1.0, &probs, &values, 0.0, &mut out);
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array;

    #[test]
    fn masks_hide_the_future_and_what_left_the_window() {
        let mask = Mask { first: 3, window: Some(2) };
        let seen: Vec<bool> = (0..6).map(|key| mask.allows(1, key)).collect();
        assert_eq!(seen, [false, false, false, true, true, false], "position 4 sees itself and one before");
    }

    #[test]
    fn grouped_heads_read_the_key_head_of_their_group() {
        // head_dim 1, keys and values of kv head g are g + 1, so the scores tell which head was read.
        let q = Array3::ones((4, 1, 1));
        let keys = Array::from_shape_fn((2, 2, 1), |(_, g, _)| (g + 1) as f32);
        let scores = scores(q.view(), keys.view(), 0.5, Mask { first: 1, window: None });
        assert_eq!(scores.iter().copied().collect::<Vec<_>>(), [0.5, 0.5, 0.5, 0.5, 1.0, 1.0, 1.0, 1.0]);
        let context = context(softmax(scores.view()).view(), keys.view());
        assert_eq!(context.row(0).to_vec(), [1.0, 1.0, 2.0, 2.0]);
    }

    #[test]
    fn probabilities_of_masked_keys_are_zero_and_rows_sum_to_one() {
        let q = Array::from_shape_fn((2, 3, 4), |(h, t, i)| (h + t + i) as f32);
        let keys = Array::from_shape_fn((3, 1, 4), |(t, _, i)| (t * i) as f32 * 0.3);
        let probs = softmax(scores(q.view(), keys.view(), 0.5, Mask { first: 0, window: None }).view());
        for row in probs.lanes(Axis(2)) {
            assert!((row.sum() - 1.0).abs() < 1e-6);
        }
        assert_eq!(probs[[1, 0, 1]], 0.0);
    }
}
