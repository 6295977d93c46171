//! Parts of a dump.

use layerstep::engine::{Graph, Role as R, Site};
use ndarray::Axis;

use crate::fixture::{Tensors, parsed};

fn only(original: &Tensors, graph: &Graph, keep: impl Fn(Site) -> bool) -> Tensors {
    original.rewritten(|name, values| keep(parsed(name, graph).1).then(|| (name.into(), values.clone())))
}

pub(crate) fn all(original: &Tensors, _: &Graph) -> Tensors {
    original.clone()
}

pub(crate) fn blocks(original: &Tensors, graph: &Graph) -> Tensors {
    only(original, graph, |site| graph.is(site, R::Block))
}

/// Every second block: of three layers, the first and the last.
pub(crate) fn second_blocks(original: &Tensors, graph: &Graph) -> Tensors {
    only(original, graph, |site| graph.is(site, R::Block) && graph[site].layer.is_some_and(|layer| layer % 2 == 0))
}

pub(crate) fn middle_block_and_logits(original: &Tensors, graph: &Graph) -> Tensors {
    only(original, graph, |site| Some(site) == graph.in_layer(1, R::Block) || graph.output() == Some(site))
}

pub(crate) fn logits(original: &Tensors, graph: &Graph) -> Tensors {
    only(original, graph, |site| graph.output() == Some(site))
}

pub(crate) fn attention(original: &Tensors, graph: &Graph) -> Tensors {
    only(original, graph, |site| graph.is(site, R::OProj))
}

/// The last row of every forward, but of the keys and values: an engine that only generates has no other logits.
pub(crate) fn last_rows(original: &Tensors, graph: &Graph) -> Tensors {
    original.rewritten(|name, values| {
        let (_, site) = parsed(name, graph);
        let kept = matches!(graph[site].role, Some(R::KProj | R::VProj | R::KNorm | R::KRope));
        let axis = Axis(graph[site].row_axis());
        let last = values.len_of(axis) - 1;
        Some((name.into(), if kept { values.clone() } else { values.select(axis, &[last]) }))
    })
}

/// The last row of everything.
pub(crate) fn last_rows_only(original: &Tensors, graph: &Graph) -> Tensors {
    original.rewritten(|name, values| {
        let (_, site) = parsed(name, graph);
        let axis = Axis(graph[site].row_axis());
        Some((name.into(), values.select(axis, &[values.len_of(axis) - 1])))
    })
}
