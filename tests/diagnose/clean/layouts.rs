//! What engines do differently that is no mistake: masks, padding, the order of channels.

use std::sync::Arc;

use layerstep::engine::{Graph, Role as R};
use ndarray::{ArrayD, Axis, Slice};

use crate::fixture::{Tensors, head_dim, parsed};

/// Scores with `mask` of those that the mask hides: in the dumps they are the least f32.
fn masked(original: &Tensors, graph: &Graph, mask: impl Fn(f32) -> f32) -> Tensors {
    original.rewritten(|name, values| {
        let scores = graph.is(parsed(name, graph).1, R::Scores);
        Some((name.into(), if scores { values.mapv(&mask) } else { values.clone() }))
    })
}

pub(crate) fn masked_by_infinity(original: &Tensors, graph: &Arc<Graph>) -> Tensors {
    masked(original, graph, |score| if score < -1e30 { f32::NEG_INFINITY } else { score })
}

pub(crate) fn masked_by_the_least(original: &Tensors, graph: &Arc<Graph>) -> Tensors {
    masked(original, graph, |score| if score < -1e30 { f32::MIN } else { score })
}

pub(crate) fn masked_by_a_large_number(original: &Tensors, graph: &Arc<Graph>) -> Tensors {
    masked(original, graph, |score| if score < -1e30 { -1e9 } else { score })
}

/// Scores and probabilities with columns for keys that are not there, as engines with a fixed cache have them.
pub(crate) fn padded(original: &Tensors, graph: &Arc<Graph>) -> Tensors {
    original.rewritten(|name, values| {
        let padding = match graph[parsed(name, graph).1].role {
            Some(R::Scores) => f32::NEG_INFINITY,
            Some(R::Probs) => 0.0,
            _ => return Some((name.into(), values.clone())),
        };
        let mut shape = values.shape().to_vec();
        let keys = shape[2];
        shape[2] = 32;
        let mut padded = ArrayD::from_elem(shape, padding);
        padded.slice_axis_mut(Axis(2), Slice::from(..keys)).assign(values);
        Some((name.into(), padded))
    })
}

/// The channels of every head in another order: `order(i)` is the channel of Hugging Face that stands at `i`.
fn permuted(original: &Tensors, graph: &Arc<Graph>, order: impl Fn(usize, usize) -> usize) -> Tensors {
    let d = head_dim(graph);
    original.rewritten(|name, values| {
        let permuted = matches!(graph[parsed(name, graph).1].role, Some(R::QProj | R::KProj | R::QRope | R::KRope));
        if !permuted {
            return Some((name.into(), values.clone()));
        }
        let last = Axis(values.ndim() - 1);
        let columns: Vec<usize> = (0..values.len_of(last)).map(|at| at / d * d + order(at % d, d / 2)).collect();
        Some((name.into(), values.select(last, &columns)))
    })
}

/// What RoPE turns together stands side by side: channels `2i` and `2i + 1`.
pub(crate) fn pairs_side_by_side(original: &Tensors, graph: &Arc<Graph>) -> Tensors {
    permuted(original, graph, |at, half| at / 2 + at % 2 * half)
}

/// The other way round.
pub(crate) fn pairs_twice_apart(original: &Tensors, graph: &Arc<Graph>) -> Tensors {
    permuted(original, graph, |at, half| 2 * (at % half) + at / half)
}

/// Scores from before they are multiplied with their scale and masked.
pub(crate) fn before_scale_and_mask(original: &Tensors, graph: &Arc<Graph>) -> Tensors {
    let factor = (head_dim(graph) as f32).sqrt();
    masked(original, graph, |score| if score < -1e30 { 7.5 } else { score * factor })
}
