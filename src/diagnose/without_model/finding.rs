//! One tensor that stands out: what became of it, whose it is, and what else is known about it.

use super::disguise::Disguise;
use super::equation::{Check, Closure, check};
use super::flow::{Fate, State};
use super::label;
use super::survey::{Survey, read};
use super::trace::Trace;
use crate::diagnose::equivalent::Pairs;
use crate::diagnose::report::Culprit;
use crate::dump::{self, Pair};
use crate::engine::{Graph, Op, Site};

/// One tensor that stands out.
#[derive(Debug)]
pub(super) struct Finding {
    /// Its node.
    pub(super) at: usize,
    pub(super) fate: Fate,
    pub(super) disguise: Option<Disguise>,
    pub(super) culprit: Culprit,
    /// Whether all that the op reads was compared, and is in line.
    pub(super) exact: bool,
    /// What was found out about it, as sentences.
    pub(super) said: Vec<String>,
}

impl Trace {
    /// What becomes of a tensor, when more is considered than what follows: another order of q and k, a turn of both, and
    /// whether it can be anything else than what its name says.
    pub(super) fn weighed(
        &self,
        pair: &Pair,
        survey: &Survey,
        at: usize,
        fate: Fate,
        disguise: Option<&Disguise>,
    ) -> Result<Fate, dump::Error> {
        let harmless = disguise.is_some_and(|disguise| disguise.harmless(&survey.nodes[at]));
        match fate {
            Fate::Open if self.turned_alike(pair, survey, at, disguise) => Ok(Fate::Heals),
            Fate::Open if disguise.is_none() && self.is_rightly_named(pair, survey, at)? => Ok(Fate::GoesOn),
            Fate::GoesOn if matched_by_rope(pair, survey, at, disguise)? => Ok(Fate::Heals),
            Fate::Heals if !harmless => self.used(pair, survey, at),
            _ => Ok(fate),
        }
    }

    /// Gathers what its own op tells.
    pub(super) fn finding(
        &self,
        pair: &Pair,
        survey: &Survey,
        at: usize,
        fate: Fate,
        disguise: Option<Disguise>,
    ) -> Result<Finding, dump::Error> {
        let node = &survey.nodes[at];
        let mut said: Vec<String> = disguise.iter().map(ToString::to_string).collect();
        let (mut culprit, mut exact) = (Culprit::Unknown, false);
        if let Some(site) = node.subject.site() {
            let checks = [check(pair, survey, 0, node.forward, site)?, check(pair, survey, 1, node.forward, site)?];
            culprit = odd_one(&checks);
            said.extend(differently(&checks));
            // An op that neither dump does as we would may have others inside.
            let ours = checks.iter().any(|c| matches!(c.closure, Closure::Holds(_)))
                || checks.iter().all(|c| c.closure == Closure::Unknown);
            exact = ours && self.reads_what_agrees(pair, survey, at);
        }
        Ok(Finding { at, fate, disguise, culprit, exact, said })
    }

    /// Whether rotated q and k are in one and the same other order: their products are those of the reference.
    fn turned_alike(&self, pair: &Pair, survey: &Survey, at: usize, disguise: Option<&Disguise>) -> bool {
        let (graph, node) = (pair.graph(), &survey.nodes[at]);
        let scores = node.subject.site().and_then(|site| behind(graph, site, |op| matches!(op, Op::Scores(_))));
        let order = |site| self.searched.get(&survey.compared(node.forward, site)?)?.as_ref();
        let turned = |(scores, _): (Site, Site)| graph[scores].reads.iter().all(|read| order(read.site()) == disguise);
        matches!(disguise, Some(Disguise::Pairs(_))) && scores.is_some_and(turned)
    }

    /// Where both q and k stand out and the scores agree, they may have been used all the same: a turn of both by one angle
    /// cancels out.
    fn used(&self, pair: &Pair, survey: &Survey, at: usize) -> Result<Fate, dump::Error> {
        let (graph, node) = (pair.graph(), &survey.nodes[at]);
        let Some(site) = node.subject.site() else { return Ok(Fate::Heals) };
        let scores = behind(graph, site, |op| matches!(op, Op::Scores(_)));
        let Some((scores, own)) = scores else { return Ok(Fate::Heals) };
        let mut partners = graph[scores].reads.iter().map(|read| read.site()).filter(|read| *read != own);
        let out = |read| survey.compared(node.forward, read).is_some_and(|place| self.states[place] == State::Out);
        if !partners.any(out) {
            return Ok(Fate::Heals);
        }
        for side in 0..2 {
            match check(pair, survey, side, node.forward, scores)?.closure {
                Closure::Holds(_) => {}
                Closure::Fails => return Ok(Fate::Heals),
                Closure::Unknown => return Ok(Fate::Open),
            }
        }
        Ok(Fate::GoesOn)
    }

    /// Whether a tensor is what its name says although nothing that follows tells: its first row agrees, or its last, or
    /// all of it in an earlier forward.
    fn is_rightly_named(&self, pair: &Pair, survey: &Survey, at: usize) -> Result<bool, dump::Error> {
        let node = &survey.nodes[at];
        let earlier = survey.nodes[..at].iter().zip(&self.states);
        let mut agreed = earlier.filter(|(earlier, _)| earlier.subject == node.subject);
        if agreed.any(|(_, state)| *state == State::InLine) {
            return Ok(true);
        }
        let errors = node.found.as_ref().map(|found| found.comparison.row_errors.as_slice()).unwrap_or_default();
        let agrees = |row: &usize| errors.get(*row).is_some_and(|error| *error <= self.limits[at]);
        let rows: Vec<usize> = [0, errors.len().saturating_sub(1)].into_iter().filter(agrees).collect();
        let plain = node.subject.site().is_some_and(|site| pair.graph()[site].row_axis() == 0);
        let Some(reference) = read(pair, node.forward, &node.subject)?.parts[0].take().filter(|_| plain) else {
            return Ok(!rows.is_empty());
        };
        // A row that one massive channel carries is much the same in every layer.
        let carried = |row: usize| {
            let squares = reference.values.index_axis(ndarray::Axis(0), row).mapv(|v| f64::from(v).powi(2));
            squares.iter().copied().fold(0.0, f64::max) > 0.5 * squares.sum()
        };
        Ok(rows.into_iter().any(|row| row < reference.values.len_of(ndarray::Axis(0)) && !carried(row)))
    }

    /// Says which activation a mislabelled tensor is. What is another activation for certain needs nothing that follows.
    pub(super) fn name_it(&self, pair: &Pair, survey: &Survey, finding: &mut Finding) -> Result<(), dump::Error> {
        let node = &survey.nodes[finding.at];
        let limit = self.limits[finding.at].min(node.error() / 8.0);
        let labels = label::search(pair, survey, finding.at, limit)?;
        let sides = [("reference", Culprit::Reference), ("candidate", Culprit::Candidate)];
        for label in &labels {
            let ((own, whose), (other, _)) = (sides[label.side], sides[1 - label.side]);
            if finding.culprit == Culprit::Unknown && labels.len() == 1 {
                finding.culprit = whose;
            }
            finding.said.push(format!(
                "the {own}'s {} equals the {other}'s {}",
                node.label,
                pair.graph().name(label.really)
            ));
        }
        if let Some(side) = label::before_weight(pair, survey, finding.at, limit)? {
            finding.said.push(format!("the {}'s is the norm before its weight", sides[side].0));
            finding.culprit = sides[side].1;
        }
        if let Some(side) = label::normed(pair, survey, finding.at, limit)? {
            let ((own, whose), (other, _)) = (sides[side], sides[1 - side]);
            finding.culprit = whose;
            finding
                .said
                .push(format!("the {own}'s is a norm of the {other}'s, as Hugging Face's last hidden_states is"));
            finding.fate = Fate::Heals;
        } else if finding.fate == Fate::Open && !labels.is_empty() {
            finding.fate = Fate::Heals;
        } else if finding.fate == Fate::Open && node.layer.is_some_and(|layer| layer + 1 == pair.graph().layers()) {
            finding.said.push("Hugging Face's last hidden_states is after the final norm".into());
        }
        Ok(())
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

/// What reads a mislabelled tensor does not follow from it, in the dump that is wrong.
pub(super) fn blame_consumers(pair: &Pair, survey: &Survey, finding: &mut Finding) -> Result<(), dump::Error> {
    let node = &survey.nodes[finding.at];
    let Some(site) = node.subject.site() else { return Ok(()) };
    let others = survey.nodes.iter().filter(|other| other.forward == node.forward);
    let reads = |other: &Site| pair.graph()[*other].reads.iter().any(|read| read.site() == site);
    for other in others.filter_map(|other| other.subject.site()).filter(reads) {
        let checks = [check(pair, survey, 0, node.forward, other)?, check(pair, survey, 1, node.forward, other)?];
        finding.culprit = match (finding.culprit, odd_one(&checks)) {
            (known, Culprit::Unknown) => known,
            (Culprit::Unknown, found) => found,
            (known, found) if known == found => known,
            _ => return Ok(()),
        };
    }
    Ok(())
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

/// Whether q or k before RoPE is kept in the order in which each side turns its pairs: then the order is no mistake.
fn matched_by_rope(pair: &Pair, survey: &Survey, at: usize, disguise: Option<&Disguise>) -> Result<bool, dump::Error> {
    let node = &survey.nodes[at];
    let (Some(Disguise::Pairs(pairs)), Some(site)) = (disguise, node.subject.site()) else { return Ok(false) };
    let Some((rope, _)) = behind(pair.graph(), site, |op| matches!(op, Op::Rope(_))) else { return Ok(false) };
    let turns = |side| -> Result<Option<bool>, dump::Error> {
        let check = check(pair, survey, side, node.forward, rope)?;
        Ok(check.how.map(|how| how.contains("2i")))
    };
    let beside = *pairs == Pairs::SideBySide;
    Ok(turns(0)? == Some(!beside) && turns(1)? == Some(beside))
}
