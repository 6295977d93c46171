//! What follows from what: whether a tensor that stands out was used by what comes after it.

use std::collections::{HashSet, VecDeque};

use super::survey::{Found, Node, Survey};
use crate::diagnose::curve::Curve;
use crate::dump::{Pair, Subject};
use crate::engine::{Graph, Op, Role, Site};

/// What becomes of a tensor that stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// What follows agrees: the value was right, the tensor is not what its name says.
    Heals,
    /// What follows disagrees.
    GoesOn,
    /// Nothing that follows tells.
    Open,
}

/// How an activation compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Only one dump has it.
    NotCompared,
    /// Its error is in line.
    InLine,
    /// It stands out.
    Out,
    /// It stands out, and is the same in another form.
    Disguised,
}

/// An agreement counts when it is this many times closer than the tensor that stands out.
const CLOSER: f64 = 8.0;

/// The consumers of every activation.
pub(super) struct Flow<'a> {
    graph: &'a Graph,
    consumers: Vec<Vec<Site>>,
}

impl<'a> Flow<'a> {
    pub(super) fn new(pair: &'a Pair) -> Self {
        let graph = pair.graph();
        let mut consumers = vec![Vec::new(); graph.len()];
        for site in graph.sites() {
            for read in &graph[site].reads {
                consumers[read.site().index()].push(site);
            }
        }
        Self { graph, consumers }
    }

    /// What becomes of node `at`; `state` of each node.
    pub(super) fn fate(&self, survey: &Survey, state: &[State], curve: &Curve, at: usize) -> Fate {
        let node = &survey.nodes[at];
        let nearest = self.nearest(survey, state, at);
        let graph = self.graph;
        let ends = |site: Site| graph.output() == Some(site) || (graph.is_head(site) && nearest.is_empty());
        if node.subject.site().is_some_and(ends) {
            return Fate::GoesOn;
        }
        let coarse = curve.coarse();
        let in_stream = |site: Site| graph.is_stream(site) || graph.is(site, Role::ResidMid);
        let later = |site: &Site| survey.compared(node.forward, *site);
        let cut = |place: &usize| state[*place] == State::InLine && agrees(node, &survey.nodes[*place]);
        if !blind(node)
            && (!coarse || node.subject.site().is_some_and(in_stream))
            && self.cuts(&node.subject).iter().filter_map(later).any(|p| cut(&p))
        {
            return Fate::Heals;
        }
        if nearest.iter().any(|(place, _)| state[*place] == State::Out) {
            return Fate::GoesOn;
        }
        // In low precision a mistake fades into the rounding on its way.
        let tell = |(place, direct): &(usize, bool)| (*direct || !coarse) && agrees(node, &survey.nodes[*place]);
        if !nearest.is_empty() && nearest.iter().all(tell) { Fate::Heals } else { Fate::Open }
    }

    /// The nearest consumers that were compared and are no disguises, and whether the op reads the tensor itself.
    pub(super) fn nearest(&self, survey: &Survey, state: &[State], at: usize) -> Vec<(usize, bool)> {
        let node = &survey.nodes[at];
        let blind = blind(node);
        let mut open: VecDeque<(Site, bool)> = match &node.subject {
            Subject::Site(site) => self.after(*site).map(|site| (site, true)).collect(),
            Subject::Named { layer, .. } => self.output(*layer).into_iter().map(|block| (block, false)).collect(),
        };
        let (mut seen, mut found) = (HashSet::new(), Vec::new());
        while let Some((site, direct)) = open.pop_front() {
            if !seen.insert(site) || (blind && matches!(self.graph[site].op, Op::Softmax)) {
                continue;
            }
            match survey.compared(node.forward, site) {
                Some(place) if state[place] != State::Disguised => found.push((place, direct)),
                // A disguise is the tensor itself: what reads it, reads it directly.
                Some(_) => open.extend(self.after(site).map(|site| (site, direct))),
                None => open.extend(self.after(site).map(|site| (site, false))),
            }
        }
        found
    }

    fn after(&self, site: Site) -> impl Iterator<Item = Site> {
        self.consumers[site.index()].iter().copied()
    }

    /// The output of a layer.
    fn output(&self, layer: Option<usize>) -> Option<Site> {
        self.graph.in_layer(layer?, Role::Block)
    }

    /// Everything that the tensor's effect must pass through: the stream behind it.
    fn cuts(&self, subject: &Subject) -> Vec<Site> {
        let (graph, layer) = (self.graph, subject.layer(self.graph));
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
}

/// Over a single key the softmax is 1 whatever q and k are: what follows tells nothing about them.
fn blind(node: &Node) -> bool {
    let positions = node.found.as_ref().map(Found::wrong_rows).unwrap_or_default();
    node.before_softmax && positions.iter().all(|position| *position == 0)
}

/// Whether `later` is clearly closer than `node`, in the rows where that stands out.
fn agrees(node: &Node, later: &Node) -> bool {
    let (Some(out), Some(found)) = (&node.found, &later.found) else { return false };
    let rows = out.wrong_rows();
    let (Some(own), Some(then)) = (out.error_of(&rows), found.error_of(&rows)) else { return false };
    found.comparison.error * CLOSER <= out.comparison.error && then * CLOSER <= own
}
