//! Heads, or the channels of a head, in another order. Both orders are the same tensor to an engine that rotates, or reads,
//! accordingly; so noise on top of them is measured behind them.

use ndarray::{Array3, ArrayD, ArrayRef, Axis, Ix3, IxDyn};

use super::disguise::{Disguise, error};
use super::survey::{Survey, read};
use crate::dump::{self, Pair};
use crate::engine::{Axis as Counted, Site};
use crate::model::Config;

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
    let of_heads = |site: &Site| {
        let heads = [Counted::Head, Counted::KeyHead, Counted::QueryFeature, Counted::KeyFeature];
        let axes = site.activation.row().axes;
        !axes.contains(&Counted::Key) && axes.iter().any(|axis| heads.contains(axis))
    };
    let large = node.error() > LEAST && pair.heads_known();
    let Some(_) = node.subject.site().filter(of_heads).filter(|_| large) else { return Ok(None) };
    let [Some(reference), Some(candidate)] = read(pair, node.forward, &node.subject)?.parts else { return Ok(None) };
    let search = |limit| search(&reference.values, &candidate.values, pair.config(), limit);
    let sure = search(MOST.min(node.error() / CLOSER));
    Ok(sure.or_else(|| known.and_then(|known| search(node.error() / CLOSER_AGAIN).filter(|p| p.disguise == *known))))
}

/// Finds the order under which the error is at most `limit`.
fn search(
    reference: &ArrayRef<f32, IxDyn>,
    candidate: &ArrayRef<f32, IxDyn>,
    config: &Config,
    limit: f64,
) -> Option<Permuted> {
    let split = |values| heads(values, config.head_dim);
    let (reference, candidate) = (split(reference)?, split(candidate)?);
    if reference.dim() != candidate.dim() {
        return None;
    }
    let tries = [beside, apart, other_heads, heads_before_tokens];
    tries.iter().find_map(|find| {
        let (disguise, candidate) = find(&reference, &candidate, limit)?;
        let error = error(&candidate, &reference);
        let found = |sides| Permuted { disguise, error, sides };
        (error <= limit).then(|| found([reference.clone().into_dyn(), candidate.into_dyn()]))
    })
}

/// As `[head, token, head_dim]`.
fn heads(values: &ArrayRef<f32, IxDyn>, head_dim: usize) -> Option<Array3<f32>> {
    match *values.shape() {
        [_, _, _] => values.to_owned().into_dimensionality::<Ix3>().ok(),
        [tokens, width] if head_dim > 0 && width % head_dim == 0 => {
            let values = values.as_standard_layout().into_owned();
            let split = values.into_shape_with_order((tokens, width / head_dim, head_dim)).ok()?;
            Some(split.permuted_axes([1, 0, 2]).as_standard_layout().into_owned())
        }
        _ => None,
    }
}

/// An order to try: the disguise, and the candidate in the reference's order.
type Tried = Option<(Disguise, Array3<f32>)>;

/// Where the channels of pair `i` come from: `i` and `i + d/2` for `2i` and `2i + 1`.
fn interleaving(width: usize) -> Option<Vec<usize>> {
    width.is_multiple_of(2).then(|| (0..width).map(|channel| channel / 2 + (channel % 2) * (width / 2)).collect())
}

fn beside(_: &Array3<f32>, candidate: &Array3<f32>, _: f64) -> Tried {
    let order = interleaving(candidate.dim().2)?;
    let mut back = vec![0; order.len()];
    for (to, from) in order.into_iter().enumerate() {
        back[from] = to;
    }
    Some((Disguise::Pairs { beside: true }, candidate.select(Axis(2), &back)))
}

fn apart(_: &Array3<f32>, candidate: &Array3<f32>, _: f64) -> Tried {
    let order = interleaving(candidate.dim().2)?;
    Some((Disguise::Pairs { beside: false }, candidate.select(Axis(2), &order)))
}

fn other_heads(reference: &Array3<f32>, candidate: &Array3<f32>, limit: f64) -> Tried {
    let count = reference.dim().0;
    let nearest = |head: usize| {
        let expected = reference.index_axis(Axis(0), head);
        (0..count).find(|other| error(candidate.index_axis(Axis(0), *other), expected) <= limit)
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
    let nearer = if error(&split, reference) < error(&merged, reference) { split } else { merged };
    Some((Disguise::HeadsBeforeTokens, nearer.as_standard_layout().into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array;

    #[track_caller]
    fn check(shape: &[usize], change: impl Fn(&ArrayD<f32>) -> ArrayD<f32>, expected: Option<&Disguise>) {
        let text = r#"{"model_type": "llama", "num_attention_heads": 4, "hidden_size": 32, "num_key_value_heads": 2}"#;
        let (config, _) = Config::from_json(text, "config.json").expect("a config");
        let mut state = 1u32;
        let reference = Array::from_shape_simple_fn(shape, || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 8_388_608.0 - 1.0
        });
        let candidate = change(&reference).as_standard_layout().into_owned();
        let found = search(&reference, &candidate, &config, 1e-5);
        assert_eq!(found.as_ref().map(|found| &found.disguise), expected);
        assert!(found.is_none_or(|found| found.sides[0] == found.sides[1]));
    }

    #[test]
    fn the_order_is_found() {
        let pick = |axis, order: &'static [usize]| move |v: &ArrayD<f32>| v.select(Axis(axis), order);
        let (beside, apart) = (Disguise::Pairs { beside: true }, Disguise::Pairs { beside: false });
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
