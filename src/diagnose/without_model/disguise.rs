//! The same values in another form: in another order, scaled, shifted, or masked elsewhere.

use std::fmt;

use ndarray::{ArrayRef, Axis, IxDyn, Zip};

use super::survey::Node as Compared;
use crate::diagnose::equivalent::Pairs;
use crate::engine::{Graph, Node, Op};
use crate::metrics::relative_error;

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
    /// Every row of the scores is shifted by a number of its own.
    Shifted,
    /// Equal where neither masks.
    Mask,
}

impl Disguise {
    /// Whether an engine may keep the activation in this form, if what follows agrees.
    pub(super) fn harmless(&self, node: &Compared) -> bool {
        match self {
            Self::Pairs(_) | Self::Heads(_) | Self::HeadsBeforeTokens | Self::Order => true,
            Self::Scaled(_) | Self::Shifted | Self::Mask => node.before_softmax,
        }
    }
}

/// By node: whether it only reaches the stream through a softmax.
pub(super) fn before_softmax(graph: &Graph) -> Vec<bool> {
    // Of its readers so far: whether there is one, and whether all are a softmax or before one.
    let mut readers = vec![(false, true); graph.len()];
    for site in graph.sites().rev() {
        let (read, all) = readers[site.index()];
        let before = matches!(graph[site].op, Op::Softmax) || (read && all);
        for read in &graph[site].reads {
            let (any, all) = &mut readers[read.site().index()];
            (*any, *all) = (true, *all && before);
        }
    }
    readers.into_iter().map(|(read, all)| read && all).collect()
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
            Self::Heads(order) => write!(f, "the reference's heads are the candidate's heads {order:?}"),
            Self::HeadsBeforeTokens => f.write_str("heads and tokens have changed places"),
            Self::Order => f.write_str("every row holds the same values in another order"),
            Self::Scaled(factor) => write!(f, "the candidate's values are {factor:.6} times the reference's"),
            Self::Shifted => f.write_str("every row is shifted by a number of its own"),
            Self::Mask => f.write_str("they are equal where neither side masks"),
        }
    }
}

/// Sorted rows must agree this well: rows of many random numbers are alike once sorted.
const SORTED: f64 = 1e-3;

/// Finds the disguise under which the error is at most `limit`, other than another order of heads or of their channels.
pub(super) fn find(
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
    scaled(reference, candidate, limit)
        .or_else(|| sorted(row_axis(node, reference.ndim())?, reference, candidate, limit))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Role as A;
    use crate::model::{Spec, lower::lower};
    use ndarray::{Array, ArrayD};

    /// Numbers without a pattern.
    fn numbers(shape: &[usize]) -> ArrayD<f32> {
        let mut state = 1u32;
        Array::from_shape_simple_fn(shape, || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 8_388_608.0 - 1.0
        })
    }

    fn graph(family: &str) -> Graph {
        let text = format!(r#"{{"model_type": "{family}", "num_hidden_layers": 1, "n_layer": 1}}"#);
        lower(&Spec::from_json(&text, "config.json").expect("a config").0)
    }

    #[track_caller]
    fn check(role: A, shape: &[usize], change: impl Fn(&ArrayD<f32>) -> ArrayD<f32>, expected: Option<Disguise>) {
        let reference = numbers(shape);
        let candidate = change(&reference).as_standard_layout().into_owned();
        let graph = graph("llama");
        let site = graph.in_layer(0, role).expect("a role of a layer");
        let found = find(&graph[site], &reference, &candidate, 1e-5);
        assert_eq!(found, expected);
    }

    #[test]
    fn queries_keys_and_scores_only_reach_the_stream_through_the_softmax() {
        for (family, expected) in
            [("qwen3", "q_proj k_proj q_norm k_norm q_rope k_rope scores"), ("gpt2", "q k scores")]
        {
            let (graph, mut words) = (graph(family), expected.split(' '));
            for (site, before) in graph.sites().zip(before_softmax(&graph)) {
                assert!(!before || words.next().is_some_and(|word| graph[site].label.ends_with(word)), "{site:?}");
            }
            assert_eq!(words.next(), None, "{family}");
        }
    }

    #[test]
    fn what_was_done_is_found() {
        let pick = |axis, order: &'static [usize]| move |v: &ArrayD<f32>| v.select(Axis(axis), order);
        check(A::ActMul, &[3, 8], pick(1, &[7, 1, 2, 3, 4, 5, 6, 0]), Some(Disguise::Order));
        check(A::QProj, &[5, 32], |v| v * 0.5, Some(Disguise::Scaled(0.5)));
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
}
