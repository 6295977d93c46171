//! One tensor that stands out: what became of it, whose it is, and what else is known about it.

use super::disguise::Disguise;
use super::equation::{Check, Closure};
use super::label;
use super::trace::{Finding, State, Trace};
use crate::diagnose::equivalent::Pairs;
use crate::diagnose::finding::Kind;
use crate::diagnose::report::Culprit;
use crate::engine::{Graph, Op, Site};

const SIDES: [(&str, Culprit); 2] = [("reference", Culprit::Reference), ("candidate", Culprit::Candidate)];

impl Trace<'_> {
    /// What becomes of a tensor, when more is considered than what follows: another order of q and k, a turn of both, and
    /// whether it can be anything else than what its name says.
    pub(super) fn weighed(&self, at: usize, disguise: Option<&Disguise>) -> Kind {
        match self.fate(at) {
            Kind::Open if self.turned_alike(at, disguise) => Kind::Mislabelled,
            Kind::Open if disguise.is_none() && self.is_rightly_named(at) => Kind::Wrong,
            Kind::Wrong if self.matched_by_rope(at, disguise) => Kind::Mislabelled,
            Kind::Mislabelled if !disguise.is_some_and(|disguise| disguise.harmless(self.survey, at)) => self.used(at),
            kind => kind,
        }
    }

    /// Gathers what its own op tells.
    pub(super) fn finding(&self, at: usize, kind: Kind, disguise: Option<Disguise>) -> Finding {
        let node = &self.survey.nodes[at];
        let mut said: Vec<String> = disguise.iter().map(ToString::to_string).collect();
        let (mut culprit, mut exact) = (Culprit::Unknown, false);
        if let Some(site) = node.subject.site() {
            let checks = self.survey.checks(node.row.step, site);
            culprit = odd_one(&checks);
            said.extend(differently(&checks));
            // An op that neither dump does as we would may have others inside.
            let ours = checks.iter().any(|c| matches!(c.closure, Closure::Holds(_)))
                || checks.iter().all(|c| c.closure == Closure::Unknown);
            exact = ours && self.reads_what_agrees(at);
        }
        Finding { at, kind, disguise, culprit, exact, said }
    }

    /// Whether rotated q and k are in one and the same other order: their products are those of the reference.
    fn turned_alike(&self, at: usize, disguise: Option<&Disguise>) -> bool {
        let (graph, node) = (self.survey.graph(), &self.survey.nodes[at]);
        let scores = node.subject.site().and_then(|site| behind(graph, site, |op| matches!(op, Op::Scores(_))));
        let order = |site| self.searched.get(&self.survey.compared(node.row.step, site)?)?.as_ref();
        let turned = |(scores, _): (Site, Site)| graph[scores].reads.iter().all(|read| order(read.site()) == disguise);
        matches!(disguise, Some(Disguise::Pairs(_))) && scores.is_some_and(turned)
    }

    /// Where both q and k stand out and the scores agree, they may have been used all the same: a turn of both by one angle
    /// cancels out.
    fn used(&self, at: usize) -> Kind {
        let (graph, node) = (self.survey.graph(), &self.survey.nodes[at]);
        let scores = node.subject.site().and_then(|site| behind(graph, site, |op| matches!(op, Op::Scores(_))));
        let Some((scores, own)) = scores else { return Kind::Mislabelled };
        let mut partners = graph[scores].reads.iter().map(|read| read.site()).filter(|read| *read != own);
        let out = |read| self.survey.compared(node.row.step, read).is_some_and(|at| self.states[at] == State::Out);
        if !partners.any(out) {
            return Kind::Mislabelled;
        }
        let others = self.survey.checks(node.row.step, scores).map(|check| check.closure);
        match others.iter().find(|closure| !matches!(closure, Closure::Holds(_))) {
            None => Kind::Wrong,
            Some(Closure::Fails) => Kind::Mislabelled,
            Some(_) => Kind::Open,
        }
    }

    /// Whether a tensor is what its name says although nothing that follows tells: its first row agrees, or its last, or
    /// all of it in an earlier forward.
    fn is_rightly_named(&self, at: usize) -> bool {
        let node = &self.survey.nodes[at];
        let earlier = self.survey.nodes[..at].iter().zip(&self.states);
        let mut agreed = earlier.filter(|(earlier, _)| earlier.subject == node.subject);
        if agreed.any(|(_, state)| *state == State::InLine) {
            return true;
        }
        let errors = node.found.as_ref().map(|found| found.row_errors.as_slice()).unwrap_or_default();
        let agrees = |row: &usize| errors.get(*row).is_some_and(|error| *error <= self.limits[at]);
        let rows: Vec<usize> = [0, errors.len().saturating_sub(1)].into_iter().filter(agrees).collect();
        let plain = node.subject.site().is_some_and(|site| self.survey.graph()[site].row_axis() == 0);
        let [reference, _] = self.survey.parts(node.row.step, &node.subject);
        let Some(reference) = reference.filter(|_| plain) else { return !rows.is_empty() };
        // A row that one massive channel carries is much the same in every layer.
        let carried = |row: usize| {
            let squares = reference.values.index_axis(ndarray::Axis(0), row).mapv(|v| f64::from(v).powi(2));
            squares.iter().copied().fold(0.0, f64::max) > 0.5 * squares.sum()
        };
        rows.into_iter().any(|row| row < reference.values.len_of(ndarray::Axis(0)) && !carried(row))
    }

    /// Says which activation a mislabelled tensor is. What is another activation for certain needs nothing that follows.
    pub(super) fn name_it(&self, finding: &mut Finding) {
        let (node, graph) = (&self.survey.nodes[finding.at], self.survey.graph());
        let limit = self.limit_behind(finding.at);
        let labels = label::search(self.survey, finding.at, limit);
        for label in &labels {
            let ((own, whose), (other, _)) = (SIDES[label.side], SIDES[1 - label.side]);
            if finding.culprit == Culprit::Unknown && labels.len() == 1 {
                finding.culprit = whose;
            }
            let really = graph.name(label.really);
            let named = self.survey.pair.name(&node.subject);
            finding.said.push(format!("the {own}'s {named} equals the {other}'s {really}"));
        }
        if let Some(side) = label::before_weight(self.survey, finding.at, limit) {
            finding.said.push(format!("the {}'s is the norm before its weight", SIDES[side].0));
            finding.culprit = SIDES[side].1;
        }
        if let Some(side) = label::normed(self.survey, finding.at, limit) {
            let ((own, whose), (other, _)) = (SIDES[side], SIDES[1 - side]);
            finding.culprit = whose;
            finding
                .said
                .push(format!("the {own}'s is a norm of the {other}'s, as Hugging Face's last hidden_states is"));
            finding.kind = Kind::Mislabelled;
        } else if finding.kind == Kind::Open && !labels.is_empty() {
            finding.kind = Kind::Mislabelled;
        } else if finding.kind == Kind::Open && node.row.layer.is_some_and(|layer| layer + 1 == graph.layers()) {
            finding.said.push("Hugging Face's last hidden_states is after the final norm".into());
        }
    }

    /// What reads a mislabelled tensor does not follow from it, in the dump that is wrong.
    pub(super) fn blame_readers(&self, finding: &mut Finding) {
        let node = &self.survey.nodes[finding.at];
        let readers = node.subject.site().into_iter().flat_map(|site| self.survey.graph().readers(site));
        for reader in readers.filter(|reader| self.survey.has(node.row.step, *reader)) {
            finding.culprit = match (finding.culprit, odd_one(&self.survey.checks(node.row.step, reader))) {
                (known, Culprit::Unknown) => known,
                (Culprit::Unknown, found) => found,
                (known, found) if known == found => known,
                _ => return,
            };
        }
    }

    /// Whether q or k before RoPE is kept in the order in which each side turns its pairs: then the order is no mistake.
    fn matched_by_rope(&self, at: usize, disguise: Option<&Disguise>) -> bool {
        let node = &self.survey.nodes[at];
        let (Some(Disguise::Pairs(pairs)), Some(site)) = (disguise, node.subject.site()) else { return false };
        let rope = behind(self.survey.graph(), site, |op| matches!(op, Op::Rope(_)));
        let beside = *pairs == Pairs::SideBySide;
        rope.is_some_and(|(rope, _)| {
            let turns = self.survey.checks(node.row.step, rope).map(|check| check.how.map(|how| how.contains("2i")));
            turns == [Some(!beside), Some(beside)]
        })
    }
}

/// The op of some kind that a query or key ends up in, and what that reads of it.
fn behind(graph: &Graph, site: Site, wanted: impl Fn(&Op) -> bool) -> Option<(Site, Site)> {
    let mut at = site;
    loop {
        let mut readers = graph.readers(at);
        let reader = readers.next().filter(|_| readers.next().is_none())?;
        match &graph[reader].op {
            op if wanted(op) => return Some((reader, at)),
            Op::Norm { .. } | Op::Rope(_) => at = reader,
            _ => return None,
        }
    }
}

/// The side that does not follow from itself, when the other does.
fn odd_one(checks: &[Check; 2]) -> Culprit {
    match (checks[0].closure, checks[1].closure) {
        (Closure::Fails, Closure::Holds(_)) => Culprit::Reference,
        (Closure::Holds(_), Closure::Fails) => Culprit::Candidate,
        _ => Culprit::Unknown,
    }
}

/// What the two sides do, when it is not the same.
fn differently(checks: &[Check; 2]) -> Option<String> {
    let said = |check: &Check| check.how.clone().unwrap_or_else(|| "nothing that is known".into());
    let (reference, candidate) = (said(&checks[0]), said(&checks[1]));
    (reference != candidate).then(|| format!("the reference has {reference}, the candidate {candidate}"))
}
