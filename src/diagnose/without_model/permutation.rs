//! Heads, or the channels of a head, in another order. Both orders are the same tensor to an engine that rotates, or reads,
//! accordingly; so noise on top of them is measured behind them.

use ndarray::{Array3, ArrayD, ArrayRef, Axis, IxDyn};

use super::disguise::Disguise;
use super::survey::{Survey, read};
use crate::diagnose::equivalent::Pairs;
use crate::dump::{self, Pair};
use crate::engine::Node;
use crate::metrics::relative_error;
use crate::ops::split_heads;

/// Below this, nobody looks for another order; it makes an error of more than 1.
const LEAST: f64 = 0.2;

/// Noise behind another order, at most.
const MOST: f64 = 0.25;

/// How many times an order must bring the tensors closer.
const CLOSER: f64 = 8.0;

/// Two tensors, and the order under which they are close.
pub(super) struct Permuted {
    pub(super) disguise: Disguise,
    /// The error that is left.
    pub(super) error: f64,
    /// Reference and candidate, `[head, token, head_dim]`, in one order.
    pub(super) sides: [ArrayD<f32>; 2],
}

/// How many times an order must bring the tensors closer that is that of an earlier layer.
const CLOSER_AGAIN: f64 = 1.3;

/// Looks for another order behind the error of a node; `known` is that of the same activation in an earlier layer, which
/// may be covered by more noise.
pub(super) fn of_node(
    pair: &Pair,
    survey: &Survey,
    at: usize,
    known: Option<&Disguise>,
) -> Result<Option<Permuted>, dump::Error> {
    let node = &survey.nodes[at];
    let large = node.error() > LEAST && pair.heads_known();
    let of_heads = node.subject.site().map(|site| &pair.graph()[site]).filter(|node| large && !node.has_keys());
    let Some((_, width)) = of_heads.and_then(Node::heads) else { return Ok(None) };
    let [Some(reference), Some(candidate)] = read(pair, node.forward, &node.subject)?.parts else { return Ok(None) };
    let search = |limit| search(&reference.values, &candidate.values, width, limit);
    let sure = search(MOST.min(node.error() / CLOSER));
    Ok(sure.or_else(|| known.and_then(|known| search(node.error() / CLOSER_AGAIN).filter(|p| p.disguise == *known))))
}

/// Finds the order under which the error is at most `limit`.
fn search(
    reference: &ArrayRef<f32, IxDyn>,
    candidate: &ArrayRef<f32, IxDyn>,
    head_dim: usize,
    limit: f64,
) -> Option<Permuted> {
    let (reference, candidate) = (split_heads(reference.view(), head_dim)?, split_heads(candidate.view(), head_dim)?);
    if reference.dim() != candidate.dim() {
        return None;
    }
    let tries = [side_by_side, half_apart, other_heads, heads_before_tokens];
    tries.iter().find_map(|find| {
        let (disguise, candidate) = find(&reference, &candidate, limit)?;
        let error = relative_error(&candidate, &reference);
        let found = |sides| Permuted { disguise, error, sides };
        (error <= limit).then(|| found([reference.clone().into_dyn(), candidate.into_dyn()]))
    })
}

/// An order to try: the disguise, and the candidate in the reference's order.
type Tried = Option<(Disguise, Array3<f32>)>;

fn side_by_side(_: &Array3<f32>, candidate: &Array3<f32>, _: f64) -> Tried {
    paired(candidate, Pairs::SideBySide)
}

fn half_apart(_: &Array3<f32>, candidate: &Array3<f32>, _: f64) -> Tried {
    paired(candidate, Pairs::HalfApart)
}

fn paired(candidate: &Array3<f32>, pairs: Pairs) -> Tried {
    let width = candidate.dim().2;
    width.is_multiple_of(2).then(|| {
        let order: Vec<usize> = (0..width).map(|channel| pairs.stored(channel, width)).collect();
        (Disguise::Pairs(pairs), candidate.select(Axis(2), &order))
    })
}

fn other_heads(reference: &Array3<f32>, candidate: &Array3<f32>, limit: f64) -> Tried {
    let count = reference.dim().0;
    let nearest = |head: usize| {
        let expected = reference.index_axis(Axis(0), head);
        (0..count).find(|other| relative_error(candidate.index_axis(Axis(0), *other), expected) <= limit)
    };
    let order = (0..count).map(nearest).collect::<Option<Vec<usize>>>()?;
    Some((Disguise::Heads(order.clone()), candidate.select(Axis(0), &order)))
}

/// The same bytes, read as `[token, head, ..]` where they are `[head, token, ..]`, or the other way round.
fn heads_before_tokens(reference: &Array3<f32>, candidate: &Array3<f32>, _: f64) -> Tried {
    let (count, tokens, width) = candidate.dim();
    let flat = candidate.as_standard_layout().into_owned();
    let split = flat.into_shape_with_order((tokens, count, width)).ok()?.permuted_axes([1, 0, 2]);
    let by_token = candidate.view().permuted_axes([1, 0, 2]).as_standard_layout().into_owned();
    let merged = by_token.into_shape_with_order((count, tokens, width)).ok()?;
    let nearer = if relative_error(&split, reference) < relative_error(&merged, reference) { split } else { merged };
    Some((Disguise::HeadsBeforeTokens, nearer.as_standard_layout().into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array;

    #[track_caller]
    fn check(shape: &[usize], change: impl Fn(&ArrayD<f32>) -> ArrayD<f32>, expected: Option<&Disguise>) {
        let mut state = 1u32;
        let reference = Array::from_shape_simple_fn(shape, || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 8_388_608.0 - 1.0
        });
        let candidate = change(&reference).as_standard_layout().into_owned();
        let found = search(&reference, &candidate, 8, 1e-5);
        assert_eq!(found.as_ref().map(|found| &found.disguise), expected);
        assert!(found.is_none_or(|found| found.sides[0] == found.sides[1]));
    }

    #[test]
    fn the_order_is_found() {
        let pick = |axis, order: &'static [usize]| move |v: &ArrayD<f32>| v.select(Axis(axis), order);
        let (beside, apart) = (Disguise::Pairs(Pairs::SideBySide), Disguise::Pairs(Pairs::HalfApart));
        check(&[4, 5, 8], pick(2, &[0, 4, 1, 5, 2, 6, 3, 7]), Some(&beside));
        check(&[4, 5, 8], pick(2, &[0, 2, 4, 6, 1, 3, 5, 7]), Some(&apart));
        check(&[5, 16], pick(1, &[0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15]), Some(&beside));
        check(&[4, 5, 8], pick(0, &[2, 3, 1, 0]), Some(&Disguise::Heads(vec![3, 2, 0, 1])));
        let merged = |v: &ArrayD<f32>| {
            let heads = v.clone().into_shape_with_order((5, 4, 8)).expect("a split").permuted_axes([1, 0, 2]);
            heads.as_standard_layout().into_owned().into_shape_with_order(vec![5, 32]).expect("as many")
        };
        check(&[5, 32], merged, Some(&Disguise::HeadsBeforeTokens));
        check(&[4, 5, 8], |v| v.mapv(f32::sin), None);
    }
}
