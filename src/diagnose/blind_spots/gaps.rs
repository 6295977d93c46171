//! What lies between the activations that were dumped: ops that cannot be told apart.

use super::Coverage;
use crate::diagnose::finding::ranges;
use crate::engine::{Graph, Role, Site};

/// A run of activations that are not there, and the one behind it that is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Gap {
    /// The first that is not there.
    from: Site,
    /// The first after it that is; `None` at the end of the program.
    to: Option<Site>,
    /// How many ops a wrong value at `to` can come from.
    ops: usize,
}

/// Gaps that are told, at most.
const MOST: usize = 4;

/// The gaps of the first forward, in words. `None` when there is none.
pub(super) fn told(coverage: &Coverage, graph: &Graph) -> Option<String> {
    // Those that are alike in several layers are told once.
    let mut alike: Vec<(Gap, Vec<usize>)> = Vec::new();
    for gap in gaps(coverage, graph) {
        let layer = graph[gap.from].layer.filter(|layer| gap.to.is_some_and(|to| graph[to].layer == Some(*layer)));
        let ends = |gap: &Gap| (graph.class(gap.from), gap.to.map(|to| graph.class(to)), gap.ops);
        let same = |(other, layers): &&mut (Gap, Vec<usize>)| {
            layer.is_some() && !layers.is_empty() && ends(other) == ends(&gap)
        };
        if let Some((_, layers)) = alike.iter_mut().find(same) {
            layers.extend(layer);
        } else {
            alike.push((gap, layer.into_iter().collect()));
        }
    }
    let mut told: Vec<String> = alike.iter().take(MOST).map(|(gap, layers)| one(gap, layers, graph)).collect();
    match alike.len().saturating_sub(MOST) {
        0 => {}
        more => told.push(format!("and {more} more")),
    }
    (!told.is_empty()).then(|| told.join("; "))
}

fn gaps(coverage: &Coverage, graph: &Graph) -> Vec<Gap> {
    let (mut gaps, mut open): (Vec<Gap>, Option<Gap>) = (Vec::new(), None);
    for site in graph.sites() {
        let gap = open.get_or_insert(Gap { from: site, to: None, ops: 0 });
        gap.ops += 1;
        if coverage.rows.contains_key(&(0, site)) {
            gap.to = Some(site);
            gaps.extend(open.take().filter(|gap| gap.ops > 1));
        }
    }
    gaps.extend(open);
    gaps
}

fn one(gap: &Gap, layers: &[usize], graph: &Graph) -> String {
    let Gap { from, to, ops } = *gap;
    let name = graph.name(from);
    match (to, layers) {
        (None, _) if ops == 1 => format!("{name}, the end"),
        (None, _) => format!("from {name} to the end ({ops} ops)"),
        (Some(to), [] | [_]) => format!("from {name} to {} ({ops} ops)", graph.name(to)),
        (Some(to), layers) => {
            let end = if graph.is(to, Role::Block) { "the block's output" } else { &graph[to].label };
            format!("from {} to {end} ({ops} ops) in layers {}", graph[from].label, ranges(layers))
        }
    }
}
