//! Sums of few bits: a softmax that adds its exponentials up in 16 bits divides every row by a number that is a little
//! off. All probabilities of a row are wrong by one factor then, which no single rounding makes.

use ndarray::Axis;

use super::part::Part;
use super::precision::Precision;
use crate::engine::{Node, Value};
use crate::model::op::OneSign;

/// Of however many numbers, no sum in 16 bits is off by more: it would stand still.
const MOST: f64 = 0.05;

/// `part` with rows that add up as those of `exact` do, where they are off by no more than a sum in `precision` is.
/// `None` for other ops, for f32, and where a row is off by more.
pub(super) fn with_right_sums(node: &Node, part: &Part, exact: &Value<f64>, precision: Precision) -> Option<Part> {
    if precision == Precision::F32 || node.op.facts().one_sign != OneSign::LastAxis || part.values.ndim() != 3 {
        return None;
    }
    let mut values = part.values.to_owned();
    let exact = exact.select(Axis(node.row_axis()), &part.rows);
    let last = Axis(2);
    if exact.len_of(last) < part.first_key + values.len_of(last) {
        return None;
    }
    for (mut row, exact) in values.lanes_mut(last).into_iter().zip(exact.lanes(last)) {
        let pairs = || row.iter().map(|y| f64::from(*y)).zip(exact.iter().skip(part.first_key).copied());
        let (dot, size) = pairs().fold((0.0, 0.0), |(dot, size), (y, o)| (dot + y * o, size + o * o));
        if size == 0.0 {
            continue;
        }
        let factor = dot / size;
        let terms = exact.iter().filter(|o| **o > 0.0).count();
        if (factor - 1.0).abs() > (terms as f64 * precision.unit()).min(MOST) {
            return None;
        }
        row.mapv_inplace(|y| (f64::from(y) / factor) as f32);
    }
    Some(Part { values: values.into_shared(), ..part.clone() })
}
