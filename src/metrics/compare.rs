//! The distance between two arrays of one shape.

use ndarray::{ArrayView1, ArrayViewD, Axis};
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

/// How far `values` lie from `expected`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// Relative L2 error: `|values - expected| / |expected|`; infinite when only `expected` is zero or when one side has a
    /// NaN or an infinity that the other has not.
    pub error: f64,
    /// Cosine of the angle between them, -1 to 1; 1 when both are zero, NaN when only one is.
    pub cosine: f64,
    /// Largest absolute difference.
    pub max_abs: f64,
    /// Where it is; `None` when there is none.
    pub worst: Option<Vec<usize>>,
    /// Relative L2 error of each row: the first row that is wrong says where an error starts.
    pub row_errors: Vec<f64>,
    /// Number of elements compared.
    pub count: usize,
    /// Elements that are NaN or infinite on one side only, or infinite with other signs.
    pub unequal_specials: usize,
}

/// Compares two arrays of one shape, `[.., row, column]`, over the elements for which `included(row, column)` holds.
///
/// # Panics
/// When the shapes differ, or when there are no axes.
pub fn compare<T: Copy + Into<f64> + Sync>(
    values: ArrayViewD<T>,
    expected: ArrayViewD<T>,
    included: impl Fn(usize, usize) -> bool + Sync,
) -> Comparison {
    assert_eq!(values.shape(), expected.shape(), "compared arrays have one shape");
    let shape = values.shape();
    let last = Axis(shape.len() - 1);
    let rows = if shape.len() > 1 { shape[shape.len() - 2] } else { 1 };
    let pairs: Vec<_> = values.lanes(last).into_iter().zip(expected.lanes(last)).enumerate().collect();
    // Summed in their order, whatever the number of threads.
    let lanes: Vec<Lane> = pairs
        .into_par_iter()
        .with_min_len(16)
        .map(|(lane, (a, b))| compare_lane(a, b, |column| included(lane % rows, column)))
        .collect();
    let (mut differences, mut norms) = (vec![0.0f64; rows], vec![0.0f64; rows]);
    let (mut dot, mut norm_values) = (0.0f64, 0.0f64);
    let (mut max_abs, mut worst) = (0.0f64, None);
    let (mut count, mut unequal_specials) = (0, 0);
    for (index, lane) in lanes.iter().enumerate() {
        if lane.max_abs > max_abs {
            (max_abs, worst) = (lane.max_abs, Some((index, lane.worst)));
        }
        differences[index % rows] += if lane.unequal_specials > 0 { f64::INFINITY } else { lane.difference };
        norms[index % rows] += lane.norm;
        norm_values += lane.norm_values;
        dot += lane.dot;
        count += lane.count;
        unequal_specials += lane.unequal_specials;
    }
    let norm: f64 = norms.iter().sum();
    Comparison {
        error: relative(differences.iter().sum(), norm),
        cosine: if max_abs == 0.0 && unequal_specials == 0 {
            1.0
        } else {
            (dot / (norm.sqrt() * norm_values.sqrt())).clamp(-1.0, 1.0)
        },
        max_abs,
        worst: worst.map(|(lane, column)| index_of_lane(lane, column, shape)),
        row_errors: differences.iter().zip(&norms).map(|(d, n)| relative(*d, *n)).collect(),
        count,
        unequal_specials,
    }
}

/// Relative L2 error of values of which all count: not a number, or infinite, where one of them is.
pub fn relative_error<'a>(
    values: impl IntoIterator<Item = &'a f32>,
    expected: impl IntoIterator<Item = &'a f32>,
) -> f64 {
    let (mut difference, mut norm) = (0.0, 0.0);
    for (a, b) in values.into_iter().zip(expected) {
        let (a, b) = (f64::from(*a), f64::from(*b));
        difference += (a - b) * (a - b);
        norm += b * b;
    }
    if difference == 0.0 { 0.0 } else { (difference / norm).sqrt() }
}

/// Sums over one lane of the last axis.
#[derive(Clone, Copy, Debug, Default)]
struct Lane {
    difference: f64,
    norm: f64,
    norm_values: f64,
    dot: f64,
    max_abs: f64,
    worst: usize,
    count: usize,
    unequal_specials: usize,
}

fn compare_lane<T: Copy + Into<f64>>(
    values: ArrayView1<T>,
    expected: ArrayView1<T>,
    included: impl Fn(usize) -> bool,
) -> Lane {
    let mut lane = Lane::default();
    for (column, (a, b)) in values.iter().zip(expected).enumerate().filter(|(column, _)| included(*column)) {
        lane.count += 1;
        let (a, b): (f64, f64) = ((*a).into(), (*b).into());
        let difference = if a == b || (a.is_nan() && b.is_nan()) { 0.0 } else { (a - b).abs() };
        let size = if difference.is_nan() { f64::INFINITY } else { difference };
        if size > lane.max_abs {
            (lane.max_abs, lane.worst) = (size, column);
        }
        if !difference.is_finite() {
            lane.unequal_specials += 1;
        } else if a.is_finite() && b.is_finite() {
            lane.difference += difference * difference;
            lane.norm += b * b;
            lane.norm_values += a * a;
            lane.dot += a * b;
        }
    }
    lane
}

/// The index of an element, from the number of its lane along the last axis and its place in it.
pub(super) fn index_of_lane(mut lane: usize, column: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = vec![column];
    for length in shape[..shape.len() - 1].iter().rev() {
        index.push(lane % length);
        lane /= length;
    }
    index.reverse();
    index
}

fn relative(difference: f64, norm: f64) -> f64 {
    if difference == 0.0 { 0.0 } else { difference.sqrt() / norm.sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn all(_: usize, _: usize) -> bool {
        true
    }

    #[test]
    fn a_known_distance() {
        let a = array![[3.0f32, 0.0], [0.0, 5.0]].into_dyn();
        let b = array![[3.0f32, 0.0], [0.0, 4.0]].into_dyn();
        let c = compare(a.view(), b.view(), all);
        assert!((c.error - 0.2).abs() < 1e-12 && (c.cosine - 29.0 / (34.0f64 * 25.0).sqrt()).abs() < 1e-12);
        assert_eq!((c.max_abs, c.worst), (1.0, Some(vec![1, 1])));
        assert_eq!(c.row_errors, [0.0, 0.25]);
    }

    #[test]
    fn rows_of_three_axes_are_counted_along_the_second() {
        let b = ndarray::Array3::<f32>::ones((2, 3, 4)).into_dyn();
        let mut a = b.clone();
        a[[1, 2, 3]] = 3.0;
        let c = compare(a.view(), b.view(), all);
        assert_eq!(c.worst, Some(vec![1, 2, 3]));
        assert_eq!(c.row_errors, [0.0, 0.0, 2.0 / 8.0f64.sqrt()]);
        assert_eq!(compare(a.view(), b.view(), |row, column| (row, column) != (2, 3)).error, 0.0);
    }

    #[test]
    fn specials_count_only_where_they_differ() {
        let a = array![f32::NAN, f32::NEG_INFINITY, f32::INFINITY, 1.0].into_dyn();
        let same = compare(a.view(), a.view(), all);
        assert_eq!((same.error, same.unequal_specials, same.count), (0.0, 0, 4));
        let b = array![1.0, f32::NEG_INFINITY, f32::NEG_INFINITY, 1.0].into_dyn();
        let other = compare(a.view(), b.view(), all);
        assert_eq!((other.error, other.unequal_specials), (f64::INFINITY, 2));
        assert_eq!(other.worst, Some(vec![0]));
    }

    #[test]
    fn nothing_compared_is_no_error() {
        let a = array![1.0f32].into_dyn();
        let c = compare(a.view(), array![2.0f32].into_dyn().view(), |_, _| false);
        assert_eq!((c.error, c.count, c.worst), (0.0, 0, None));
    }
}
