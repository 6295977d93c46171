//! What stands in the place of attention.

use ndarray::{ArrayD, ArrayView1, ArrayViewD};

use super::{Loaded, Span, cube, flat, held};
use crate::model::op::{Held, Vector, Weight};
use crate::ops::{self, Real, Rounding};

/// A filter over the last positions.
pub(super) fn convolve<T: Real>(
    loaded: Loaded,
    (weight, bias): (&Weight, Option<&Vector>),
    (past, others): (ArrayViewD<T>, &[Held]),
    first: usize,
    rounding: Rounding,
) -> ArrayD<T> {
    let mut filter = loaded.model.matrix(weight).rows();
    loaded.format.round(filter.as_slice_mut().expect("rows of a matrix are contiguous"));
    let (bias, past) = (bias.map(|bias| loaded.vector(bias)), held(cube(past), others, first));
    let bias = bias.as_ref().map(|bias| bias.view());
    ops::causal_convolution(past.view(), filter.view(), bias, first, rounding).into_dyn()
}

/// The logarithm of what is left of a state.
pub(super) fn decay<T: Real>(loaded: Loaded, x: ArrayViewD<T>, (rate, bias): (&Vector, Option<&Vector>)) -> ArrayD<T> {
    let bias = bias.map(|bias| loaded.vector(bias));
    ops::decay(flat(x), loaded.vector(rate).view(), bias.as_ref().map(|bias| bias.view())).into_dyn()
}

/// A state that is written to where keys say, and asked by queries.
pub(super) fn delta_rule<T: Real>(
    values: &[ArrayViewD<T>],
    (groups, scale): (&[usize], f64),
    others: &[Held],
    first: usize,
    rounding: Rounding,
) -> ArrayD<T> {
    brought(values, others, first, |brought| ops::delta_rule(&brought, groups, scale, rounding).into_dyn())
}

/// A state that is added to where keys say, and asked by queries.
pub(super) fn selective_scan<T: Real>(
    values: &[ArrayViewD<T>],
    (groups, skip): (&[usize], ArrayView1<f32>),
    others: &[Held],
    first: usize,
    rounding: Rounding,
) -> ArrayD<T> {
    brought(values, others, first, |brought| ops::selective_scan(&brought, skip, groups, rounding).into_dyn())
}

/// What is made of queries, keys, values, decays, and how much is written.
fn brought<T: Real>(
    values: &[ArrayViewD<T>],
    others: &[Held],
    first: usize,
    made: impl FnOnce(ops::Brought<T>) -> ArrayD<T>,
) -> ArrayD<T> {
    let past = |index: usize| held(cube(values[index].view()), others, first);
    let (keys, written, decay, write) = (past(1), past(2), past(3), past(4));
    made(ops::Brought {
        queries: flat(values[0].view()),
        keys: keys.view(),
        values: written.view(),
        decay: decay.view(),
        write: write.view(),
    })
}

/// The first times a function of the second, which has heads side by side.
pub(super) fn gate<T: Real>(values: &[ArrayViewD<T>], function: ops::Activation, rounding: Rounding) -> ArrayD<T> {
    let joined = ops::join_heads(values[0].view());
    let first = joined.as_ref().map_or(values[0].view(), |joined| joined.view().into_dyn());
    // Without a gate, it is as it is.
    let Some(second) = values.get(1) else { return first.to_owned() };
    ops::gated(first, second.view(), function, rounding)
}

/// A floor, which forwards of one token behind others do not have: `mamba2_selective_state_update` of transformers.
pub(super) fn at_least<T: Real>(x: ArrayViewD<T>, least: f64, span: Span, rounding: Rounding) -> ArrayD<T> {
    if span.first > 0 && span.ids.len() == 1 {
        return x.to_owned();
    }
    ops::clipped(x, (least, f64::INFINITY), rounding)
}
