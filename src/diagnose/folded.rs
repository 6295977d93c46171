//! Numbers that an engine has moved from one matrix into the next: each channel of a tensor is off by a factor of its own,
//! and the weights that read it undo that. AWQ divides a norm's weight by a scale that the projections after it carry
//! (Lin et al., arXiv 2306.00978, section 3.2); TransformerLens's `fold_ln` leaves a norm with no weight at all.

use ndarray::Axis;

use super::part::Part;
use crate::engine::{Node, Op, Value};

/// With fewer rows, a factor for each channel fits almost anything.
const ROWS: usize = 3;

/// `part` without the factors of its channels, where `exact` is what its inputs give, for ops whose factors engines fold.
/// `None` where there are too few rows, or a channel has no factor.
pub(super) fn unfolded(node: &Node, part: &Part, exact: &Value<f64>) -> Option<Part> {
    let is_norm = matches!(node.op, Op::Norm { head_dim: None, .. });
    if !is_norm || part.rows.len() < ROWS || part.values.ndim() != 2 {
        return None;
    }
    let exact = exact.select(Axis(0), &part.rows);
    let mut values = part.values.to_owned();
    for (mut column, exact) in values.axis_iter_mut(Axis(1)).zip(exact.axis_iter(Axis(1))) {
        let pairs = || column.iter().map(|y| f64::from(*y)).zip(exact.iter().copied());
        let (dot, size) = pairs().fold((0.0, 0.0), |(dot, size), (y, o)| (dot + y * o, size + o * o));
        let factor = dot / size;
        if size > 0.0 {
            if factor == 0.0 || !factor.is_finite() {
                return None;
            }
            column.mapv_inplace(|y| (f64::from(y) / factor) as f32);
        }
    }
    Some(Part { values: values.into_shared(), ..part.clone() })
}
