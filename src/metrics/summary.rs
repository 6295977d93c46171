//! What one array looks like.

use ndarray::{ArrayViewD, Axis};

use super::compare::index_of_lane;

/// Statistics of the finite elements, and a count of the others.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Number of elements.
    pub count: usize,
    /// Number of finite ones, which all figures below are about.
    pub finite: usize,
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
    /// Mean.
    pub mean: f64,
    /// Root mean square.
    pub rms: f64,
    /// Largest absolute value, with its index.
    pub absmax: Option<(f64, Vec<usize>)>,
    /// Elements that are NaN.
    pub nan: usize,
    /// Elements that are +inf.
    pub positive_infinite: usize,
    /// Elements that are -inf: masked scores.
    pub negative_infinite: usize,
}

/// Describes an array.
///
/// # Panics
/// When the array has no axes.
pub fn summarise(values: ArrayViewD<f32>) -> Summary {
    let mut s = Summary { count: values.len(), min: f64::INFINITY, max: f64::NEG_INFINITY, ..Summary::default() };
    let (mut sum, mut squares, mut absmax) = (0.0f64, 0.0f64, None);
    let last = Axis(values.ndim().saturating_sub(1));
    let lanes = values.lanes(last).into_iter().enumerate();
    for (index, value) in lanes.flat_map(|(lane, row)| row.into_iter().enumerate().map(move |(c, v)| ((lane, c), v))) {
        let value = f64::from(*value);
        if value.is_nan() {
            s.nan += 1;
        } else if value == f64::INFINITY {
            s.positive_infinite += 1;
        } else if value == f64::NEG_INFINITY {
            s.negative_infinite += 1;
        } else {
            s.finite += 1;
            sum += value;
            squares += value * value;
            s.min = s.min.min(value);
            s.max = s.max.max(value);
            if absmax.as_ref().is_none_or(|(largest, _)| value.abs() > *largest) {
                absmax = Some((value.abs(), index));
            }
        }
    }
    if s.finite == 0 {
        (s.min, s.max, s.mean, s.rms) = (f64::NAN, f64::NAN, f64::NAN, f64::NAN);
    } else {
        s.mean = sum / s.finite as f64;
        s.rms = (squares / s.finite as f64).sqrt();
    }
    s.absmax = absmax.map(|(value, (lane, column))| (value, index_of_lane(lane, column, values.shape())));
    s
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn specials_are_counted_apart() {
        let s = summarise(array![[3.0f32, f32::NAN], [f32::NEG_INFINITY, -4.0]].into_dyn().view());
        assert_eq!((s.count, s.finite, s.nan, s.negative_infinite), (4, 2, 1, 1));
        assert_eq!((s.min, s.max, s.mean), (-4.0, 3.0, -0.5));
        assert_eq!(s.rms, 12.5f64.sqrt());
        assert_eq!(s.absmax, Some((4.0, vec![1, 1])));
    }

    #[test]
    fn an_empty_array_has_no_figures() {
        let s = summarise(ndarray::ArrayD::zeros(vec![0, 3]).view());
        assert!(s.mean.is_nan() && s.absmax.is_none());
    }
}
