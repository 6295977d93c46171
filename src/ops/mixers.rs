//! What mixes tokens in the place of attention: a convolution over the last of them, and a state that each of them changes.
//!
//! The state is computed from the first position on, from what every token brought to it: so it depends on nothing but what a
//! run keeps of the tokens so far, as attention does. Order of operations as in the pure PyTorch functions of transformers.

use ndarray::{Array2, ArrayView1, ArrayView2, ArrayView3, Axis};
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

use super::real::{Real, Rounding};

/// `y[t, c] = Σ_j w[c, j] x[t + j - taps + 1, c] + b[c]` of the tokens from `first` on; what stands before position 0 is zero.
///
/// `x` is `[position, 1, channel]`, `weight` `[channel, tap]`, the last tap being that of the token itself.
pub fn causal_convolution<T: Real>(
    x: ArrayView3<T>,
    weight: ArrayView2<f32>,
    bias: Option<ArrayView1<f32>>,
    first: usize,
    rounding: Rounding,
) -> Array2<T> {
    let x = x.index_axis_move(Axis(1), 0);
    let (positions, channels) = x.dim();
    let taps = weight.len_of(Axis(1));
    let mut y = Array2::zeros((positions - first, channels));
    for (token, mut row) in y.rows_mut().into_iter().enumerate() {
        for tap in 0..taps {
            let Some(from) = (first + token + tap + 1).checked_sub(taps) else { continue };
            for ((y, x), w) in row.iter_mut().zip(x.row(from)).zip(weight.column(tap)) {
                *y += *x * T::of(*w);
            }
        }
        if let Some(bias) = bias {
            row.iter_mut().zip(bias).for_each(|(y, bias)| *y += T::of(*bias));
        }
    }
    rounding.round(y.as_slice_mut().expect("a fresh array is contiguous"));
    y
}

/// `x / sqrt(Σ x² + eps)` of each head of `width` channels: `l2norm` of transformers, in f32 whatever a run is rounded to.
pub fn unit_length<T: Real>(x: ArrayView2<T>, width: usize, eps: f64) -> Array2<T> {
    let mut y = x.as_standard_layout().into_owned();
    for head in y.as_slice_mut().expect("standard layout").chunks_exact_mut(width) {
        let square: f64 = head.iter().map(|x| x.wide() * x.wide()).sum();
        let factor = T::from_f64((square + eps).sqrt().recip());
        for x in head {
            *x *= factor;
        }
    }
    y
}

/// `-exp(rate) softplus(x + bias)` of each head, or `-exp(rate) x` without a bias, `[token, head]`: the logarithm of what a
/// token leaves of the state, in f32 whatever a run is rounded to.
pub fn decay<T: Real>(x: ArrayView2<T>, rate: ArrayView1<f32>, bias: Option<ArrayView1<f32>>) -> Array2<T> {
    let mut y = x.to_owned();
    for mut row in y.rows_mut() {
        for (head, (x, rate)) in row.iter_mut().zip(rate).enumerate() {
            let step = bias.map_or(*x, |bias| softplus(*x + T::of(bias[head])));
            *x = -T::of(*rate).exponential() * step;
        }
    }
    y
}

/// `softplus(x + bias)` of each head, `[token, head]`: the step of time by which a token moves the state. Gu and Dao, arXiv
/// 2312.00752.
pub fn time_step<T: Real>(x: ArrayView2<T>, bias: ArrayView1<f32>, rounding: Rounding) -> Array2<T> {
    let mut y = x.as_standard_layout().into_owned();
    for mut row in y.rows_mut() {
        row.iter_mut().zip(bias).for_each(|(x, bias)| *x += T::of(*bias));
    }
    rounding.round(y.as_slice_mut().expect("standard layout"));
    y.mapv_inplace(softplus);
    rounding.round(y.as_slice_mut().expect("standard layout"));
    y
}

/// `ln(1 + eˣ)`; PyTorch takes `x` itself above 20.
pub(super) fn softplus<T: Real>(x: T) -> T {
    if x.wide() > 20.0 { x } else { T::from_f64(x.wide().exp().ln_1p()) }
}

/// What tokens bring to a state, from position 0 on, and what asks it.
#[derive(Clone, Copy, Debug)]
pub struct Brought<'a, T> {
    /// `[token, key head * key channel]` of the last tokens.
    pub queries: ArrayView2<'a, T>,
    /// `[position, key head, key channel]`
    pub keys: ArrayView3<'a, T>,
    /// `[position, head, channel]`
    pub values: ArrayView3<'a, T>,
    /// The logarithm of what is left of the state, `[position, head, 1]`.
    pub decay: ArrayView3<'a, T>,
    /// How much of a value is written, `[position, head, 1]`.
    pub write: ArrayView3<'a, T>,
}

/// `S = eᵍ S; S += k (β (v - Sᵀ k))ᵀ; o = scale Sᵀ q` of each head, `[token, head * channel]`: Yang et al., arXiv 2412.06464;
/// `torch_recurrent_gated_delta_rule` of transformers. `groups` has the key head of each head.
pub fn delta_rule<T: Real>(delta: &Brought<T>, groups: &[usize], scale: f64, rounding: Rounding) -> Array2<T> {
    let (positions, heads, width) = delta.values.dim();
    let (tokens, keys) = (delta.queries.len_of(Axis(0)), delta.keys.len_of(Axis(2)));
    let scale = T::from_f64(scale);
    let of_head = |head: usize| -> Vec<T> {
        let mut state = vec![T::zero(); keys * width];
        let mut given = Vec::with_capacity(tokens * width);
        let (mut seen, mut asked) = (vec![T::zero(); width], vec![T::zero(); width]);
        for position in 0..positions {
            let key = delta.keys.index_axis(Axis(0), position).index_axis_move(Axis(0), groups[head]);
            let left = delta.decay[[position, head, 0]].exponential();
            seen.fill(T::zero());
            for (row, key) in state.chunks_exact_mut(width).zip(key) {
                for (cell, seen) in row.iter_mut().zip(&mut seen) {
                    *cell *= left;
                    *seen += *cell * *key;
                }
            }
            let value = delta.values.index_axis(Axis(0), position).index_axis_move(Axis(0), head);
            let write = delta.write[[position, head, 0]];
            for (seen, value) in seen.iter_mut().zip(value) {
                *seen = (*value - *seen) * write;
            }
            for (row, key) in state.chunks_exact_mut(width).zip(key) {
                row.iter_mut().zip(&seen).for_each(|(cell, new)| *cell += *key * *new);
            }
            let Some(token) = (position + tokens).checked_sub(positions) else { continue };
            let query = delta.queries.row(token);
            asked.fill(T::zero());
            for (row, query) in state.chunks_exact(width).zip(query.iter().skip(groups[head] * keys)) {
                let query = *query * scale;
                row.iter().zip(&mut asked).for_each(|(cell, asked)| *asked += *cell * query);
            }
            given.extend_from_slice(&asked);
        }
        given
    };
    let given: Vec<Vec<T>> = (0..heads).into_par_iter().with_min_len(1).map(of_head).collect();
    let mut all = Array2::from_shape_fn((tokens, heads * width), |(token, channel)| {
        given[channel / width][token * width + channel % width]
    });
    rounding.round(all.as_slice_mut().expect("a fresh array is contiguous"));
    all
}

/// `S = eᵍ S + (Δ B) xᵀ; y = Sᵀ C + D x` of each head, `[token, head * channel]`: Dao and Gu, arXiv 2405.21060;
/// `mamba2_selective_state_update` of transformers, which rounds what is written, what the state is read as, and each term. B are
/// the keys, C the queries, x the values, and Δ is how much is written; `groups` has the group of B and C of each head.
pub fn selective_scan<T: Real>(
    brought: &Brought<T>,
    skip: ArrayView1<f32>,
    groups: &[usize],
    rounding: Rounding,
) -> Array2<T> {
    let (positions, heads, width) = brought.values.dim();
    let (tokens, channels) = (brought.queries.len_of(Axis(0)), brought.keys.len_of(Axis(2)));
    let rounded = |x: T| {
        let mut x = [x];
        rounding.round(&mut x);
        x[0]
    };
    let of_head = |head: usize| -> Vec<T> {
        let mut state = vec![T::zero(); channels * width];
        let mut given = Vec::with_capacity(tokens * width);
        let skip = T::of(skip[head]);
        for position in 0..positions {
            let key = brought.keys.index_axis(Axis(0), position).index_axis_move(Axis(0), groups[head]);
            let value = brought.values.index_axis(Axis(0), position).index_axis_move(Axis(0), head);
            let left = brought.decay[[position, head, 0]].exponential();
            let write = brought.write[[position, head, 0]];
            for (row, key) in state.chunks_exact_mut(width).zip(key) {
                let written = rounded(write * *key);
                row.iter_mut().zip(value).for_each(|(cell, x)| *cell = *cell * left + rounded(written * *x));
            }
            let Some(token) = (position + tokens).checked_sub(positions) else { continue };
            let mut asked = vec![T::zero(); width];
            let query = brought.queries.row(token);
            for (row, query) in state.chunks_exact(width).zip(query.iter().skip(groups[head] * channels)) {
                row.iter().zip(&mut asked).for_each(|(cell, asked)| *asked += rounded(*cell) * *query);
            }
            given.extend(asked.iter().zip(value).map(|(asked, x)| rounded(rounded(*asked) + rounded(*x * skip))));
        }
        given
    };
    let given: Vec<Vec<T>> = (0..heads).into_par_iter().with_min_len(1).map(of_head).collect();
    Array2::from_shape_fn((tokens, heads * width), |(token, channel)| {
        given[channel / width][token * width + channel % width]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array3, array};

    #[test]
    fn a_convolution_sees_the_last_positions() {
        let x =
            Array3::from_shape_vec((4, 1, 2), vec![1.0f32, 10.0, 2.0, 20.0, 3.0, 30.0, 4.0, 40.0]).expect("8 numbers");
        let weight = array![[100.0f32, 10.0, 1.0], [0.0, 0.0, 1.0]];
        let y = causal_convolution(x.view(), weight.view(), None, 0, Rounding::None);
        assert_eq!(y, array![[1.0, 10.0], [12.0, 20.0], [123.0, 30.0], [234.0, 40.0]]);
        let last = causal_convolution(x.view(), weight.view(), Some(array![0.5f32, 0.0].view()), 3, Rounding::None);
        assert_eq!(last, array![[234.5, 40.0]]);
    }

    #[test]
    fn a_state_forgets_and_overwrites() {
        // One key of one channel: what is written is read, and half of it is left after the next token.
        let column = |of: [f32; 2]| Array3::from_shape_vec((2, 1, 1), of.to_vec()).expect("2 numbers");
        let (keys, values, write) = (column([1.0, 0.0]), column([3.0, 9.0]), column([1.0, 1.0]));
        let decay = column([0.0, -std::f32::consts::LN_2]);
        let queries = array![[1.0f32], [1.0]];
        let delta = Brought {
            queries: queries.view(),
            keys: keys.view(),
            values: values.view(),
            decay: decay.view(),
            write: write.view(),
        };
        assert_eq!(delta_rule(&delta, &[0], 2.0, Rounding::None), array![[6.0], [3.0]]);
        let alike = column([1.0, 1.0]);
        let again = Brought { keys: alike.view(), ..delta };
        assert_eq!(delta_rule(&again, &[0], 1.0, Rounding::None), array![[3.0], [9.0]]);
    }

    #[test]
    fn a_scan_adds_what_time_lets_in() {
        // Half of the state is left of each token; the second head reads the same B and C.
        let half = -std::f32::consts::LN_2;
        let keys = Array3::from_shape_vec((2, 1, 2), vec![1.0f32, 0.0, 1.0, 2.0]).expect("4 numbers");
        let values = Array3::from_shape_vec((2, 2, 1), vec![4.0f32, 8.0, 1.0, 3.0]).expect("4 numbers");
        let (decay, write) = (Array3::from_elem((2, 2, 1), half), Array3::from_elem((2, 2, 1), 0.5f32));
        let queries = array![[1.0f32, 1.0]];
        let brought = Brought {
            queries: queries.view(),
            keys: keys.view(),
            values: values.view(),
            decay: decay.view(),
            write: write.view(),
        };
        let y = selective_scan(&brought, array![0.0f32, 10.0].view(), &[0, 0], Rounding::None);
        // 0.5 * 2 + 0.5 * 1 * (1 + 2), and 0.5 * 4 + 0.5 * 3 * (1 + 2) + 10 * 3.
        assert_eq!(y, array![[2.5, 36.5]]);
    }

    #[test]
    fn softplus_of_large_numbers_is_the_number() {
        assert_eq!(softplus(30.0f32), 30.0);
        assert!((softplus(0.0f64) - std::f64::consts::LN_2).abs() < 1e-15);
    }
}
