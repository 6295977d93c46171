//! The debugger: where it stands, where it stops, and what each command does.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::command::Command;
use super::patch::{Patches, Unpatched};
use super::record::Trace;
use super::reload::Opener;
use super::view::{Listing, Stop, Witness};
use super::why::{Diagnosed, Switched};
use crate::diagnose::{self, ActivationRow, Walk, Witnesses};
use crate::dump::Dump;
use crate::engine::{Activation, LogitRows, Run, Site, matching};
use crate::model::{Model, Tokenizer};

/// The dump of a witness; the engine has none.
pub(super) fn dump_of(witnesses: &Witnesses, witness: Witness) -> Option<&Dump> {
    match witness {
        Witness::Engine => None,
        Witness::Reference => witnesses.reference.as_deref(),
        Witness::Candidate => witnesses.candidate.as_deref(),
    }
}

/// What a debug session is about.
#[derive(Debug)]
pub struct Session {
    /// The model.
    pub model: Arc<Model>,
    /// Every id that will be fed.
    pub ids: Vec<u32>,
    /// Tokens fed to each forward: the first is the prefill.
    pub steps: Vec<usize>,
    /// The text of every token, control characters escaped; empty without a tokenizer.
    pub pieces: Vec<String>,
    /// What it is compared with.
    pub dumps: Witnesses,
    /// What the user should know.
    pub notes: Vec<String>,
    /// Reads the dumps again; none where they have no files.
    pub opener: Option<Box<dyn Opener>>,
}

/// A debug session in progress.
#[derive(Debug)]
pub struct Debugger {
    pub(super) session: Session,
    pub(super) run: Run,
    pub(super) trace: Trace,
    /// The comparison with the dumps: it only goes forward, and keeps what it has seen.
    pub(super) walk: Option<Walk>,
    /// Whether it could not go on. It is then begun again; until that succeeds, what it has seen stays.
    pub(super) failed: bool,
    pub(super) breakpoints: BTreeSet<Site>,
    /// The mistake that our own engine makes, if it is to make one.
    pub(super) switched: Option<Switched>,
    pub(super) diagnosed: Option<Diagnosed>,
    pub(super) patches: Patches,
    /// The run as it would be without patches, to compare with.
    pub(super) unpatched: Option<Unpatched>,
    pub(super) tokenizer: Option<Arc<Tokenizer>>,
}

/// A listing is reported to `progress` after this many ops of a long command.
pub(super) const OPS_PER_REPORT: usize = 16;

impl Debugger {
    /// A debugger that stands before the first op of the prefill.
    ///
    /// # Panics
    /// When `ids` and `steps` do not fit each other or the vocabulary: they are checked when arguments are read.
    pub fn new(session: Session) -> Self {
        assert_eq!(session.steps.iter().sum::<usize>(), session.ids.len(), "every id is fed once");
        let run = Run::new(Arc::clone(&session.model), &session.ids[..session.steps[0]], LogitRows::All);
        let mut trace = Trace::default();
        trace.begin_forward();
        Self {
            session,
            run,
            trace,
            walk: None,
            failed: false,
            breakpoints: BTreeSet::new(),
            switched: None,
            diagnosed: None,
            patches: Patches::default(),
            unpatched: None,
            tokenizer: None,
        }
    }

    /// Does what `command` says. `interrupt` is read before every op; `progress` is called now and then.
    ///
    /// # Errors
    /// One sentence for the user; the debugger then stands where it stood, or where the sentence says.
    pub fn execute(
        &mut self,
        command: &Command,
        interrupt: &AtomicBool,
        progress: &mut dyn FnMut(Listing),
    ) -> Result<Stop, String> {
        let at = self.run.last();
        match command {
            Command::Step(0) | Command::StepBack(0) | Command::NextLayer(0) | Command::PreviousLayer(0) => {
                Ok(Stop::Done)
            }
            Command::Step(count) => {
                let mut left = *count;
                self.advance(interrupt, progress, false, |_, _| {
                    left -= 1;
                    left == 0
                })
            }
            Command::StepBack(count) => self.go_back(*count),
            Command::NextLayer(count) => {
                let target = self.layers_on(*count);
                self.advance(interrupt, progress, true, |counter, _| counter >= target)
            }
            Command::PreviousLayer(count) => {
                let counter = self.run.counter();
                let target = self.layers_back(*count);
                self.go_back((counter - target).max(1))
            }
            Command::Finish => self.advance(interrupt, progress, true, |_, site| {
                at != Some(site) && (site.activation == Activation::Block || site.activation == Activation::LmHead)
            }),
            Command::Continue => self.run_on(interrupt, progress, true, true, |_, _| false),
            Command::Goto(name) => self.goto(name, interrupt, progress),
            Command::Break(pattern) => self.toggle_breakpoints(pattern),
            Command::Restart => {
                self.run.rewind_to_forward(0);
                self.trace.truncate(0, 0);
                Ok(Stop::Done)
            }
            Command::Reload => self.reload(interrupt, progress),
            Command::Diagnose(name) => self.diagnose(name, interrupt, progress),
            Command::Switch(index) => self.switch(*index, interrupt, progress),
        }
    }

    fn advance(
        &mut self,
        interrupt: &AtomicBool,
        progress: &mut dyn FnMut(Listing),
        breakpoints: bool,
        arrived: impl FnMut(usize, Site) -> bool,
    ) -> Result<Stop, String> {
        self.run_on(interrupt, progress, breakpoints, false, arrived)
    }

    /// Computes ops until `arrived(ops computed, op)`, a breakpoint, the first divergence, an interrupt, or the end.
    pub(super) fn run_on(
        &mut self,
        interrupt: &AtomicBool,
        progress: &mut dyn FnMut(Listing),
        breakpoints: bool,
        divergence: bool,
        mut arrived: impl FnMut(usize, Site) -> bool,
    ) -> Result<Stop, String> {
        for done in 1.. {
            if interrupt.load(Ordering::Relaxed) {
                return Ok(Stop::Interrupted);
            }
            let Some(site) = self.compute_next()? else { return Ok(Stop::End) };
            if arrived(self.run.counter(), site) {
                return Ok(Stop::Done);
            }
            if breakpoints && self.breakpoints.contains(&site) {
                return Ok(Stop::Breakpoint);
            }
            let bad = |row: &ActivationRow| row.status == diagnose::Status::Bad;
            if divergence && self.current_rows().last().is_some_and(bad) {
                return Ok(Stop::Divergence);
            }
            if done % OPS_PER_REPORT == 0 {
                progress(self.listing());
            }
        }
        Ok(Stop::End)
    }

    /// Computes the next op, entering the next forward when there is one.
    fn compute_next(&mut self) -> Result<Option<Site>, String> {
        if self.run.is_complete() {
            let forward = self.run.forward() + 1;
            let Some(tokens) = self.session.steps.get(forward) else { return Ok(None) };
            let first: usize = self.session.steps[..forward].iter().sum();
            self.run.begin_forward(&self.session.ids[first..first + tokens]);
            self.trace.begin_forward();
        }
        let Some(site) = self.run.step() else { return Ok(None) };
        self.trace.push(self.run.get(site).expect("the op was just computed"));
        if let Err(error) = self.compare() {
            self.go_back(1)?;
            return Err(error);
        }
        Ok(Some(site))
    }

    /// Ops computed, those of earlier forwards included.
    pub(super) fn ops_done(&self) -> usize {
        self.run.forward() * self.run.program().sites().len() + self.run.counter()
    }

    /// Takes the comparison up to where the run stands.
    fn compare(&mut self) -> Result<(), String> {
        if !self.has_dumps() {
            return Ok(());
        }
        let wanted = self.ops_done();
        if self.failed && wanted <= self.rows().len() {
            return Ok(());
        }
        let result = self.walk_to(wanted);
        self.failed = result.is_err();
        result.map_err(|error| self.unreadable(&error))
    }

    /// Why a dump cannot be read, and what helps where its file is no longer the one that was opened.
    pub(super) fn unreadable(&self, error: &crate::dump::Error) -> String {
        let stale = self.session.opener.as_ref().is_some_and(|opener| !opener.changed().is_empty());
        if stale { format!("the dump was written again, R reads it: {error}") } else { error.to_string() }
    }

    pub(super) fn walk_to(&mut self, ops: usize) -> Result<(), crate::dump::Error> {
        if self.failed || self.walk.is_none() {
            let Session { model, ids, steps, dumps, .. } = &self.session;
            let mut walk = Walk::new(model, ids, steps, dumps.clone())?;
            while walk.rows().len() < self.rows().len() && walk.advance()?.is_some() {}
            self.walk = Some(walk);
        }
        let walk = self.walk.as_mut().expect("it has been begun");
        // What is open is decided by what follows: a few ops more tell whether to stop here.
        while (walk.rows().len() < ops || walk.is_open()) && walk.advance()?.is_some() {}
        Ok(())
    }

    pub(super) fn has_dumps(&self) -> bool {
        self.session.dumps.reference.is_some() || self.session.dumps.candidate.is_some()
    }

    /// What has been compared, over all forwards.
    pub(super) fn rows(&self) -> &[ActivationRow] {
        self.walk.as_ref().map_or(&[], Walk::rows)
    }

    /// What has been compared of the current forward, up to where the run stands.
    pub(super) fn current_rows(&self) -> &[ActivationRow] {
        let first = self.run.forward() * self.run.program().sites().len();
        let rows = self.rows();
        &rows[first.min(rows.len())..self.ops_done().min(rows.len())]
    }

    /// Goes back by `count` ops, through earlier forwards if need be. Before the first op of a decode step, the debugger
    /// stands at the last op of the forward before: as it does when it comes from there.
    fn go_back(&mut self, count: usize) -> Result<Stop, String> {
        let mut left = count;
        loop {
            let (forward, counter) = (self.run.forward(), self.run.counter());
            if left < counter || (left == counter && forward == 0) {
                self.run.rewind(counter - left);
                self.trace.truncate(forward, counter - left);
                return Ok(Stop::Done);
            }
            left -= counter;
            let Some(before) = forward.checked_sub(1) else {
                self.run.rewind(0);
                self.trace.truncate(0, 0);
                return Ok(Stop::Start);
            };
            self.run.rewind_to_forward(before);
            self.run.finish_forward();
            self.trace.truncate(before, self.run.counter());
        }
    }

    /// The number of ops after which the op `count` layers on is computed; past the last layer, the next op that no layer
    /// owns. At the end of a forward, the first op of the next one.
    fn layers_on(&self, count: usize) -> usize {
        let (program, counter) = (self.run.program(), self.run.counter());
        let Some(at) = self.run.last().filter(|_| !self.run.is_complete()) else { return 1 };
        let inside = |layer: Option<usize>| layer.filter(|layer| *layer < program.layers());
        let wanted = match at.in_layer() {
            Some(layer) => inside(layer.checked_add(count)).map(|layer| Site::new(layer, at.activation)),
            None if at.activation == Activation::EmbedTokens => {
                inside(count.checked_sub(1)).map(|layer| Site::new(layer, Activation::InputNorm))
            }
            None => None,
        };
        let wanted = wanted.and_then(|site| program.position(site));
        let unowned = || (counter..program.sites().len()).find(|index| program.sites()[*index].in_layer().is_none());
        wanted.or_else(unowned).map_or(program.sites().len(), |position| position + 1)
    }

    fn layers_back(&self, count: usize) -> usize {
        let Some(at) = self.run.last() else { return 0 };
        let wanted = match at.in_layer() {
            Some(layer) => layer.checked_sub(count).map(|layer| Site::new(layer, at.activation)),
            None if at.activation == Activation::EmbedTokens => return 0,
            None => self.run.program().layers().checked_sub(count).map(|layer| Site::new(layer, Activation::Block)),
        };
        wanted.and_then(|site| self.run.program().position(site)).map_or(1, |position| position + 1)
    }

    /// The row of the first activation that a name or pattern means.
    pub(super) fn row_of(&self, name: &str) -> Result<usize, String> {
        let site = *self.sites(name)?.first().expect("sites() returns at least one");
        Ok(self.run.program().position(site).expect("sites() are of the program"))
    }

    fn goto(&mut self, name: &str, interrupt: &AtomicBool, progress: &mut dyn FnMut(Listing)) -> Result<Stop, String> {
        let target = self.row_of(name)? + 1;
        let counter = self.run.counter();
        if target <= counter {
            self.run.rewind(target);
            self.trace.truncate(self.run.forward(), target);
            return Ok(Stop::Done);
        }
        self.advance(interrupt, progress, false, |counter, _| counter == target)
    }

    fn toggle_breakpoints(&mut self, pattern: &str) -> Result<Stop, String> {
        let sites = self.sites(pattern)?;
        if sites.iter().all(|site| self.breakpoints.contains(site)) {
            self.breakpoints.retain(|site| !sites.contains(site));
        } else {
            self.breakpoints.extend(sites);
        }
        Ok(Stop::Done)
    }

    /// The activations that a name or pattern means: at least one.
    pub(super) fn sites(&self, pattern: &str) -> Result<Vec<Site>, String> {
        let pattern = pattern.trim();
        if pattern.is_empty() {
            return Err("which activation? names look like 3.q_rope, 3, norm or *.mlp".into());
        }
        let sites = matching(pattern, self.run.program());
        if !sites.is_empty() {
            return Ok(sites);
        }
        let layers = self.run.program().layers();
        if Site::parse(pattern).is_some_and(|site| site.layer >= layers) {
            return Err(format!("there is no {pattern}: the layers are 0 to {}", layers - 1));
        }
        let near = self.complete(pattern.rsplit('.').next().unwrap_or_default());
        let hint = near
            .first()
            .map_or_else(|| "names look like 3.q_rope, 3, norm or *.mlp".to_string(), |near| format!("is it {near}?"));
        Err(format!("no activation is called {pattern:?}: {hint}"))
    }

    /// Short names of activations that begin with `prefix`, or contain it.
    pub fn complete(&self, prefix: &str) -> Vec<String> {
        let names: Vec<String> = self.run.program().sites().iter().map(|site| site.short()).collect();
        let begin: Vec<String> = names.iter().filter(|name| name.starts_with(prefix)).cloned().collect();
        if begin.is_empty() { names.into_iter().filter(|name| name.contains(prefix)).collect() } else { begin }
    }

    /// The first activation of the current forward that is not what its inputs give.
    pub(super) fn first_divergence(&self) -> Option<usize> {
        self.current_rows().iter().position(|row| row.status == diagnose::Status::Bad)
    }
}
