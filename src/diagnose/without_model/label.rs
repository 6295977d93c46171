//! What a tensor really is whose name is wrong: another activation of the other dump.

use ndarray::{ArrayViewD, Axis};

use super::equation::fitted_norm;
use super::survey::Survey;
use crate::dump::Subject;
use crate::engine::{Counts, Op, Role, Site};
use crate::metrics;

/// A tensor of one side that is another activation of the other.
pub(super) struct Label {
    /// The side whose tensor it is: 0 is the reference.
    pub(super) side: usize,
    /// What it is.
    pub(super) really: Site,
}

/// Searches both ways; `limit` is the error that counts as equal. A match one way only says whose name is wrong.
pub(super) fn search(survey: &Survey, at: usize, limit: f64) -> Vec<Label> {
    let (node, graph) = (&survey.nodes[at], survey.graph());
    let Some(site) = node.subject.site() else { return Vec::new() };
    let own = survey.parts(node.row.step, &node.subject);
    // At position 0 a rotation changes nothing, so that two names rightly have one value.
    let first = survey.pair.steps().iter().take(node.row.step + 1).sum::<usize>() == 1;
    let own_node = &graph[site];
    let per_head = !own_node.has_keys() && own_node.axes.iter().any(|axis| matches!(axis.counts, Counts::Heads(_)));
    let alike = |other: &Site| {
        let same = graph[*other].axes == own_node.axes && *other != site;
        same && !(first && graph[*other].layer == own_node.layer && per_head)
    };
    let others = survey.nodes.iter().filter(|other| other.row.step == node.row.step);
    let mut best: [Option<(f64, Site)>; 2] = [None, None];
    for other in others.filter_map(|other| other.subject.site()).filter(alike) {
        let there = survey.parts(node.row.step, &Subject::Site(other));
        for side in 0..2 {
            let (Some(values), Some(expected)) = (&own[side], &there[1 - side]) else { continue };
            if values.values.shape() != expected.values.shape() || values.rows != expected.rows {
                continue;
            }
            let error = metrics::compare(values.values.view(), expected.values.view(), |_, _| true).error;
            if error <= limit && best[side].is_none_or(|(least, _)| error < least) {
                best[side] = Some((error, other));
            }
        }
    }
    let found = best.into_iter().enumerate();
    found.filter_map(|(side, best)| best.map(|(_, really)| Label { side, really })).collect()
}

/// How evenly the rows must be scaled to their own size.
const EVEN: f64 = 0.02;

/// The side whose last block's output is a norm of the other side's, within `limit`: Hugging Face's last `hidden_states` is
/// after the final norm. It takes three rows, and rows of different sizes, to tell which of the two is the norm.
pub(super) fn normed(survey: &Survey, at: usize, limit: f64) -> Option<usize> {
    let graph = survey.graph();
    let last = graph.entering(graph.layers()).filter(|last| survey.nodes[at].subject.site() == Some(*last));
    let (sides, norm) = (last.and_then(|_| survey.values(at))?, graph.whole(Role::FinalNorm)?);
    let is_norm = |side: &usize| {
        let fit = fitted_norm(&graph[norm].op, &sides[*side], &sides[1 - side]).filter(|fit| fit.error <= limit);
        fit.is_some_and(|fit| even(fit.scales.iter().zip(&fit.usual).map(|(scale, usual)| scale / usual)))
    };
    let found: Vec<usize> = (0..2).filter(is_norm).collect();
    if let [side] = found.as_slice() { Some(*side) } else { None }
}

/// The side whose norm stands before its weight: the other's is that, times one number per channel.
pub(super) fn before_weight(survey: &Survey, at: usize, limit: f64) -> Option<usize> {
    let op = survey.op(at).filter(|op| matches!(op, Op::Norm { head_dim: None, .. }))?;
    let sides = survey.values(at)?;
    let unweighted = |side: &usize| {
        let (out, x) = (&sides[1 - side], &sides[*side]);
        let fit = fitted_norm(op, out, x).filter(|fit| fit.error <= limit);
        // Every row has the same size before the weight, and another behind it.
        fit.is_some_and(|fit| even(fit.scales.into_iter())) && even(x.axis_iter(Axis(0)).map(size))
    };
    (0..2).find(unweighted)
}

fn size(row: ArrayViewD<f32>) -> f64 {
    row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt()
}

/// Whether numbers are about equal.
fn even(numbers: impl Iterator<Item = f64>) -> bool {
    let (least, most) = numbers
        .map(f64::abs)
        .fold((f64::INFINITY, 0.0), |(least, most), number| (f64::min(least, number), f64::max(most, number)));
    most - least <= EVEN * most
}
