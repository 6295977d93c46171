//! Layers that have each other's weights: one mistake, though every op of both is wrong.

use std::collections::{BTreeMap, BTreeSet};

use super::finding::{Finding, Kind};
use super::report::Divergence;
use crate::engine::{Edit, Graph};
use crate::model::op::{Vector, Weight};

/// The suspect that is found in each of their ops.
const WHOLE: &str = "wrong_layer_weight";

/// Of divergences that two exchanged layers make, the first says so, and stands for all.
pub(super) fn say_once(merged: &mut Vec<(Divergence, Kind)>, found: &[(usize, &Finding)], graph: &Graph) {
    let mut whose: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (_, finding) in found.iter().filter(|(_, finding)| finding.kind == Kind::Wrong) {
        let taken = finding.suspects.iter().find(|suspect| suspect.id == WHOLE);
        let from = taken.and_then(|suspect| source(suspect.edit.as_ref()?, graph));
        if let Some((layer, from)) = graph[finding.site].layer.zip(from) {
            whose.entry(layer).or_default().insert(from);
        }
    }
    let only = |layer: usize, from: usize| whose.get(&layer).is_some_and(|of| of.iter().eq([&from]));
    let pairs = whose.iter().flat_map(|(layer, from)| from.iter().map(|from| (*layer, *from)));
    let exchanged: Vec<(usize, usize)> = pairs.filter(|(a, b)| a < b && only(*a, *b) && only(*b, *a)).collect();
    for (a, b) in exchanged {
        let mut first = true;
        merged.retain_mut(|(divergence, _)| {
            let here = divergence.layers.iter().all(|layer| [a, b].contains(layer));
            let Some(suspect) = divergence.suspects.first_mut().filter(|suspect| here && suspect.id == WHOLE) else {
                return true;
            };
            if std::mem::take(&mut first) {
                suspect.summary = format!("{}; layers {a} and {b} have each other's weights", suspect.summary);
                return true;
            }
            false
        });
    }
}

/// The layer whose weights a change takes.
fn source(edit: &Edit, graph: &Graph) -> Option<usize> {
    match edit {
        Edit::Weight(Weight::Param(param)) | Edit::NormWeight(Vector::Param(param)) => {
            graph.params()[param.index()].layer
        }
        Edit::All(edits) => edits.iter().find_map(|edit| source(edit, graph)),
        Edit::ByNode(edits) => edits.iter().find_map(|(_, edit)| source(edit, graph)),
        _ => None,
    }
}
