//! The walk: every dump is followed op by op on its own inputs, and compared with the other witness.

mod report;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::conclude::suspects;
use super::curve::Curve;
use super::fed::Apart;
use super::finding::{Finding, Harmless, Kind};
use super::flips::Flips;
use super::massive::Massive;
use super::outputs::Outputs;
use super::part::{Part, compare_parts, distance};
use super::precision::Precision;
use super::recognised::{has_fewer_bits, with_fewer_bits};
use super::report::{ActivationRow, Local, Report, Status};
use super::shared::same_error;
use super::suspects::search::Accused;
use super::tie::{follow, keys};
use super::trail::{Look, Trail};
use super::witnesses::{CANDIDATE, REFERENCE, Witnesses};
use crate::dump::{self, Dump};
use crate::engine::{LogitRows, Role, Run, Site};
use crate::model::Model;

/// A comparison in progress.
#[derive(Debug)]
pub struct Walk {
    model: Arc<Model>,
    ids: Vec<u32>,
    steps: Vec<usize>,
    witnesses: Witnesses,
    /// Reference, candidate.
    trails: [Option<Trail>; 2],
    /// Whether the weights of each have been asked for.
    asked: [bool; 2],
    /// Our own pass, the second witness beside a single dump.
    engine: Option<Run>,
    curve: Curve,
    forward: usize,
    fed: usize,
    rows: Vec<ActivationRow>,
    /// The rows that are findings of a trail, and which: the others need no second look.
    found: Vec<(usize, [Option<usize>; 2])>,
    /// Choices of the two sides that differ though nothing is wrong.
    flips: Flips,
    /// Findings of both trails at one op that are the same error.
    shared: Vec<[usize; 2]>,
    compared: usize,
    massive: Massive,
    outputs: Outputs,
}

/// What each dump has of one op: reference, candidate.
type Looks = [Option<Look>; 2];

impl Walk {
    /// Stands before the first op; `steps` are the tokens of each forward.
    pub fn new(model: &Arc<Model>, ids: &[u32], steps: &[usize], witnesses: Witnesses) -> Result<Self, dump::Error> {
        let prefill = &ids[..steps[0]];
        let trail = |dump: &Option<Arc<Dump>>, is_reference: bool| {
            dump.as_ref().map(|dump| Trail::new(model, dump, prefill, is_reference)).transpose()
        };
        let both = witnesses.reference.is_some() && witnesses.candidate.is_some();
        let name = |there: bool, role: &'static str| if there { role } else { "engine" };
        let who = [name(witnesses.candidate.is_some(), "candidate"), name(witnesses.reference.is_some(), "reference")];
        Ok(Self {
            trails: [trail(&witnesses.reference, true)?, trail(&witnesses.candidate, false)?],
            engine: (!both).then(|| Run::new(Arc::clone(model), prefill, LogitRows::All)),
            asked: [false; 2],
            model: Arc::clone(model),
            ids: ids.to_vec(),
            steps: steps.to_vec(),
            witnesses,
            curve: Curve::default(),
            forward: 0,
            fed: steps[0],
            rows: Vec::new(),
            found: Vec::new(),
            flips: Flips::default(),
            shared: Vec::new(),
            compared: 0,
            massive: Massive::default(),
            outputs: Outputs::between(who),
        })
    }

    /// The two sides are fed other tokens behind the last of the forwards.
    pub fn go_apart(&mut self, apart: Apart) {
        self.outputs.go_apart(apart);
    }

    /// Compares the activation of the next op; `None` at the end.
    pub fn advance(&mut self) -> Result<Option<&ActivationRow>, dump::Error> {
        let mut looked = self.look()?;
        if looked.is_none() && self.forward + 1 < self.steps.len() {
            self.begin_forward();
            looked = self.look()?;
        }
        let Some((site, looks)) = looked else { return Ok(None) };
        self.note_flips(site, &looks);
        let row = self.row(site, &looks);
        let found = findings_of(&looks);
        if found != [None, None] {
            self.found.push((self.rows.len(), found));
        }
        self.rows.push(row);
        self.update();
        Ok(self.rows.last())
    }

    /// Compares all that is left; `progress` is called after every op with the number of ops done.
    pub fn to_end(&mut self, progress: &mut dyn FnMut(usize)) -> Result<(), dump::Error> {
        while self.advance()?.is_some() {
            progress(self.rows.len());
        }
        Ok(())
    }

    /// Findings are decided by what follows: rows that they stand in follow.
    fn update(&mut self) {
        for (index, found) in &self.found {
            let row = &mut self.rows[*index];
            // What both dumps have alike is no difference between them.
            let [a, b] = *found;
            if a.zip(b).is_some_and(|(a, b)| self.shared.contains(&[a, b])) {
                continue;
            }
            let findings = self
                .trails
                .iter()
                .zip(found)
                .filter_map(|(trail, index)| trail.as_ref().and_then(|trail| trail.findings().get((*index)?)));
            let Some(finding) = findings.min_by_key(|finding| finding.kind == Kind::Equivalent) else { continue };
            row.status = match (finding.kind, finding.harmless) {
                (Kind::Equivalent, Some(Harmless::LowPrecision | Harmless::CoarseWeights | Harmless::Tie(_)))
                | (Kind::Unsettled, _) => Status::Rounding,
                (Kind::Equivalent, _) => Status::Equivalent,
                _ => Status::Bad,
            };
            // A layout or an arithmetic that is not harmless after all is measured as it stands in the dump.
            if let (
                Kind::Wrong,
                Some(Harmless::Permuted(_) | Harmless::LowPrecision | Harmless::CoarseWeights),
                Some(local),
            ) = (finding.kind, finding.harmless, &mut row.local)
            {
                (local.error, local.floor) = finding.noise.telling();
            }
        }
    }

    /// Whether the last findings wait for what follows.
    pub fn is_open(&self) -> bool {
        self.trails.iter().flatten().any(Trail::is_open)
    }

    fn begin_forward(&mut self) {
        self.forward += 1;
        let tokens = self.steps[self.forward];
        let ids = &self.ids[self.fed..self.fed + tokens];
        self.fed += tokens;
        // Several tokens are a part of a prompt: nobody chose them.
        if tokens == 1 {
            self.outputs.begin_forward(self.forward, ids[0]);
        }
        for trail in self.trails.iter_mut().flatten() {
            trail.begin_forward(ids);
        }
        if let Some(engine) = &mut self.engine {
            engine.begin_forward(ids);
        }
    }

    fn look(&mut self) -> Result<Option<(Site, Looks)>, dump::Error> {
        let mut at = None;
        let mut looks = [None, None];
        for (trail, look) in self.trails.iter_mut().zip(&mut looks) {
            if let Some(trail) = trail {
                let Some((site, found)) = trail.step()? else { return Ok(None) };
                (at, *look) = (Some(site), Some(found));
            }
        }
        for (role, look) in looks.iter_mut().enumerate() {
            let (Some(site), Some(look), Some(trail)) = (at, look, &self.trails[role]) else { continue };
            // Weights are off from the start or never.
            if !trail.findings().is_empty() && !std::mem::replace(&mut self.asked[role], true) {
                let ids = &self.ids[..self.steps[0]];
                if let Some((trail, found)) = with_fewer_bits(trail, ids, site, look)? {
                    (self.trails[role], *look) = (Some(trail), found);
                }
            }
        }
        if let Some(engine) = &mut self.engine {
            at = at.or(engine.next());
            engine.step();
            // Our own pass goes on with the dump's choice, where that is a tie.
            for (trail, look) in self.trails.iter().zip(&looks) {
                if let (Some(trail), Some(Look { part: Some(part), finding: Some(index), .. })) = (trail, look)
                    && let finding = &trail.findings()[*index]
                    && matches!(finding.harmless, Some(Harmless::Tie(_)))
                    && at == Some(finding.site)
                {
                    follow(engine, finding.site, part, &finding.rows);
                }
            }
        }
        Ok(at.map(|site| (site, looks)))
    }

    /// What the two sides have of `site`: candidate, else engine; reference, else engine.
    fn sides<'a>(&self, site: Site, looks: &'a Looks) -> [Option<Cow<'a, Part>>; 2] {
        let tokens = self.steps[self.forward];
        let dumped = |index: usize| looks[index].as_ref().map(|look| look.part.as_ref().map(Cow::Borrowed));
        let ours = || {
            let value = self.engine.as_ref()?.get(site)?.clone();
            Some(Cow::Owned(Part::whole(value, &self.model.graph[site], tokens)))
        };
        [dumped(CANDIDATE).unwrap_or_else(ours), dumped(REFERENCE).unwrap_or_else(ours)]
    }

    fn row(&mut self, site: Site, looks: &Looks) -> ActivationRow {
        let [values, expected] = self.sides(site, looks);
        let first: usize = self.steps[..self.forward].iter().sum();
        let graph = Arc::clone(&self.model.graph);
        if let (Some(values), Some(expected), true) = (&values, &expected, graph.is(site, Role::Block)) {
            let limits = looks.iter().flatten().filter_map(|look| look.noise.as_ref()).map(|noise| noise.massive_above);
            let limit = limits.fold(f64::INFINITY, f64::min);
            self.massive.look(&graph.key(site, self.forward), first, values, expected, limit);
        }
        if graph.logits() == Some(site) {
            let span = (first, self.steps[self.forward]);
            let dumped = looks.each_ref().map(|look| look.as_ref().and_then(|look| look.part.as_ref()));
            self.outputs.look(span, [values.as_deref(), expected.as_deref()], dumped);
        }
        let comparison = values.zip(expected).and_then(|(values, expected)| {
            let (comparison, worst, _) = compare_parts(site, &graph, first, &values, &expected)?;
            Some((comparison, worst))
        });
        if let [Some(a), Some(b)] = findings_of(looks)
            && !self.has_ties(|finding| (finding.site, finding.step) == (site, self.forward))
            && same_error(&self.trails, looks)
        {
            self.shared.push([a, b]);
        }
        let precision = looks.iter().flatten().filter_map(|look| look.precision).max();
        let in_line = comparison.as_ref().map(|(comparison, _)| self.curve.judge(comparison.error, precision));
        self.compared += usize::from(comparison.is_some());
        let status = self.status(looks, in_line, precision);
        let local = self.local(site, looks);
        let compared = comparison.as_ref().map(|(comparison, worst)| (comparison, *worst));
        ActivationRow::of((graph.key(site, self.forward), graph[site].layer, self.forward), compared, status, local)
    }

    /// Where the two sides choose other experts, and each as its own logits say. Our own pass goes on with the dump's choice.
    fn note_flips(&mut self, site: Site, looks: &Looks) {
        if !self.model.graph[site].op.facts().discrete || findings_of(looks) != [None, None] || self.is_wrong_before() {
            return;
        }
        let [Some(values), Some(expected)] = self.sides(site, looks) else { return };
        let ours = || self.engine.as_ref().and_then(|engine| keys(engine, site));
        let of = |role: usize| self.trails[role].as_ref().map_or_else(ours, |trail| keys(&trail.healed.exact, site));
        let (Some(own), Some(other)) = (of(CANDIDATE), of(REFERENCE)) else { return };
        let mut flips = std::mem::take(&mut self.flips);
        let first = self.steps[..self.forward].iter().sum();
        let tokens = flips.look(site, first, [&values, &expected], [&own, &other]);
        self.flips = flips;
        for part in looks.iter().flatten().filter_map(|look| look.part.as_ref()) {
            self.engine.iter_mut().for_each(|engine| follow(engine, site, part, &tokens));
        }
    }

    fn is_wrong_before(&self) -> bool {
        let mut findings = self.trails.iter().flatten().flat_map(Trail::findings);
        findings.any(|finding| finding.kind != Kind::Equivalent)
    }

    fn status(&self, looks: &Looks, in_line: Option<bool>, precision: Option<Precision>) -> Status {
        match findings_of(looks) {
            [Some(a), Some(b)] if self.shared.contains(&[a, b]) => return Status::Rounding,
            [None, None] => {}
            _ => return Status::Bad,
        }
        match in_line {
            None => Status::Missing,
            Some(false) if self.is_wrong_before() => Status::Propagated,
            // The two sides went on with different choices.
            Some(false) if self.has_ties(|_| true) || self.flips.count() > 0 => Status::Rounding,
            Some(_) if precision.is_some_and(|precision| precision != Precision::F32) => Status::Rounding,
            Some(_) if self.curve.coarsest() != Precision::F32 => Status::Rounding,
            Some(_) if self.trails.iter().flatten().any(has_fewer_bits) => Status::Rounding,
            Some(_) => Status::Ok,
        }
    }

    /// Whether some finding of that kind is a tie.
    fn has_ties(&self, which: impl Fn(&Finding) -> bool) -> bool {
        let mut findings = self.trails.iter().flatten().flat_map(Trail::findings);
        findings.any(|finding| matches!(finding.harmless, Some(Harmless::Tie(_))) && which(finding))
    }

    fn local(&self, site: Site, looks: &Looks) -> Option<Local> {
        let noises = looks.iter().flatten().filter_map(|look| look.noise.as_ref());
        let noise = noises.max_by(|a, b| a.score.total_cmp(&b.score))?;
        let propagated = match (&self.trails, &self.engine) {
            ([Some(reference), Some(candidate)], _) => Some(distance(candidate.exact(), reference.exact())),
            ([Some(trail), None] | [None, Some(trail)], Some(engine)) => {
                engine.get(site).map(|ours| distance(trail.exact(), ours))
            }
            _ => None,
        };
        let (error, floor) = noise.telling();
        Some(Local { error, floor, propagated })
    }

    /// Rows compared so far, in program order.
    pub fn rows(&self) -> &[ActivationRow] {
        &self.rows
    }

    /// The mistakes that make the tensor of a row, best first; empty where nothing is wrong with it, not all of them once
    /// `interrupt` is set.
    pub fn suspects(&self, name: &str, interrupt: &AtomicBool) -> Vec<Accused> {
        let findings = self.trails.iter().flatten().flat_map(Trail::findings);
        let of_row = findings.filter(|finding| self.model.graph.key(finding.site, finding.step) == name);
        of_row.flat_map(|finding| suspects(finding, interrupt)).collect()
    }
}

/// Compares a whole session: the prefill of `ids` and its decode steps, `steps` tokens per forward.
///
/// `progress` is called after every op with the number of ops done and to do.
pub fn walk(
    model: &Arc<Model>,
    ids: &[u32],
    steps: &[usize],
    witnesses: Witnesses,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Report, dump::Error> {
    let total = model.graph.len() * steps.len();
    let mut walk = Walk::new(model, ids, steps, witnesses)?;
    walk.to_end(&mut |done| progress(done, total))?;
    Ok(walk.report())
}

/// Which findings the tensors of one op are.
fn findings_of(looks: &Looks) -> [Option<usize>; 2] {
    looks.each_ref().map(|look| look.as_ref().and_then(|look| look.finding))
}
