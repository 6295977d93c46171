//! Tensors that have the value of another activation than their name says.

use std::collections::VecDeque;

use ndarray::{ArrayViewD, Axis};

use super::forced::Forced;
use super::noise::{Expected, Terms, measure};
use super::part::Part;
use super::precision::Precision;
use crate::engine::{Graph, Node, Site, Value};

/// Activations kept to recognise a tensor under another's name: those of two blocks.
const RECENT: usize = 36;

/// What has been computed last.
#[derive(Debug, Default)]
pub(super) struct Recent(VecDeque<(Site, Value<f64>, Vec<Value<f32>>)>);

impl Recent {
    /// Keeps what `site`, the op computed last, gives.
    pub(super) fn remember(&mut self, site: Site, healed: &Forced) {
        // Attention patterns and logits are large, and nothing else has their shape. Of one row its length tells nothing of
        // which it is.
        let graph = healed.graph();
        if graph[site].is_pooled() || graph[site].has_keys() || graph.is_head(site) || graph.logits() == Some(site) {
            return;
        }
        if self.0.len() == RECENT {
            self.0.pop_front();
        }
        let Expected { exact, draws, .. } = healed.expected();
        self.0.push_back((site, exact.clone(), draws.to_vec()));
    }

    /// The last activation of the shape of `site` that is the wanted one.
    pub(super) fn find(&self, site: Site, graph: &Graph, wanted: impl Fn(Site, Expected) -> bool) -> Option<Site> {
        let mut alike = self.0.iter().rev().filter(|(known, ..)| graph[*known].axes == graph[site].axes);
        alike
            .find(|(known, exact, draws)| wanted(*known, Expected { exact, draws, more: &[] }))
            .map(|(known, ..)| *known)
    }
}

/// Whether `part`, of a dump that is of `typical` precision, has the value of `site` in the forward that `healed` is in.
pub(super) fn is_value_of(site: Site, healed: &Forced, part: &Part, typical: Precision, expected: Expected) -> bool {
    let (graph, first) = (healed.graph(), healed.first_position());
    let precision = Precision::detect(part.values.view()).unwrap_or(typical);
    let terms = Terms::new(4.0, precision, &graph[site], expected.exact.shape());
    expected.exact.ndim() == part.values.ndim() && {
        let noise = measure(site, graph, first, part, expected, terms);
        noise.finite > 0 && noise.is_in_order()
    }
}

/// The rows of `exact` that the rows of a tensor are, as near as rounding allows; `None` where they are no others.
pub(super) fn row_order(part: &Part, exact: ArrayViewD<f64>, node: &Node, floor: f64) -> Option<Vec<usize>> {
    let axis = Axis(node.row_axis());
    let rows = exact.len_of(axis);
    let apart = |y: usize, f: usize| {
        let (y, f) = (part.values.index_axis(axis, y), exact.index_axis(axis, f));
        if y.shape() != f.shape() {
            return f64::INFINITY;
        }
        let (mut apart, mut size) = (0.0, 0.0);
        for (y, f) in y.iter().zip(&f).filter(|(_, f)| f.is_finite()) {
            apart += (f64::from(*y) - f).powi(2);
            size += f * f;
        }
        (apart / size).sqrt()
    };
    let near = 16.0 * floor;
    let nearest = |y: usize| {
        let found = (0..rows).min_by(|a, b| apart(y, *a).total_cmp(&apart(y, *b)))?;
        (apart(y, found) <= near).then_some(found)
    };
    let order: Vec<usize> = (0..part.rows.len()).map(nearest).collect::<Option<_>>()?;
    (order != part.rows).then_some(order)
}
