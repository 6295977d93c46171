//! The second pass: what stands out, what became of it, and what else is known about it.

use std::collections::HashMap;

use super::disguise::{self, Disguise};
use super::survey::Survey;
use crate::diagnose::curve::Curve;
use crate::diagnose::finding::Kind;
use crate::diagnose::report::Culprit;
use crate::engine::Read;

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

/// One tensor that stands out.
#[derive(Debug)]
pub(super) struct Finding {
    /// Its node.
    pub(super) at: usize,
    pub(super) kind: Kind,
    pub(super) disguise: Option<Disguise>,
    pub(super) culprit: Culprit,
    /// Whether all that the op reads was compared, and is in line.
    pub(super) exact: bool,
    /// What was found out about it, as sentences.
    pub(super) said: Vec<String>,
}

/// Everything that was found out.
pub(super) struct Trace<'a> {
    pub(super) survey: &'a Survey<'a>,
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

impl<'a> Trace<'a> {
    /// Judges every node, and follows those that stand out, up to the first that goes on.
    pub(super) fn of(survey: &'a Survey<'a>) -> Self {
        let mut trace = Self::judged(survey);
        let mut labels = 0;
        for at in 0..survey.nodes.len() {
            if !matches!(trace.states[at], State::Out | State::Disguised) {
                continue;
            }
            trace.see_through(at);
            let disguise = trace.searched.get(&at).cloned().flatten();
            let kind = trace.weighed(at, disguise.as_ref());
            let mut finding = trace.finding(at, kind, disguise);
            let harmless = finding.disguise.as_ref().is_some_and(|d| d.harmless(survey, at));
            match kind {
                Kind::Mislabelled if harmless => finding.kind = Kind::Equivalent,
                Kind::Open | Kind::Mislabelled if !harmless && labels < LABELS => {
                    labels += 1;
                    trace.blame_readers(&mut finding);
                    trace.name_it(&mut finding);
                }
                _ => {}
            }
            let goes_on = finding.kind == Kind::Wrong;
            trace.findings.push(finding);
            if goes_on {
                break;
            }
        }
        trace.share_culprits();
        trace
    }

    /// Which nodes are in line.
    fn judged(survey: &'a Survey<'a>) -> Self {
        let mut trace = Self {
            survey,
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
            let mut error = node.row.strict();
            let stands_out =
                |error: f64, curve: &Curve| node.found.is_some() && (error.is_nan() || error > curve.limit());
            let mut order = None;
            if stands_out(error, &trace.curve)
                && let Some(found) = disguise::other_order(survey, at, trace.order(at))
            {
                (error, order) = (found.error, Some(found.disguise));
            }
            if stands_out(error, &trace.curve) && tries < TRIES {
                tries += 1;
                if let Some(precision) = trace.coarser(at) {
                    trace.curve.meet(precision);
                } else if trace.noise.is_none()
                    && let Some(most) = trace.noise_of_products(at)
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
        trace
    }

    /// Wrong names of one activation, in several layers, are one mistake: what is known of one is known of all.
    fn share_culprits(&mut self) {
        let of = |finding: &Finding| self.survey.nodes[finding.at].class;
        let wrong_name = |finding: &&mut Finding| matches!(finding.kind, Kind::Mislabelled | Kind::Equivalent);
        let known: Vec<_> = self.findings.iter_mut().filter(wrong_name).map(|f| (of(f), f.culprit)).collect();
        for finding in self.findings.iter_mut().filter(wrong_name) {
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
    fn order(&self, at: usize) -> Option<&Disguise> {
        let same = |place: &usize| self.survey.nodes[*place].class == self.survey.nodes[at].class;
        let earlier = (0..at).filter(same).find_map(|place| self.searched.get(&place)?.as_ref());
        earlier.filter(|found| matches!(found, Disguise::Pairs(_) | Disguise::Heads(_) | Disguise::HeadsBeforeTokens))
    }

    /// Looks for disguises of a node, and of what stands out among its nearest consumers.
    fn see_through(&mut self, at: usize) {
        let mut open = vec![at];
        while let Some(place) = open.pop() {
            if self.searched.contains_key(&place) {
                continue;
            }
            let found = disguise::find_at(self.survey, place, self.limit_behind(place));
            if found.is_some() {
                self.states[place] = State::Disguised;
            }
            self.searched.insert(place, found);
            let nearest = self.nearest(at);
            open.extend(nearest.into_iter().map(|(place, _)| place).filter(|place| self.states[*place] == State::Out));
        }
    }

    /// The error up to which a node counts as equal to something that it is not named after.
    pub(super) fn limit_behind(&self, at: usize) -> f64 {
        self.limits[at].min(self.survey.nodes[at].row.strict() / 8.0)
    }

    /// Whether everything that an op reads was compared, and is in line.
    pub(super) fn reads_what_agrees(&self, at: usize) -> bool {
        let node = &self.survey.nodes[at];
        let good = |place: usize| matches!(self.states[place], State::InLine | State::Disguised);
        let agrees = |site| self.survey.compared(node.row.step, site).is_some_and(good);
        let inputs = node.subject.site().map(|site| &self.survey.graph()[site].reads);
        inputs.is_some_and(|reads| reads.iter().copied().map(Read::site).all(agrees))
    }
}
