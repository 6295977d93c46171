//! Low precision that no tensor's bits show: quantised weights, products in TF32 or int8, attention in f16.

use ndarray::{ArrayD, Axis};

use super::disguise;
use super::equation::Closure;
use super::survey::{Node, Survey};
use super::trace::{State, Trace};
use crate::diagnose::curve::Curve;
use crate::diagnose::precision::Precision;
use crate::engine::{Graph, Op, Product, Role, Site, Value};
use crate::metrics;

/// Noise in a tensor, at most, when q, k and v have it alike: weights of four bits make a tenth, of three a quarter.
const MOST: f64 = 0.25;

/// The same, when one tensor alone shows it.
const MOST_ALONE: f64 = 0.1;

/// Products of one input are about equally noisy.
const ALIKE: f64 = 8.0;

/// Noise spares no row.
const SPARED: f64 = 20.0;

impl Trace<'_> {
    /// The precision in which both sides do the op at `at`, when that is coarser than their bits and explains the error.
    pub(super) fn coarser(&self, at: usize) -> Option<Precision> {
        let (survey, curve) = (self.survey, &self.curve);
        let node = &survey.nodes[at];
        let site = node.subject.site()?;
        // Who computes an op in low precision does so in every layer.
        let mut compared = survey.nodes[..at].iter().filter(|before| before.found.is_some());
        let inner = matches!(
            survey.graph()[site].op,
            Op::Scores(_) | Op::Softmax { .. } | Op::Context { .. } | Op::Activate(_) | Op::Multiply
        );
        if !inner || compared.any(|before| before.class == node.class) {
            return None;
        }
        let mut coarsest = curve.coarsest();
        for check in survey.checks(node.row.step, site) {
            let Closure::Holds(precision) = check.closure else { return None };
            coarsest = coarsest.max(precision);
        }
        (coarsest > curve.coarsest() && node.row.strict() <= Curve::rounding(coarsest)).then_some(coarsest)
    }

    /// The noise, when the first step of the curve looks as if one side computed its products in low precision: it is small, spares no
    /// row, has no pattern, and stands at the first products, all of them. Weights that are a little wrong look the same.
    pub(super) fn noise_of_products(&self, at: usize) -> Option<f64> {
        let (survey, graph) = (self.survey, self.survey.graph());
        let node = &survey.nodes[at];
        let no_product = |site: Site| site.index() < graph.start(0) || graph.is(site, Role::InputNorm);
        let compared = |node: &Node| node.subject.site().filter(|_| node.found.is_some());
        let mut before = survey.nodes[..at].iter().filter_map(compared);
        let product = |site: &Site| !no_product(*site) && !graph.is(*site, Role::FinalNorm);
        let site = node.subject.site().filter(product)?;
        if self.states.contains(&State::Out) || node.row.step > 0 || !before.all(no_product) {
            return None;
        }
        let mut alike: Vec<usize> = siblings(graph, site).filter_map(|site| survey.compared(0, site)).collect();
        if alike.is_empty() {
            alike.push(at);
        }
        let errors = alike.into_iter().map(|place| without_pattern(survey, place)).collect::<Option<Vec<f64>>>()?;
        let (least, most) = errors.iter().fold((f64::INFINITY, 0.0), |(a, b), e| (f64::min(a, *e), f64::max(b, *e)));
        let allowed = if errors.len() > 1 { MOST } else { MOST_ALONE };
        (least > self.curve.limit() && most <= allowed && most <= ALIKE * least).then_some(most)
    }
}

/// The products that make heads of what this one makes heads of, itself among them: q, k and v. None if it makes none.
fn siblings(graph: &Graph, site: Site) -> impl Iterator<Item = Site> {
    let product = |op: &Op| matches!(op, Op::Columns(_)) || op.facts().product == Product::Weights;
    let makes_heads = move |site: Site| graph[site].heads().is_some() && product(&graph[site].op);
    let read = graph[site].reads.first().filter(|_| makes_heads(site)).map(|read| read.site());
    read.into_iter().flat_map(|read| graph.readers(read)).filter(move |other| makes_heads(*other))
}

/// The error of a node, behind another order of heads or channels, if it has no pattern: no row is spared, rows do not
/// differ alike, and no number makes up for it.
fn without_pattern(survey: &Survey, at: usize) -> Option<f64> {
    let node = &survey.nodes[at];
    let (error, [reference, candidate]) = if let Some(found) = disguise::other_order(survey, at, None) {
        (found.error, found.sides)
    } else {
        // The axis before the last is that of the rows, of experts too.
        let by_row = |values: Value| {
            let (axes, mut values) = (values.ndim(), values.into_owned());
            let rows = node.subject.site().and_then(|site| disguise::row_axis(&survey.graph()[site], axes));
            if let Some(Axis(rows)) = rows {
                values.swap_axes(rows, axes - 2);
            }
            values
        };
        (node.row.strict(), survey.values(at)?.map(by_row))
    };
    if reference.shape() != candidate.shape() || reference.ndim() < 2 {
        return None;
    }
    let rows = metrics::compare(candidate.view(), reference.view(), |_, _| true).row_errors;
    let pattern = rows.iter().any(|row| row * SPARED < error)
        || disguise::scaled(&reference, &candidate, error / 2.0).is_some()
        || same_in_every_row(&(&candidate - &reference));
    (!pattern).then_some(error)
}

/// Whether half of a difference is the same in every row, as a missing bias is.
fn same_in_every_row(difference: &ArrayD<f32>) -> bool {
    let Some(axis) = difference.ndim().checked_sub(2).map(Axis) else { return false };
    let rows = difference.len_of(axis);
    let squares = |values: &ArrayD<f32>| values.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>();
    let Some(mean) = difference.mean_axis(axis).filter(|_| rows > 2) else { return false };
    squares(&mean) * rows as f64 > 0.5 * squares(difference)
}
