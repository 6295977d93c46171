//! The distance between two arrays of one shape.

use ndarray::{ArrayViewD, Dimension, IxDyn};

/// How far `values` lie from `expected`.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Relative L2 error: `|values - expected| / |expected|`; infinite when only `expected` is zero or when one side has a
    /// NaN or an infinity that the other has not.
    pub error: f64,
    /// Cosine of the angle between them; 1 when both are zero, NaN when only one is.
    pub cosine: f64,
    /// Largest absolute difference.
    pub max_abs: f64,
    /// Where it is; `None` when nothing was compared.
    pub worst: Option<Vec<usize>>,
    /// Relative L2 error of each index of the row axis: the first row that is wrong says where an error starts.
    pub row_errors: Vec<f64>,
    /// Number of elements compared.
    pub count: usize,
    /// Elements that are NaN or infinite on one side only, or infinite with other signs.
    pub unequal_specials: usize,
}

/// Compares two arrays of one shape over the elements for which `included` holds; rows are counted along `row_axis`.
///
/// # Panics
/// When the shapes differ.
pub fn compare(
    values: ArrayViewD<f32>,
    expected: ArrayViewD<f32>,
    row_axis: usize,
    included: impl Fn(&IxDyn) -> bool,
) -> Comparison {
    assert_eq!(values.shape(), expected.shape(), "compared arrays have one shape");
    let rows = values.shape().get(row_axis).copied().unwrap_or(1);
    let (mut differences, mut norms) = (vec![0.0f64; rows], vec![0.0f64; rows]);
    let (mut dot, mut norm_values) = (0.0f64, 0.0f64);
    let (mut max_abs, mut worst) = (-1.0f64, None);
    let (mut count, mut unequal_specials) = (0, 0);
    for ((index, a), b) in values.indexed_iter().zip(expected.iter()) {
        if !included(&index) {
            continue;
        }
        count += 1;
        let row = if index.ndim() == 0 { 0 } else { index[row_axis] };
        let (a, b) = (f64::from(*a), f64::from(*b));
        let difference = if a == b || (a.is_nan() && b.is_nan()) { 0.0 } else { (a - b).abs() };
        if !difference.is_finite() {
            unequal_specials += 1;
            differences[row] = f64::INFINITY;
        } else if a.is_finite() && b.is_finite() {
            differences[row] += difference * difference;
            norms[row] += b * b;
            norm_values += a * a;
            dot += a * b;
        }
        let size = if difference.is_nan() { f64::INFINITY } else { difference };
        if size > max_abs {
            (max_abs, worst) = (size, Some(index));
        }
    }
    let norm: f64 = norms.iter().sum();
    Comparison {
        error: relative(differences.iter().sum(), norm),
        cosine: if norm == 0.0 && norm_values == 0.0 { 1.0 } else { dot / (norm * norm_values).sqrt() },
        max_abs: max_abs.max(0.0),
        worst: worst.map(|index| (0..index.ndim()).map(|axis| index[axis]).collect()),
        row_errors: differences.iter().zip(&norms).map(|(d, n)| relative(*d, *n)).collect(),
        count,
        unequal_specials,
    }
}

fn relative(difference: f64, norm: f64) -> f64 {
    if difference == 0.0 { 0.0 } else { (difference / norm).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn all(_: &IxDyn) -> bool {
        true
    }

    #[test]
    fn a_known_distance() {
        let a = array![[3.0f32, 0.0], [0.0, 5.0]].into_dyn();
        let b = array![[3.0f32, 0.0], [0.0, 4.0]].into_dyn();
        let c = compare(a.view(), b.view(), 0, all);
        assert!((c.error - 0.2).abs() < 1e-12 && (c.cosine - 29.0 / (34.0f64 * 25.0).sqrt()).abs() < 1e-12);
        assert_eq!((c.max_abs, c.worst), (1.0, Some(vec![1, 1])));
        assert_eq!(c.row_errors, [0.0, 0.25]);
    }

    #[test]
    fn specials_count_only_where_they_differ() {
        let a = array![f32::NAN, f32::NEG_INFINITY, f32::INFINITY, 1.0].into_dyn();
        let same = compare(a.view(), a.view(), 0, all);
        assert_eq!((same.error, same.unequal_specials, same.count), (0.0, 0, 4));
        let b = array![1.0, f32::NEG_INFINITY, f32::NEG_INFINITY, 1.0].into_dyn();
        let other = compare(a.view(), b.view(), 0, all);
        assert_eq!((other.error, other.unequal_specials), (f64::INFINITY, 2));
        assert_eq!(other.worst, Some(vec![0]));
    }

    #[test]
    fn nothing_compared_is_no_error() {
        let a = array![1.0f32].into_dyn();
        let c = compare(a.view(), array![2.0f32].into_dyn().view(), 0, |_| false);
        assert_eq!((c.error, c.count, c.worst), (0.0, 0, None));
    }
}
