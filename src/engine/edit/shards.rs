//! Matrices that are put together of parts in another way than they were taken apart, or not wholly.

use std::sync::Arc;

use ndarray::{Array2, Axis, concatenate};

use crate::engine::step::Step;
use crate::model::Tensor;
use crate::model::op::{Op, Weight};

/// How shards of a matrix are joined, other than they were cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shards {
    /// Along the axis along which they were cut (0: rows, which are output channels), in this order.
    Order {
        /// The axis.
        axis: usize,
        /// Which shard stands at each place.
        order: Arc<[usize]>,
    },
    /// So many of them, cut along this axis, joined along the other, and read in the shape of the whole.
    Across {
        /// The axis along which they were cut.
        axis: usize,
        /// How many.
        count: usize,
    },
}

/// The rows (axis 0: output channels) or columns (axis 1: input channels) of a matrix from one on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The axis.
    pub axis: usize,
    /// The first of them.
    pub from: usize,
}

impl Shards {
    fn axis_and_count(&self) -> (usize, usize) {
        match self {
            Self::Order { axis, order } => (*axis, order.len()),
            Self::Across { axis, count } => (*axis, *count),
        }
    }

    /// The matrix that they make.
    fn joined(&self, whole: &Array2<f32>) -> Option<Array2<f32>> {
        let (axis, count) = self.axis_and_count();
        let width = whole.len_of(Axis(axis)) / count;
        let parts: Vec<_> = whole.axis_chunks_iter(Axis(axis), width).collect();
        match self {
            Self::Order { order, .. } => {
                let parts: Vec<_> = order.iter().map(|shard| parts[*shard].view()).collect();
                concatenate(Axis(axis), &parts).ok()
            }
            Self::Across { .. } => {
                let joined = concatenate(Axis(1 - axis), &parts).ok()?;
                joined.as_standard_layout().into_owned().into_shape_with_order(whole.dim()).ok()
            }
        }
    }
}

fn own<'a>(step: &'a mut Step) -> Option<&'a mut Weight> {
    match step.op_mut() {
        Op::Linear { weight, .. } => Some(weight),
        Op::Embed { table, .. } => Some(table),
        _ => None,
    }
}

/// Its matrix joined of shards.
pub(super) fn put_shards(step: &mut Step, shards: &Shards, make: bool) -> bool {
    let (model, (axis, count)) = (step.model, shards.axis_and_count());
    let Some(weight) = own(step) else { return false };
    let fits = |length: usize| count > 0 && length.is_multiple_of(count);
    if !make {
        let shape = super::put::shape(&model.graph, weight);
        return shape.get(axis).is_some_and(|length| fits(*length));
    }
    let whole = model.matrix(weight).rows();
    if !fits(whole.len_of(Axis(axis))) {
        return false;
    }
    let Some(joined) = shards.joined(&whole) else { return false };
    *weight = Weight::Other(Arc::new(Tensor::of_rows("changed", &joined.view())));
    true
}

/// A part of its matrix is zero.
pub(super) fn put_zeros(step: &mut Step, part: Part, make: bool) -> bool {
    let model = step.model;
    let Some(weight) = own(step) else { return false };
    if make {
        let mut rows = model.matrix(weight).rows();
        for mut line in rows.axis_iter_mut(Axis(part.axis)).skip(part.from) {
            line.fill(0.0);
        }
        *weight = Weight::Other(Arc::new(Tensor::of_rows("changed", &rows.view())));
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn shards_are_joined_along_the_other_axis_or_in_another_order() {
        let whole = array![[1.0, 2.0], [3.0, 4.0]];
        let across = Shards::Across { axis: 1, count: 2 }.joined(&whole);
        assert_eq!(across, Some(array![[1.0, 3.0], [2.0, 4.0]]), "columns, one below the other");
        let order = Shards::Order { axis: 0, order: [1, 0].into() }.joined(&whole);
        assert_eq!(order, Some(array![[3.0, 4.0], [1.0, 2.0]]));
    }
}
