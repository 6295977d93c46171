//! The distance between two arrays of one shape.

use ndarray::{ArrayView1, ArrayViewD, Axis};
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

/// How far `values` lie from `expected`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// Relative L2 error: `|values - expected| / |expected|`; infinite when only `expected` is zero or when one side has a
    /// NaN or an infinity that the other has not.
    pub error: f64,
    /// The same over the elements that are finite in both; NaN when elements differ and none is finite in both.
    pub finite_error: f64,
    /// Cosine of the angle between them, -1 to 1; 1 when both are zero, NaN when only one is.
    pub cosine: f64,
    /// Largest absolute difference, of elements that are finite in both.
    pub max_abs: f64,
    /// Where it is, or the first element that is finite on one side only; `None` when all are equal.
    pub worst: Option<Vec<usize>>,
    /// What both have there: `values`, `expected`.
    pub worst_pair: Option<(f64, f64)>,
    /// Relative L2 error of each row: the first row that is wrong says where an error starts. Infinite where an element is
    /// finite on one side only.
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
    let (mut count, mut finite, mut unequal_specials) = (0, 0, 0);
    let mut special_rows = vec![false; rows];
    for (index, lane) in lanes.iter().enumerate() {
        let first_special = lane.unequal_specials > 0 && unequal_specials == 0;
        if first_special || (lane.max_abs > max_abs && unequal_specials == 0) {
            worst = Some((index, lane.worst));
        }
        max_abs = max_abs.max(lane.max_abs);
        special_rows[index % rows] |= lane.unequal_specials > 0;
        differences[index % rows] += lane.difference;
        norms[index % rows] += lane.norm;
        norm_values += lane.norm_values;
        dot += lane.dot;
        count += lane.count;
        finite += lane.finite;
        unequal_specials += lane.unequal_specials;
    }
    let norm: f64 = norms.iter().sum();
    let worst = worst.map(|(lane, column)| index_of_lane(lane, column, shape));
    let pair = |index: &Vec<usize>| Some(((*values.get(&index[..])?).into(), (*expected.get(&index[..])?).into()));
    let error = relative(differences.iter().sum(), norm);
    let of_row = |((d, n), special): ((&f64, &f64), &bool)| if *special { f64::INFINITY } else { relative(*d, *n) };
    Comparison {
        error: if unequal_specials > 0 { f64::INFINITY } else { error },
        finite_error: if finite == 0 && unequal_specials > 0 { f64::NAN } else { error },
        cosine: if max_abs == 0.0 && unequal_specials == 0 {
            1.0
        } else {
            (dot / (norm.sqrt() * norm_values.sqrt())).clamp(-1.0, 1.0)
        },
        max_abs,
        worst_pair: worst.as_ref().and_then(pair),
        worst,
        row_errors: differences.iter().zip(&norms).zip(&special_rows).map(of_row).collect(),
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
    /// The first special that differs, else the largest difference.
    worst: usize,
    count: usize,
    finite: usize,
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
        if !difference.is_finite() {
            if lane.unequal_specials == 0 {
                lane.worst = column;
            }
            lane.unequal_specials += 1;
        } else if a.is_finite() && b.is_finite() {
            if difference > lane.max_abs {
                lane.max_abs = difference;
                lane.worst = if lane.unequal_specials == 0 { column } else { lane.worst };
            }
            lane.finite += 1;
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
        assert_eq!((other.finite_error, other.max_abs), (0.0, 0.0));
        assert_eq!(other.worst, Some(vec![0]));
        assert!(other.worst_pair.is_some_and(|(value, expected)| value.is_nan() && expected == 1.0));
        let none = compare(a.slice_axis(Axis(0), (..1).into()), b.slice_axis(Axis(0), (..1).into()), all);
        assert!(none.finite_error.is_nan() && none.row_errors == [f64::INFINITY]);
    }

    #[test]
    fn nothing_compared_is_no_error() {
        let a = array![1.0f32].into_dyn();
        let c = compare(a.view(), array![2.0f32].into_dyn().view(), |_, _| false);
        assert_eq!((c.error, c.count, c.worst), (0.0, 0, None));
    }
}
