//! From the rows of a sequence to one row, and that to length 1: what embedders do behind the last layer.
//!
//! As `Pooling` and `Normalize` of sentence-transformers have it (Reimers and Gurevych, arXiv 1908.10084).

use ndarray::{Array2, ArrayD, ArrayView2, ArrayViewD, Axis};

use super::real::{Real, Rounding};

/// How the rows of a sequence become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// The first: that of `[CLS]`.
    First,
    /// The last.
    Last,
}

impl Pooling {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Mean, Self::First, Self::Last];

    /// What it takes, in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Mean => "the mean of all rows",
            Self::First => "the first row",
            Self::Last => "the last row",
        }
    }
}

/// `[token, channel]` → `[1, channel]`. A mean is a sum, accumulated in f64 and rounded, divided by the count, which is rounded,
/// too.
pub fn pool<T: Real>(x: ArrayView2<T>, how: Pooling, rounding: Rounding) -> Array2<T> {
    let row = match how {
        Pooling::First => x.row(0).to_owned(),
        Pooling::Last => x.row(x.nrows() - 1).to_owned(),
        Pooling::Mean => {
            let mut sums = ndarray::Array1::<f64>::zeros(x.ncols());
            for row in x.rows() {
                sums.zip_mut_with(&row, |sum, v| *sum += v.wide());
            }
            let (mut mean, mut count) = (sums.mapv(T::from_f64), [T::from_f64(x.nrows() as f64)]);
            rounding.round(mean.as_slice_mut().expect("a fresh array is contiguous"));
            rounding.round(&mut count);
            mean.mapv_inplace(|sum| sum / count[0]);
            rounding.round(mean.as_slice_mut().expect("a fresh array is contiguous"));
            mean
        }
    };
    row.insert_axis(Axis(0))
}

/// `x / max(|x|, eps)` over the last axis; the length is accumulated in f64 and rounded.
pub fn unit<T: Real>(x: ArrayViewD<T>, eps: f64, rounding: Rounding) -> ArrayD<T> {
    let mut y = x.as_standard_layout().into_owned();
    for mut row in y.rows_mut() {
        let mut length = [T::from_f64(row.iter().map(|v| v.wide() * v.wide()).sum::<f64>().sqrt())];
        rounding.round(&mut length);
        let length = length[0].max(T::from_f64(eps));
        row.mapv_inplace(|v| v / length);
    }
    rounding.round(y.as_slice_mut().expect("standard layout"));
    y
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn rows_become_one() {
        let x = array![[1.0f32, 8.0], [2.0, 0.0], [6.0, 1.0]];
        let of = |how| pool(x.view(), how, Rounding::None).into_raw_vec_and_offset().0;
        assert_eq!(Pooling::ALL.map(of), [vec![3.0, 3.0], vec![1.0, 8.0], vec![6.0, 1.0]]);
    }

    #[test]
    fn a_row_gets_length_1_and_zeros_stay() {
        let x = array![[3.0f32, 4.0], [0.0, 0.0]].into_dyn();
        assert_eq!(unit(x.view(), 1e-12, Rounding::None), array![[0.6, 0.8], [0.0, 0.0]].into_dyn());
    }
}
