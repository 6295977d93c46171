//! A mixture of experts: a router gives each token a weight for some of them, each of those computes, and the results are
//! added up with their weights.
//!
//! Shazeer et al., arXiv 1701.06538; order of operations as in `Qwen3MoeSparseMoeBlock` of transformers. The chosen experts
//! of a token stand in slots by rising number, so that nothing depends on the order in which they were chosen.

use ndarray::{Array1, Array2, Array3, ArrayView1, ArrayView2, ArrayViewD, Axis, Ix2, Ix3};

use super::linear::{Format, Matrix, linear};
use super::real::{Real, Rounding};

/// The experts of a token, by rising number: those whose weight is not 0; of more than `top_k` the heaviest.
pub fn chosen<T: Real>(weights: ArrayView1<T>, top_k: usize) -> Vec<usize> {
    let mut experts: Vec<usize> = (0..weights.len()).filter(|expert| weights[*expert] != T::zero()).collect();
    if experts.len() > top_k {
        experts.sort_by(|a, b| weights[*b].wide().total_cmp(&weights[*a].wide()).then(a.cmp(b)));
        experts.truncate(top_k);
        experts.sort_unstable();
    }
    experts
}

/// What each expert multiplies with, and adds.
#[derive(Clone, Copy, Debug)]
pub struct ExpertWeights<'a> {
    /// One `[out, in]` each.
    pub matrices: &'a [Matrix<'a>],
    /// One `[out]` each.
    pub biases: Option<&'a [Array1<f32>]>,
}

/// `x Wᵀ + b` with the matrix of each chosen expert, rounded before and after the bias: `x` `[token, in]`, the same for every expert, or `[token, slot, in]`;
/// `routing` `[token, expert]` → `[token, slot, out]`, 0 in slots that no expert has.
pub fn expert_linear<T: Real>(
    x: ArrayViewD<T>,
    routing: ArrayView2<T>,
    weights: ExpertWeights,
    top_k: usize,
    format: Format,
) -> Array3<T> {
    let tokens = routing.nrows();
    let (width, out) = (x.shape()[x.ndim() - 1], weights.matrices.first().map_or(0, Matrix::rows));
    let slots: Vec<Vec<usize>> = routing.rows().into_iter().map(|row| chosen(row, top_k)).collect();
    let mut y = Array3::zeros((tokens, top_k, out));
    for (expert, matrix) in weights.matrices.iter().enumerate() {
        let place = |token: usize| slots[token].iter().position(|chosen| *chosen == expert).map(|slot| (token, slot));
        let places: Vec<(usize, usize)> = (0..tokens).filter_map(place).collect();
        if places.is_empty() {
            continue;
        }
        let mut rows = Array2::zeros((places.len(), width));
        for ((token, slot), mut row) in places.iter().zip(rows.rows_mut()) {
            let own = x.index_axis(Axis(0), *token);
            row.assign(&if own.ndim() == 1 { own } else { own.index_axis_move(Axis(0), *slot) });
        }
        let mut found = linear(rows.view(), matrix, None, format);
        if let Some(biases) = weights.biases {
            found += &biases[expert].mapv(T::of);
            format.rounding.round(found.as_slice_mut().expect("a fresh array is contiguous"));
        }
        for ((token, slot), found) in places.iter().zip(found.rows()) {
            y.index_axis_mut(Axis(0), *token).index_axis_mut(Axis(0), *slot).assign(&found);
        }
    }
    y
}

/// `x` `[token, channel]` times the weight of each chosen expert, rounded: `[token, slot, channel]`, 0 in slots that no expert has.
pub fn weigh<T: Real>(x: ArrayView2<T>, routing: ArrayView2<T>, top_k: usize, rounding: Rounding) -> Array3<T> {
    let mut y = Array3::zeros((x.nrows(), top_k, x.ncols()));
    for ((x, weights), mut slots) in x.rows().into_iter().zip(routing.rows()).zip(y.outer_iter_mut()) {
        for (expert, mut slot) in chosen(weights, top_k).into_iter().zip(slots.rows_mut()) {
            slot.assign(&x.mapv(|x| x * weights[expert]));
        }
    }
    rounding.round(y.as_slice_mut().expect("a fresh array is contiguous"));
    y
}

/// The experts' outputs `[token, slot, channel]` added up, rounded once → `[token, channel]`.
pub fn total<T: Real>(outputs: ArrayViewD<T>, rounding: Rounding) -> Array2<T> {
    let outputs = outputs.into_dimensionality::<Ix3>().expect("outputs have three axes");
    let mut y = outputs.sum_axis(Axis(1));
    rounding.round(y.as_slice_mut().expect("a fresh array is contiguous"));
    y
}

/// The experts' outputs `[token, slot, channel]` times their weights `[token, expert]`, added up by rising number, each
/// product and each sum rounded → `[token, channel]`.
pub fn combine<T: Real>(outputs: ArrayViewD<T>, routing: ArrayViewD<T>, rounding: Rounding) -> Array2<T> {
    let outputs = outputs.into_dimensionality::<Ix3>().expect("outputs have three axes");
    let routing = routing.into_dimensionality::<Ix2>().expect("weights have two axes");
    let (tokens, slots, width) = outputs.dim();
    let mut y = Array2::zeros((tokens, width));
    let mut product = vec![T::zero(); width];
    for (token, mut y) in y.rows_mut().into_iter().enumerate() {
        let y = y.as_slice_mut().expect("rows of a fresh array are contiguous");
        for (slot, expert) in chosen(routing.row(token), slots).into_iter().enumerate() {
            let weight = routing[[token, expert]];
            let output = outputs.index_axis(Axis(0), token).index_axis_move(Axis(0), slot);
            product.iter_mut().zip(&output).for_each(|(product, output)| *product = *output * weight);
            rounding.round(&mut product);
            y.iter_mut().zip(&product).for_each(|(y, product)| *y += *product);
            rounding.round(y);
        }
    }
    y
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Words;
    use ndarray::array;

    #[test]
    fn each_chosen_expert_computes_in_its_slot() {
        let words: Vec<f32> = vec![1.0, 10.0, 100.0];
        let matrices: Vec<Matrix> = (0..3).map(|e| Matrix::new(1, 1, Words::F32(&words[e..=e]))).collect();
        let biases = [array![0.0], array![0.5], array![0.0]];
        let weights = ExpertWeights { matrices: &matrices, biases: Some(&biases) };
        let routing = array![[0.5f32, 0.0, 0.25], [0.0, 1.0, 0.0]];
        let x = array![[2.0f32], [3.0]];
        let y = expert_linear(x.view().into_dyn(), routing.view(), weights, 2, Format::default());
        assert_eq!(y.iter().copied().collect::<Vec<_>>(), [2.0, 200.0, 30.5, 0.0]);
        let sum = combine(y.view().into_dyn(), routing.view().into_dyn(), Rounding::None);
        assert_eq!(sum.iter().copied().collect::<Vec<_>>(), [51.0, 30.5]);
    }
}
