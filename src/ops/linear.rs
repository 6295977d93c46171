//! `y = x Wᵀ + b`: the only place that chooses between matrix-vector and matrix-matrix products, and the only place
//! that widens weights. Weights stay in the dtype they have on disk; a block of rows is widened where it is used.

use half::{bf16, f16};
use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut2, Axis, s};
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

use super::operand::{Operands, flat, least_of_blocks};
use super::real::{Real, Rounding, widen_one_bf16};

/// What a linear layer rounds: its operands, and its result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Format {
    /// The result.
    pub rounding: Rounding,
    /// Matrices of weights; biases have been rounded.
    pub weights: Rounding,
    /// What enters the product.
    pub operands: Operands,
}

impl Format {
    /// Itself, if weights have to be rounded.
    fn filter(self, rounds: bool) -> Option<Self> {
        rounds.then_some(self)
    }

    fn round_weights<T: Real>(self, words: &mut [T]) {
        self.weights.round(words);
        self.operands.round_weights(words);
    }
}

/// The words of a weight matrix, in the dtype they have on disk.
#[derive(Clone, Copy, Debug)]
pub enum Words<'a> {
    /// 32-bit floats.
    F32(&'a [f32]),
    /// IEEE half precision.
    F16(&'a [f16]),
    /// bfloat16: the upper half of an f32.
    Bf16(&'a [bf16]),
}

/// A weight matrix `[out, in]`: row-major, as PyTorch's `nn.Linear` and `nn.Embedding` store it, or column-major, as the
/// `Conv1D` of transformers does.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    rows: usize,
    columns: usize,
    /// Whether the words are those of `[in, out]`.
    transposed: bool,
    words: Words<'a>,
}

impl<'a> Matrix<'a> {
    /// A view of `words` as `[rows, columns]`.
    ///
    /// # Panics
    /// When the number of words is not `rows * columns`: shapes are checked when a model is loaded.
    pub fn new(rows: usize, columns: usize, words: Words<'a>) -> Self {
        let length = match words {
            Words::F32(w) => w.len(),
            Words::F16(w) => w.len(),
            Words::Bf16(w) => w.len(),
        };
        assert_eq!(length, rows * columns, "a [{rows}, {columns}] matrix");
        Self { rows, columns, transposed: false, words }
    }

    /// The same of words that stand column after column.
    ///
    /// # Panics
    /// As [`Matrix::new`].
    pub fn transposed(rows: usize, columns: usize, words: Words<'a>) -> Self {
        Self { transposed: true, ..Self::new(rows, columns, words) }
    }

    /// Output features.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Input features.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Writes the words of one row, from column `first` on, widened, into `out`. Widening is exact.
    fn widen<T: Real>(&self, row: usize, first: usize, out: &mut [T]) {
        if self.transposed {
            for (column, out) in (first..).zip(out) {
                self.widen_words(column * self.rows + row, std::slice::from_mut(out));
            }
            return;
        }
        self.widen_words(row * self.columns + first, out);
    }

    /// The same of words as they are stored, from one on.
    fn widen_words<T: Real>(&self, start: usize, out: &mut [T]) {
        let range = start..start + out.len();
        match self.words {
            Words::F32(w) => T::widen_f32(&w[range], out),
            Words::F16(w) => T::widen_f16(&w[range], out),
            Words::Bf16(w) => T::widen_bf16(&w[range], out),
        }
    }

    /// Whether its words have to be rounded to be of the format `rounding`.
    fn is_finer_than(&self, rounding: Rounding) -> bool {
        !matches!(
            (rounding, self.words),
            (Rounding::None, _) | (Rounding::F16, Words::F16(_)) | (Rounding::Bf16, Words::Bf16(_))
        )
    }
}

/// Rows of the embedding table: `ids` → `[token, hidden]`. Ids are checked against the vocabulary at the door.
pub fn embed<T: Real>(ids: &[u32], table: &Matrix, rounding: Rounding) -> Array2<T> {
    let mut out = Array2::zeros((ids.len(), table.columns));
    for (id, mut row) in ids.iter().zip(out.rows_mut()) {
        let row = row.as_slice_mut().expect("rows of a fresh array are contiguous");
        table.widen(*id as usize, 0, row);
        rounding.round(row);
    }
    out
}

/// With at most this many rows of `x`, each weight row is read once and used while it is in registers; above it the
/// blocked product wins: on Qwen2.5-0.5B's shape, one thread took 79 ms for one row, 284 ms for four, and by the blocked
/// product 336 ms for five and 367 ms for eight.
const FEW_TOKENS: usize = 4;

/// Weight rows handled by one task: fixed, so that results do not depend on the number of threads.
const BLOCK_ROWS: usize = 256;

/// At most this many columns of them are widened at a time: 1 MiB of f32 words, a second-level cache.
const STRIP_COLUMNS: usize = 1024;

/// `x Wᵀ + b` for `x` `[token, in]`, `weight` `[out, in]`, `bias` `[out]` → `[token, out]`.
/// Weights are rounded first, then the sum.
pub fn linear<T: Real>(x: ArrayView2<T>, weight: &Matrix, bias: Option<ArrayView1<f32>>, format: Format) -> Array2<T> {
    assert_eq!(x.ncols(), weight.columns, "input features of a linear layer");
    let rounding = format.rounding;
    let mut y = Array2::zeros((x.nrows(), weight.rows));
    if y.is_empty() {
        return y;
    }
    let corrections = format.operands.corrections(x);
    let x = format.operands.round(x.into_dyn());
    let x = flat(&x);
    let x = x.as_standard_layout();
    let bias = bias.map(|bias| bias.mapv(T::of));
    y.axis_chunks_iter_mut(Axis(1), BLOCK_ROWS).into_par_iter().enumerate().for_each(|(index, mut y)| {
        let first = index * BLOCK_ROWS;
        if x.nrows() <= FEW_TOKENS && !weight.transposed {
            matrix_vectors(x.view(), weight, first, format, &mut y);
        } else {
            matrix_matrix(x.view(), weight, first, format, &mut y);
        }
        if let Some(corrections) = &corrections {
            add_corrections(corrections.view(), weight, first, &mut y);
        }
        if let Some(bias) = &bias {
            y += &bias.slice(s![first..first + y.ncols()]);
        }
    });
    rounding.round(y.as_slice_mut().expect("a fresh array is contiguous"));
    y
}

/// Adds what Q8_1 keeps apart: for each block of 32, its correction times the least weight.
fn add_corrections<T: Real>(corrections: ArrayView2<T>, weight: &Matrix, first: usize, y: &mut ArrayViewMut2<T>) {
    let mut words = vec![T::zero(); weight.columns];
    for (row, mut y) in y.columns_mut().into_iter().enumerate() {
        weight.widen(first + row, 0, &mut words);
        let least = least_of_blocks(&words);
        for (y, corrections) in y.iter_mut().zip(corrections.rows()) {
            *y += corrections.iter().zip(&least).fold(T::zero(), |sum, (c, m)| sum + *c * *m);
        }
    }
}

/// `y = x W[first..]ᵀ`, a strip of columns at a time: widened, then multiplied.
fn matrix_matrix<T: Real>(x: ArrayView2<T>, weight: &Matrix, first: usize, format: Format, y: &mut ArrayViewMut2<T>) {
    let (rows, columns) = (y.ncols(), weight.columns);
    let round = weight.is_finer_than(format.weights) || format.operands.touches_weights();
    if weight.transposed {
        columns_in_strips(weight, first, rows, format.filter(round), |column, strip| {
            multiply(x.slice(s![.., column..column + strip.nrows()]), strip.t(), y, column > 0);
        });
        return;
    }
    if let (Words::F32(words), false) = (weight.words, round)
        && let Some(words) = T::same(&words[first * columns..(first + rows) * columns])
    {
        let w = ArrayView2::from_shape((rows, columns), words).expect("the slice holds rows * columns words");
        multiply(x, w, y, false);
        return;
    }
    // Strips of equal width: a power of two would map every row to the same lines of the cache.
    let strip = columns.div_ceil(columns.div_ceil(STRIP_COLUMNS)).next_multiple_of(16);
    T::with_scratch(|scratch| {
        for column in (0..columns).step_by(strip) {
            let width = strip.min(columns - column);
            scratch.resize(rows * width, T::zero());
            for (row, words) in scratch.chunks_exact_mut(width).enumerate() {
                weight.widen(first + row, column, words);
                if round {
                    format.round_weights(words);
                }
            }
            let w = ArrayView2::from_shape((rows, width), scratch.as_slice()).expect("just resized");
            multiply(x.slice(s![.., column..column + width]), w, y, column > 0);
        }
    });
}

/// Columns of a matrix that is stored column after column, a strip at a time: `(first column, [column, row])`.
fn columns_in_strips<T: Real>(
    weight: &Matrix,
    first: usize,
    rows: usize,
    rounded: Option<Format>,
    mut take: impl FnMut(usize, ArrayView2<T>),
) {
    T::with_scratch(|scratch| {
        for column in (0..weight.columns).step_by(STRIP_COLUMNS) {
            let width = STRIP_COLUMNS.min(weight.columns - column);
            scratch.resize(rows * width, T::zero());
            for (offset, words) in scratch.chunks_exact_mut(rows).enumerate() {
                weight.widen_words((column + offset) * weight.rows + first, words);
                if let Some(format) = rounded {
                    format.round_weights(words);
                }
            }
            take(column, ArrayView2::from_shape((width, rows), scratch.as_slice()).expect("just resized"));
        }
    });
}

/// `y = x wᵀ`, or `y += x wᵀ`, on one thread.
#[expect(unsafe_code, reason = "the blocked product of crate gemm takes pointers")]
fn multiply<T: Real>(x: ArrayView2<T>, w: ArrayView2<T>, y: &mut ArrayViewMut2<T>, add: bool) {
    let (tokens, inner, rows) = (x.nrows(), x.ncols(), w.nrows());
    assert_eq!((w.ncols(), y.dim()), (inner, (tokens, rows)), "shapes of a product");
    let (xs, ws, ys) = (x.strides(), w.strides(), [y.strides()[0], y.strides()[1]]);
    // SAFETY: the pointers and strides are those of live views, whose lengths are the dimensions passed, as the assertion
    // proves; `y` is borrowed mutably, so it overlaps neither `x` nor `w`.
    unsafe {
        gemm::gemm(
            tokens,
            rows,
            inner,
            y.as_mut_ptr(),
            ys[1],
            ys[0],
            add,
            x.as_ptr(),
            xs[1],
            xs[0],
            w.as_ptr(),
            ws[0],
            ws[1],
            T::one(),
            T::one(),
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// `y = x W[first..]ᵀ` row by row: every weight is read from memory once.
fn matrix_vectors<T: Real>(x: ArrayView2<T>, weight: &Matrix, first: usize, format: Format, y: &mut ArrayViewMut2<T>) {
    let columns = weight.columns;
    let x = x.as_slice().expect("linear() passes x in standard layout");
    let round = weight.is_finer_than(format.weights) || format.operands.touches_weights();
    // The conversion of f16 has no vector form that a compiler finds by itself: a row is widened by the library.
    let mut widened = vec![T::zero(); if round || matches!(weight.words, Words::F16(_)) { columns } else { 0 }];
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            for (row, mut y) in y.columns_mut().into_iter().enumerate() {
                let row = first + row;
                let range = row * columns..(row + 1) * columns;
                weight.widen(row, 0, &mut widened);
                if round {
                    format.round_weights(&mut widened);
                }
                for (x, y) in x.chunks_exact(columns).zip(&mut y) {
                    *y = match weight.words {
                        Words::F32(w) if !round => dot(x, &w[range.clone()], T::of),
                        Words::Bf16(w) if !round => dot(x, &w[range.clone()], |w| T::of(widen_one_bf16(w))),
                        _ => dot(x, &widened, |w| w),
                    };
                }
            }
        },
    );
}

/// Partial sums kept side by side: enough for four vector registers of 16 lanes, and the same sums on every machine.
const LANES: usize = 64;

/// The dot product of `x` and `w`, in a fixed order of summation.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "inside `dispatch` it is compiled for the processor's vectors only when inlined"
)]
fn dot<T: Real, W: Copy>(x: &[T], w: &[W], widen: impl Fn(W) -> T) -> T {
    let mut sums = [T::zero(); LANES];
    let (x_blocks, x_rest) = x.as_chunks::<LANES>();
    let (w_blocks, w_rest) = w.as_chunks::<LANES>();
    for (x, w) in x_blocks.iter().zip(w_blocks) {
        for lane in 0..LANES {
            sums[lane] += x[lane] * widen(w[lane]);
        }
    }
    let rest = x_rest.iter().zip(w_rest).fold(T::zero(), |sum, (x, w)| sum + *x * widen(*w));
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            let upper = sums[lane + width];
            sums[lane] += upper;
        }
    }
    sums[0] + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small integers: every product and sum is exact in f32, so every path must give the same bits.
    fn integers(rows: usize, columns: usize, seed: usize) -> Array2<f32> {
        Array2::from_shape_fn((rows, columns), |(i, j)| ((i * 7 + j * 13 + seed) % 11) as f32 - 5.0)
    }

    #[test]
    fn every_path_and_dtype_gives_the_exact_product() {
        for tokens in [1, 3, 4, 5, 33] {
            for (rows, columns) in [(1, 1), (5, 64), (130, 70), (300, 897)] {
                let x = integers(tokens, columns, 1);
                let w = integers(rows, columns, 2);
                let bias = integers(1, rows, 3).remove_axis(Axis(0));
                let exact = x.dot(&w.t()) + &bias;
                let f32s = w.as_slice().expect("contiguous");
                let f16s: Vec<f16> = f32s.iter().map(|v| f16::from_f32(*v)).collect();
                let bf16s: Vec<bf16> = f32s.iter().map(|v| bf16::from_f32(*v)).collect();
                let turned: Vec<f32> = w.t().iter().copied().collect();
                let turned_bf16s: Vec<bf16> = turned.iter().map(|v| bf16::from_f32(*v)).collect();
                let matrices = [Words::F32(f32s), Words::F16(&f16s), Words::Bf16(&bf16s)]
                    .map(|words| Matrix::new(rows, columns, words))
                    .into_iter()
                    .chain(
                        [Words::F32(&turned), Words::Bf16(&turned_bf16s)].map(|w| Matrix::transposed(rows, columns, w)),
                    );
                for matrix in matrices {
                    let y = linear(x.view(), &matrix, Some(bias.view()), Format::default());
                    assert_eq!(y, exact, "{tokens} tokens, [{rows}, {columns}], {matrix:?}");
                }
            }
        }
    }

    #[test]
    fn embedding_rows_are_widened_exactly() {
        let words: Vec<bf16> = (0..12).map(|v| bf16::from_f32(v as f32 / 3.0)).collect();
        let rows = embed::<f32>(&[2, 0], &Matrix::new(3, 4, Words::Bf16(&words)), Rounding::None);
        assert_eq!(rows.row(0).to_vec(), words[8..].iter().map(|w| w.to_f32()).collect::<Vec<_>>());
        assert_eq!(rows.row(1).to_vec(), words[..4].iter().map(|w| w.to_f32()).collect::<Vec<_>>());
    }
}
