//! The second pass: what stands out, what became of it, and what else is known about it.

use std::collections::HashMap;

use super::disguise::{self, Disguise};
use super::finding::{Finding, blame_consumers};
use super::flow::{Fate, Flow, State};
use super::survey::{Survey, read};
use super::{noise, permutation};
use crate::diagnose::curve::Curve;
use crate::diagnose::report::Culprit;
use crate::dump::{self, Pair};
use crate::engine::{Read, Site};

/// Everything that was found out.
pub(super) struct Trace {
    pub(super) states: Vec<State>,
    pub(super) findings: Vec<Finding>,
    pub(super) curve: Curve,
    /// Where noise of low precision begins, if it looks like that, and its size there.
    pub(super) noise: Option<(usize, f64)>,
    /// The largest error in line before each node.
    pub(super) before: Vec<f64>,
    /// What was in line at each node.
    pub(super) limits: Vec<f64>,
    /// The disguises looked for.
    pub(super) searched: HashMap<usize, Option<Disguise>>,
}

/// Tries to explain a step by low precision inside an op, at most.
const TRIES: usize = 8;

/// Searches for what a mislabelled tensor really is, at most.
const LABELS: usize = 4;

/// Judges every node, and follows those that stand out, up to the first that goes on.
pub(super) fn trace(pair: &Pair, survey: &Survey) -> Result<Trace, dump::Error> {
    let mut trace = judged(pair, survey)?;
    let flow = Flow::new(pair);
    let mut labels = 0;
    for at in 0..survey.nodes.len() {
        if !matches!(trace.states[at], State::Out | State::Disguised) {
            continue;
        }
        trace.see_through(pair, survey, &flow, at)?;
        let disguise = trace.searched.get(&at).cloned().flatten();
        let fate = flow.fate(survey, &trace.states, &trace.curve, at);
        let fate = trace.weighed(pair, survey, at, fate, disguise.as_ref())?;
        let harmless = disguise.as_ref().is_some_and(|d| d.harmless(&survey.nodes[at]));
        let mut finding = trace.finding(pair, survey, at, fate, disguise)?;
        if fate != Fate::GoesOn && !harmless && labels < LABELS {
            labels += 1;
            blame_consumers(pair, survey, &mut finding)?;
            trace.name_it(pair, survey, &mut finding)?;
        }
        let fate = finding.fate;
        trace.findings.push(finding);
        if fate == Fate::GoesOn {
            break;
        }
    }
    trace.share_culprits(survey);
    Ok(trace)
}

/// Which nodes are in line.
fn judged(pair: &Pair, survey: &Survey) -> Result<Trace, dump::Error> {
    let mut trace = Trace {
        states: Vec::with_capacity(survey.nodes.len()),
        findings: Vec::new(),
        curve: Curve::default(),
        noise: None,
        before: Vec::with_capacity(survey.nodes.len()),
        limits: Vec::with_capacity(survey.nodes.len()),
        searched: HashMap::new(),
    };
    let mut tries = 0;
    for (at, node) in survey.nodes.iter().enumerate() {
        trace.before.push(trace.curve.largest());
        if let Some(found) = &node.found {
            trace.curve.meet(found.precision());
        }
        let mut error = node.error();
        let stands_out = |error: f64, curve: &Curve| node.found.is_some() && (error.is_nan() || error > curve.limit());
        let mut order = None;
        if stands_out(error, &trace.curve)
            && let Some(found) = permutation::of_node(pair, survey, at, trace.order(survey, at))?
        {
            (error, order) = (found.error, Some(found.disguise));
        }
        if stands_out(error, &trace.curve) && tries < TRIES {
            tries += 1;
            if let Some(precision) = noise::coarser(pair, survey, &trace.curve, at)? {
                trace.curve.meet(precision);
            } else if trace.noise.is_none()
                && let Some(most) = noise::from_the_first_product(pair, survey, &trace.states, &trace.curve, at)?
            {
                trace.noise = Some((at, error));
                trace.curve.take_noise(most);
            }
        }
        trace.limits.push(trace.curve.limit());
        trace.states.push(match &node.found {
            None => State::NotCompared,
            Some(_) if stands_out(error, &trace.curve) => State::Out,
            Some(_) if order.is_some() => State::Disguised,
            Some(_) => State::InLine,
        });
        if matches!(trace.states[at], State::InLine | State::Disguised) {
            trace.curve.take(error);
            trace.searched.extend(order.map(|order| (at, Some(order))));
        }
    }
    Ok(trace)
}

impl Trace {
    /// Wrong names of one activation, in several layers, are one mistake: what is known of one is known of all.
    fn share_culprits(&mut self, survey: &Survey) {
        let of = |finding: &Finding| survey.nodes[finding.at].class;
        let wrong_names = self.findings.iter().filter(|finding| finding.fate == Fate::Heals);
        let known: Vec<_> = wrong_names.map(|finding| (of(finding), finding.culprit)).collect();
        for finding in self.findings.iter_mut().filter(|finding| finding.fate == Fate::Heals) {
            let mut same = known
                .iter()
                .filter(|(class, whose)| *class == of(finding) && class.is_some() && *whose != Culprit::Unknown);
            if let (Culprit::Unknown, Some((_, whose))) = (finding.culprit, same.next())
                && same.all(|(_, other)| other == whose)
            {
                finding.culprit = *whose;
            }
        }
    }

    /// The order found for the same activation in an earlier layer.
    fn order(&self, survey: &Survey, at: usize) -> Option<&Disguise> {
        let same = |place: &usize| survey.nodes[*place].class == survey.nodes[at].class;
        let earlier = (0..at).filter(same).find_map(|place| self.searched.get(&place)?.as_ref());
        earlier.filter(|found| matches!(found, Disguise::Pairs(_) | Disguise::Heads(_) | Disguise::HeadsBeforeTokens))
    }

    /// Looks for disguises of a node, and of what stands out among its nearest consumers.
    fn see_through(&mut self, pair: &Pair, survey: &Survey, flow: &Flow, at: usize) -> Result<(), dump::Error> {
        let mut open = vec![at];
        while let Some(place) = open.pop() {
            if self.searched.contains_key(&place) {
                continue;
            }
            let found = self.disguise(pair, survey, place)?;
            if found.is_some() {
                self.states[place] = State::Disguised;
            }
            self.searched.insert(place, found);
            let nearest = flow.nearest(survey, &self.states, at);
            open.extend(nearest.into_iter().map(|(place, _)| place).filter(|place| self.states[*place] == State::Out));
        }
        Ok(())
    }

    fn disguise(&self, pair: &Pair, survey: &Survey, at: usize) -> Result<Option<Disguise>, dump::Error> {
        let node = &survey.nodes[at];
        // Another order of the logits is no other form of them.
        let graph = pair.graph();
        let logits = |site: &Site| graph.is_head(*site) || graph.output() == Some(*site);
        let Some(site) = node.subject.site().filter(|site| !logits(site)) else { return Ok(None) };
        let [Some(reference), Some(candidate)] = read(pair, node.forward, &node.subject)?.parts else {
            return Ok(None);
        };
        let limit = self.limits[at].min(node.error() / 8.0);
        Ok(disguise::find(&graph[site], &reference.values, &candidate.values, limit))
    }

    /// Whether everything that an op reads was compared, and is in line.
    pub(super) fn reads_what_agrees(&self, pair: &Pair, survey: &Survey, at: usize) -> bool {
        let node = &survey.nodes[at];
        let good = |place: usize| matches!(self.states[place], State::InLine | State::Disguised);
        let agrees = |site| survey.compared(node.forward, site).is_some_and(good);
        let inputs = node.subject.site().map(|site| &pair.graph()[site].reads);
        inputs.is_some_and(|reads| reads.iter().copied().map(Read::site).all(agrees))
    }
}
