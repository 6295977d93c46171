//! The same values in another form: in another order, scaled, shifted, or masked elsewhere.

use std::fmt;

use ndarray::{Array3, ArrayD, ArrayRef, Axis, IxDyn, Zip};

use super::survey::Survey;
use crate::diagnose::equivalent::Pairs;
use crate::engine::Node;
use crate::metrics::relative_error;
use crate::ops::split_heads;

/// What makes the candidate's tensor equal to the reference's.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Disguise {
    /// Pairs of channels of a head lie side by side in one, half a head apart in the other: how the candidate has them.
    Pairs(Pairs),
    /// Heads are in another order: where the candidate keeps each head of the reference.
    Heads(Vec<usize>),
    /// Heads and tokens have changed places.
    HeadsBeforeTokens,
    /// The values of every row are the same, in some other order.
    Order,
    /// Times a number.
    Scaled(f64),
    /// Every channel times a number of its own.
    Channels,
    /// Every row of the scores is shifted by a number of its own.
    Shifted,
    /// Equal where neither masks.
    Mask,
}

impl Disguise {
    /// Whether an engine may keep the activation in this form, if what follows agrees.
    pub(super) fn harmless(&self, survey: &Survey, at: usize) -> bool {
        match self {
            Self::Pairs(_) | Self::Heads(_) | Self::HeadsBeforeTokens | Self::Order => true,
            // What a norm gives may carry factors that the weights after it undo.
            Self::Channels => survey.is_of_norm(at),
            Self::Scaled(_) | Self::Shifted | Self::Mask => survey.is_before_softmax(&survey.nodes[at]),
        }
    }
}

impl fmt::Display for Disguise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pairs(Pairs::SideBySide) => f.write_str(
                "the candidate keeps side by side (2i, 2i+1) the channels that the reference keeps half a head apart",
            ),
            Self::Pairs(Pairs::HalfApart) => f.write_str(
                "the candidate keeps half a head apart the channels that the reference keeps side by side (2i, 2i+1)",
            ),
            Self::Pairs(pairs @ (Pairs::TurnedFirst | Pairs::TurnedFirstSideBySide)) => f.write_str(pairs.describe()),
            Self::Heads(order) => write!(f, "the reference's heads are the candidate's heads {order:?}"),
            Self::HeadsBeforeTokens => f.write_str("heads and tokens have changed places"),
            Self::Order => f.write_str("every row holds the same values in another order"),
            Self::Scaled(factor) => write!(f, "the candidate's values are {factor:.6} times the reference's"),
            Self::Channels => f.write_str("every channel is scaled by a number of its own"),
            Self::Shifted => f.write_str("every row is shifted by a number of its own"),
            Self::Mask => f.write_str("they are equal where neither side masks"),
        }
    }
}

/// Sorted rows must agree this well: rows of many random numbers are alike once sorted.
const SORTED: f64 = 1e-3;

/// The disguise of a node that stands out.
pub(super) fn find_at(survey: &Survey, at: usize, limit: f64) -> Option<Disguise> {
    let graph = survey.graph();
    // Another order of the logits is no other form of them.
    let logits = |site| graph.is_head(site) || graph.logits() == Some(site);
    let site = survey.nodes[at].subject.site().filter(|site| !logits(*site))?;
    let [reference, candidate] = survey.values(at)?;
    find(&graph[site], &reference, &candidate, limit)
}

/// Finds the disguise under which the error is at most `limit`, other than another order of heads or of their channels.
fn find(
    node: &Node,
    reference: &ArrayRef<f32, IxDyn>,
    candidate: &ArrayRef<f32, IxDyn>,
    limit: f64,
) -> Option<Disguise> {
    if reference.shape() != candidate.shape() {
        return None;
    }
    if node.has_keys() && reference.ndim() == 3 {
        return of_scores(reference, candidate, limit);
    }
    let row = row_axis(node, reference.ndim());
    scaled(reference, candidate, limit)
        .or_else(|| scaled_by_channel(row?, reference, candidate, limit))
        .or_else(|| sorted(row?, reference, candidate, limit))
}

/// The axis of the rows of values that may not stand in the layout of their node.
pub(super) fn row_axis(node: &Node, axes: usize) -> Option<Axis> {
    if axes == node.axes.len() { Some(Axis(node.row_axis())) } else { axes.checked_sub(2).map(Axis) }
}

fn of_scores(reference: &ArrayRef<f32, IxDyn>, candidate: &ArrayRef<f32, IxDyn>, limit: f64) -> Option<Disguise> {
    let mut reference = reference.to_owned();
    let mut candidate = candidate.to_owned();
    let (mut both, mut one) = (0, 0);
    Zip::from(&mut reference).and(&mut candidate).for_each(|a, b| {
        both += usize::from(a.is_finite() && b.is_finite());
        one += usize::from(a.is_finite() != b.is_finite());
        if !(a.is_finite() && b.is_finite()) {
            (*a, *b) = (0.0, 0.0);
        }
    });
    // A triangle is masked at most, and its diagonal is not.
    if one > 0 && both > one && relative_error(&candidate, &reference) <= limit {
        return Some(Disguise::Mask);
    }
    if let Some(found) = scaled(&reference, &candidate, limit) {
        return Some(found);
    }
    let shift = |values: &ArrayRef<f32, IxDyn>| {
        let mut shifted = values.to_owned();
        for mut row in shifted.lanes_mut(Axis(2)) {
            let seen = row.iter().filter(|v| **v != 0.0).count().max(1);
            let mean = row.sum() / seen as f32;
            row.mapv_inplace(|v| if v == 0.0 { v } else { v - mean });
        }
        shifted
    };
    (relative_error(&shift(&candidate), &shift(&reference)) <= limit).then_some(Disguise::Shifted)
}

/// Whether the values are those of the reference times a number that is not 1.
pub(super) fn scaled(
    reference: &ArrayRef<f32, IxDyn>,
    candidate: &ArrayRef<f32, IxDyn>,
    limit: f64,
) -> Option<Disguise> {
    let pairs = || candidate.iter().zip(reference).map(|(a, b)| (f64::from(*a), f64::from(*b)));
    let (dot, square) = pairs().fold((0.0, 0.0), |(dot, square), (a, b)| (dot + a * b, square + b * b));
    let factor = dot / square;
    let left: f64 = pairs().map(|(a, b)| (a - factor * b).powi(2)).sum();
    let fits = (left / (factor * factor * square)).sqrt() <= limit;
    (fits && (factor - 1.0).abs() > limit).then_some(Disguise::Scaled(factor))
}

/// Whether every channel is the reference's times a number of its own.
fn scaled_by_channel(
    row: Axis,
    reference: &ArrayRef<f32, IxDyn>,
    candidate: &ArrayRef<f32, IxDyn>,
    limit: f64,
) -> Option<Disguise> {
    // With fewer rows, a factor for each channel fits almost anything.
    const ROWS: usize = 3;
    if reference.ndim() != 2 || reference.len_of(row) < ROWS {
        return None;
    }
    let (mut left, mut size) = (0.0, 0.0);
    for (a, b) in candidate.lanes(row).into_iter().zip(reference.lanes(row)) {
        let pairs = || a.iter().zip(b).map(|(a, b)| (f64::from(*a), f64::from(*b)));
        let (dot, square) = pairs().fold((0.0, 0.0), |(dot, square), (a, b)| (dot + a * b, square + b * b));
        let factor = if square > 0.0 { dot / square } else { 0.0 };
        left += pairs().map(|(a, b)| (a - factor * b).powi(2)).sum::<f64>();
        size += (factor * factor) * square;
    }
    ((left / size).sqrt() <= limit).then_some(Disguise::Channels)
}

fn sorted(
    row: Axis,
    reference: &ArrayRef<f32, IxDyn>,
    candidate: &ArrayRef<f32, IxDyn>,
    limit: f64,
) -> Option<Disguise> {
    if reference.len_of(row) < 2 || reference.len() / reference.len_of(row) < 8 {
        return None;
    }
    let order = |values: &ArrayRef<f32, IxDyn>| -> Vec<f32> {
        values
            .axis_iter(row)
            .flat_map(|row| {
                let mut row: Vec<f32> = row.iter().copied().collect();
                row.sort_by(f32::total_cmp);
                row
            })
            .collect()
    };
    (relative_error(&order(candidate), &order(reference)) <= limit.min(SORTED)).then_some(Disguise::Order)
}

/// Below this, nobody looks for another order; it makes an error of more than 1.
const LEAST: f64 = 0.2;

/// Noise behind another order, at most.
const MOST: f64 = 0.25;

/// How many times another order must bring the tensors closer.
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

/// Looks for another order behind the error of a node: heads, or the channels of a head. Both orders are the same tensor to
/// an engine that rotates, or reads, accordingly; so noise on top of them is measured behind them. `known` is that of the
/// same activation in an earlier layer, which may be covered by more noise.
pub(super) fn other_order(survey: &Survey, at: usize, known: Option<&Disguise>) -> Option<Permuted> {
    let node = &survey.nodes[at];
    let of_heads = node.subject.site().map(|site| &survey.graph()[site]).filter(|node| !node.has_keys());
    let (_, width) =
        of_heads.filter(|_| node.row.strict() > LEAST && survey.pair.heads_known()).and_then(Node::heads)?;
    let [reference, candidate] = survey.values(at)?;
    let search = |limit| search(&reference, &candidate, width, limit);
    let sure = search(MOST.min(node.row.strict() / CLOSER));
    sure.or_else(|| known.and_then(|known| search(node.row.strict() / CLOSER_AGAIN).filter(|p| p.disguise == *known)))
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
    let accept = |(disguise, candidate): (Disguise, Array3<f32>)| {
        let error = relative_error(&candidate, &reference);
        let sides = || [reference.clone().into_dyn(), candidate.into_dyn()];
        (error <= limit).then(|| Permuted { disguise, error, sides: sides() })
    };
    let width = candidate.dim().2;
    let paired = |pairs: Pairs| {
        let order: Vec<usize> = (0..width).map(|channel| pairs.stored(channel, width)).collect();
        accept((Disguise::Pairs(pairs), candidate.select(Axis(2), &order)))
    };
    let mut pairs = Pairs::ALL.into_iter().filter(|_| width.is_multiple_of(2));
    let of_heads = || accept(other_heads(&reference, &candidate, limit)?);
    pairs.find_map(paired).or_else(of_heads).or_else(|| accept(heads_before_tokens(&reference, &candidate)?))
}

fn other_heads(reference: &Array3<f32>, candidate: &Array3<f32>, limit: f64) -> Option<(Disguise, Array3<f32>)> {
    let count = reference.dim().0;
    let nearest = |head: usize| {
        let expected = reference.index_axis(Axis(0), head);
        (0..count).find(|other| relative_error(candidate.index_axis(Axis(0), *other), expected) <= limit)
    };
    let order = (0..count).map(nearest).collect::<Option<Vec<usize>>>()?;
    Some((Disguise::Heads(order.clone()), candidate.select(Axis(0), &order)))
}

/// The same bytes, read as `[token, head, ..]` where they are `[head, token, ..]`, or the other way round.
fn heads_before_tokens(reference: &Array3<f32>, candidate: &Array3<f32>) -> Option<(Disguise, Array3<f32>)> {
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
    use crate::engine::Role as A;
    use crate::model::{Spec, lower::lower};
    use ndarray::Array;

    /// Numbers without a pattern.
    fn numbers(shape: &[usize]) -> ArrayD<f32> {
        let mut state = 1u32;
        Array::from_shape_simple_fn(shape, || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 8_388_608.0 - 1.0
        })
    }

    #[track_caller]
    fn check(role: A, shape: &[usize], change: impl Fn(&ArrayD<f32>) -> ArrayD<f32>, expected: Option<Disguise>) {
        let reference = numbers(shape);
        let candidate = change(&reference).as_standard_layout().into_owned();
        let config = r#"{"model_type": "llama", "num_hidden_layers": 1}"#;
        let graph = lower(&Spec::from_json(config, "config.json").expect("a config").0);
        let site = graph.in_layer(0, role).expect("a role of a layer");
        let found = find(&graph[site], &reference, &candidate, 1e-5);
        assert_eq!(found, expected);
    }

    #[test]
    fn what_was_done_is_found() {
        let pick = |axis, order: &'static [usize]| move |v: &ArrayD<f32>| v.select(Axis(axis), order);
        check(A::ActMul, &[3, 8], pick(1, &[7, 1, 2, 3, 4, 5, 6, 0]), Some(Disguise::Order));
        check(A::QProj, &[5, 32], |v| v * 0.5, Some(Disguise::Scaled(0.5)));
        let by_channel = |v: &ArrayD<f32>| v * &Array::from_shape_fn(8, |channel| 0.5 + channel as f32).into_dyn();
        check(A::InputNorm, &[5, 8], by_channel, Some(Disguise::Channels));
        check(A::Scores, &[4, 5, 5], |v| v + 3.0, Some(Disguise::Shifted));
        let masked = |v: &ArrayD<f32>| {
            let mut v = v.clone();
            v[[0, 1, 2]] = f32::NEG_INFINITY;
            v
        };
        check(A::Scores, &[4, 5, 5], masked, Some(Disguise::Mask));
        check(A::QRope, &[4, 5, 8], |v| v.mapv(f32::sin), None);
        check(A::Block, &[5, 32], |v| v.mapv(|v| v + 1.0), None);
    }

    #[track_caller]
    fn check_order(shape: &[usize], change: impl Fn(&ArrayD<f32>) -> ArrayD<f32>, expected: Option<&Disguise>) {
        let reference = numbers(shape);
        let candidate = change(&reference).as_standard_layout().into_owned();
        let found = search(&reference, &candidate, 8, 1e-5);
        assert_eq!(found.as_ref().map(|found| &found.disguise), expected);
        assert!(found.is_none_or(|found| found.sides[0] == found.sides[1]));
    }

    #[test]
    fn the_order_is_found() {
        let pick = |axis, order: &'static [usize]| move |v: &ArrayD<f32>| v.select(Axis(axis), order);
        let (beside, apart) = (Disguise::Pairs(Pairs::SideBySide), Disguise::Pairs(Pairs::HalfApart));
        check_order(&[4, 5, 8], pick(2, &[0, 4, 1, 5, 2, 6, 3, 7]), Some(&beside));
        check_order(&[4, 5, 8], pick(2, &[0, 2, 4, 6, 1, 3, 5, 7]), Some(&apart));
        check_order(&[5, 16], pick(1, &[0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15]), Some(&beside));
        check_order(&[4, 5, 8], pick(0, &[2, 3, 1, 0]), Some(&Disguise::Heads(vec![3, 2, 0, 1])));
        let merged = |v: &ArrayD<f32>| {
            let heads = v.clone().into_shape_with_order((5, 4, 8)).expect("a split").permuted_axes([1, 0, 2]);
            heads.as_standard_layout().into_owned().into_shape_with_order(vec![5, 32]).expect("as many")
        };
        check_order(&[5, 32], merged, Some(&Disguise::HeadsBeforeTokens));
        check_order(&[4, 5, 8], |v| v.mapv(f32::sin), None);
    }
}
