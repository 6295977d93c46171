//! What lies between the activations that were dumped: ops that cannot be told apart.

use super::Coverage;
use crate::engine::{Activation, Program, Site};

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
pub(super) fn told(coverage: &Coverage, program: &Program) -> Option<String> {
    // Those that are alike in several layers are told once.
    let mut alike: Vec<(Gap, Vec<usize>)> = Vec::new();
    for gap in gaps(coverage, program) {
        let layer = gap.from.in_layer().filter(|layer| gap.to.is_some_and(|to| to.in_layer() == Some(*layer)));
        let ends = |gap: &Gap| (gap.from.activation, gap.to.map(|to| to.activation), gap.ops);
        let same = |(other, layers): &&mut (Gap, Vec<usize>)| {
            layer.is_some() && !layers.is_empty() && ends(other) == ends(&gap)
        };
        if let Some((_, layers)) = alike.iter_mut().find(same) {
            layers.extend(layer);
        } else {
            alike.push((gap, layer.into_iter().collect()));
        }
    }
    let mut told: Vec<String> = alike.iter().take(MOST).map(|(gap, layers)| one(gap, layers)).collect();
    match alike.len().saturating_sub(MOST) {
        0 => {}
        more => told.push(format!("and {more} more")),
    }
    (!told.is_empty()).then(|| told.join("; "))
}

fn gaps(coverage: &Coverage, program: &Program) -> Vec<Gap> {
    let (mut gaps, mut open): (Vec<Gap>, Option<Gap>) = (Vec::new(), None);
    for site in program.sites() {
        let gap = open.get_or_insert(Gap { from: *site, to: None, ops: 0 });
        gap.ops += 1;
        if coverage.rows.contains_key(&(0, *site)) {
            gap.to = Some(*site);
            gaps.extend(open.take().filter(|gap| gap.ops > 1));
        }
    }
    gaps.extend(open);
    gaps
}

fn one(gap: &Gap, layers: &[usize]) -> String {
    let Gap { from, to, ops } = gap;
    match (to, layers) {
        (None, _) if *ops == 1 => format!("{from}, the end"),
        (None, _) => format!("from {from} to the end ({ops} ops)"),
        (Some(to), [] | [_]) => format!("from {from} to {to} ({ops} ops)"),
        (Some(to), layers) => {
            let end = if to.activation == Activation::Block { "the block's output" } else { to.activation.row().short };
            format!("from {} to {end} ({ops} ops) in layers {}", from.activation.row().short, ranges(layers))
        }
    }
}

/// `0-2, 5`.
fn ranges(layers: &[usize]) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for layer in layers {
        match runs.last_mut() {
            Some((_, end)) if *end + 1 == *layer => *end = *layer,
            _ => runs.push((*layer, *layer)),
        }
    }
    let run = |(start, end): &(usize, usize)| if start == end { start.to_string() } else { format!("{start}-{end}") };
    runs.iter().map(run).collect::<Vec<_>>().join(", ")
}
