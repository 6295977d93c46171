//! What follows from what: whether a tensor that stands out was used by what comes after it.

use std::collections::{HashSet, VecDeque};

use super::survey::{Found, Node};
use super::trace::{State, Trace};
use crate::diagnose::finding::Kind;
use crate::dump::Subject;
use crate::engine::{Op, Role, Site};

/// An agreement counts when it is this many times closer than the tensor that stands out.
const CLOSER: f64 = 8.0;

impl Trace<'_> {
    /// What becomes of a node that stands out: wrong where what follows disagrees, mislabelled where it agrees, open where
    /// nothing that follows tells.
    pub(super) fn fate(&self, at: usize) -> Kind {
        let (survey, graph) = (self.survey, self.survey.graph());
        let node = &survey.nodes[at];
        let nearest = self.nearest(at);
        let ends = |site: Site| graph.output() == Some(site) || (graph.is_head(site) && nearest.is_empty());
        if node.subject.site().is_some_and(ends) {
            return Kind::Wrong;
        }
        let coarse = self.curve.coarse();
        let in_stream = |site: Site| graph.is_stream(site) || graph.is(site, Role::ResidMid);
        let later = |site: &Site| survey.compared(node.row.step, *site);
        let cut = |place: usize| self.states[place] == State::InLine && agrees(node, &survey.nodes[place]);
        if !self.is_blind(node)
            && (!coarse || node.subject.site().is_some_and(in_stream))
            && self.cuts(&node.subject).iter().filter_map(later).any(cut)
        {
            return Kind::Mislabelled;
        }
        if nearest.iter().any(|(place, _)| self.states[*place] == State::Out) {
            return Kind::Wrong;
        }
        // In low precision a mistake fades into the rounding on its way.
        let tell = |(place, direct): &(usize, bool)| (*direct || !coarse) && agrees(node, &survey.nodes[*place]);
        if !nearest.is_empty() && nearest.iter().all(tell) { Kind::Mislabelled } else { Kind::Open }
    }

    /// The nearest consumers that were compared and are no disguises, and whether the op reads the tensor itself.
    pub(super) fn nearest(&self, at: usize) -> Vec<(usize, bool)> {
        let (node, graph) = (&self.survey.nodes[at], self.survey.graph());
        let blind = self.is_blind(node);
        let mut open: VecDeque<(Site, bool)> = match &node.subject {
            Subject::Site(site) => graph.readers(*site).map(|site| (site, true)).collect(),
            Subject::Named { layer, .. } => self.output(*layer).into_iter().map(|block| (block, false)).collect(),
        };
        let (mut seen, mut found) = (HashSet::new(), Vec::new());
        while let Some((site, direct)) = open.pop_front() {
            if !seen.insert(site) || (blind && matches!(graph[site].op, Op::Softmax { .. })) {
                continue;
            }
            match self.survey.compared(node.row.step, site) {
                Some(place) if self.states[place] != State::Disguised => found.push((place, direct)),
                // A disguise is the tensor itself: what reads it, reads it directly.
                Some(_) => open.extend(graph.readers(site).map(|site| (site, direct))),
                None => open.extend(graph.readers(site).map(|site| (site, false))),
            }
        }
        found
    }

    /// The output of a layer.
    fn output(&self, layer: Option<usize>) -> Option<Site> {
        self.survey.graph().in_layer(layer?, Role::Block)
    }

    /// Everything that the tensor's effect must pass through: the stream behind it.
    fn cuts(&self, subject: &Subject) -> Vec<Site> {
        let graph = self.survey.graph();
        let layer = subject.layer(graph);
        let first = match subject {
            Subject::Site(site) => Some(site.index() + 1),
            Subject::Named { layer, .. } => self.output(*layer).map(Site::index),
        };
        let Some(first) = first else { return Vec::new() };
        // Inside its own layer, the block's output is the first point that everything has passed.
        let all = |site: &Site| {
            graph.is_stream(*site)
                || (graph.is(*site, Role::ResidMid) && graph[*site].layer != layer)
                || graph.tail().is_some_and(|tail| site.index() >= tail)
        };
        graph.sites().skip(first).filter(all).collect()
    }

    /// Over a single key the softmax is 1 whatever q and k are: what follows tells nothing about them.
    fn is_blind(&self, node: &Node) -> bool {
        let positions = node.found.as_ref().map(Found::wrong_rows).unwrap_or_default();
        self.survey.is_before_softmax(node) && positions.iter().all(|position| *position == 0)
    }
}

/// Whether `later` is clearly closer than `node`, in the rows where that stands out.
fn agrees(node: &Node, later: &Node) -> bool {
    let (Some(out), Some(found)) = (&node.found, &later.found) else { return false };
    let rows = out.wrong_rows();
    let (Some(own), Some(then)) = (out.error_of(&rows), found.error_of(&rows)) else { return false };
    later.row.strict() * CLOSER <= node.row.strict() && then * CLOSER <= own
}
