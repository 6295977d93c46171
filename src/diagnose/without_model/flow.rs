//! What follows from what: whether a tensor that stands out was used by what comes after it.

use std::collections::{HashMap, HashSet, VecDeque};

use super::curve::Curve;
use super::disguise::before_softmax;
use super::survey::{Found, Node, Survey};
use crate::dump::{Pair, Subject};
use crate::engine::{Activation as A, Program, Site, inputs};

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
pub(super) struct Flow {
    consumers: HashMap<Site, Vec<Site>>,
    program: Program,
}

impl Flow {
    pub(super) fn new(pair: &Pair) -> Self {
        let (config, program) = (pair.config(), Program::new(pair.config()));
        let mut consumers: HashMap<Site, Vec<Site>> = HashMap::new();
        for site in program.sites() {
            for input in inputs(*site, config) {
                consumers.entry(input.site()).or_default().push(*site);
            }
        }
        Self { consumers, program }
    }

    /// What becomes of node `at`; `state` of each node.
    pub(super) fn fate(&self, survey: &Survey, state: &[State], curve: &Curve, at: usize) -> Fate {
        let node = &survey.nodes[at];
        if node.activation() == Some(A::LmHead) {
            return Fate::GoesOn;
        }
        let coarse = curve.coarse();
        let blind = blind(node);
        let later = |site: &Site| survey.compared(node.forward, *site);
        let cut = |place: &usize| state[*place] == State::InLine && agrees(node, &survey.nodes[*place]);
        if !blind
            && (!coarse || in_stream(node.activation()))
            && self.cuts(&node.subject).iter().filter_map(later).any(|p| cut(&p))
        {
            return Fate::Heals;
        }
        let nearest = self.nearest(survey, state, at);
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
            Subject::Named { layer, .. } => layer.iter().map(|layer| (Site::new(*layer, A::Block), false)).collect(),
        };
        let (mut seen, mut found) = (HashSet::new(), Vec::new());
        while let Some((site, direct)) = open.pop_front() {
            if !seen.insert(site) || (blind && site.activation == A::Probs) {
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
        self.consumers.get(&site).cloned().unwrap_or_default().into_iter()
    }

    /// Everything that the tensor's effect must pass through: the stream behind it.
    fn cuts(&self, subject: &Subject) -> Vec<Site> {
        let place = match subject {
            Subject::Site(site) => self.program.position(*site),
            Subject::Named { layer, .. } => layer.and_then(|layer| self.program.position(Site::new(layer, A::Block))),
        };
        let Some(place) = place else { return Vec::new() };
        let layer = subject.layer();
        let behind = self.program.sites().iter().skip(place + usize::from(subject.site().is_some())).copied();
        // Inside its own layer, the block's output is the first point that everything has passed.
        let all = |site: &Site| match site.activation {
            A::ResidMid => site.in_layer() != layer,
            A::Block | A::FinalNorm | A::LmHead => true,
            _ => false,
        };
        behind.filter(all).collect()
    }
}

fn in_stream(activation: Option<A>) -> bool {
    matches!(activation, Some(A::EmbedTokens | A::ResidMid | A::Block))
}

/// Over a single key the softmax is 1 whatever q and k are: what follows tells nothing about them.
fn blind(node: &Node) -> bool {
    let positions = node.found.as_ref().map(Found::wrong_rows).unwrap_or_default();
    node.activation().is_some_and(before_softmax) && positions.iter().all(|position| *position == 0)
}

/// Whether `later` is clearly closer than `node`, in the rows where that stands out.
fn agrees(node: &Node, later: &Node) -> bool {
    let (Some(out), Some(found)) = (&node.found, &later.found) else { return false };
    let rows = out.wrong_rows();
    let (Some(own), Some(then)) = (out.error_of(&rows), found.error_of(&rows)) else { return false };
    found.comparison.error * CLOSER <= out.comparison.error && then * CLOSER <= own
}
