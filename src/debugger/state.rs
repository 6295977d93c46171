//! The debugger: where it stands, where it stops, and what each command does.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::command::{Command, Topic};
use super::kept::Kept;
use super::looked::Looked;
use super::moving::Halts;
use super::patch::{Patches, Unpatched};
use super::record::Trace;
use super::reload::Opener;
use super::saying::help;
use super::stops::StopPoints;
use super::tape::{NEEDS_WEIGHTS, Playing};
use super::view::{Listing, Stop, Witness};
use super::why::{Diagnosed, Switched};
use crate::diagnose::{self, ActivationRow, Report, Walk, Witnesses};
use crate::dump::Dump;
use crate::engine::{LogitRows, Run, Site};
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
    /// Texts of tokens; none without a tokenizer.
    pub tokenizer: Option<Arc<Tokenizer>>,
    /// The ids that end a text.
    pub eos: Vec<u32>,
    /// What it is compared with.
    pub dumps: Witnesses,
    /// What the user should know.
    pub notes: Vec<String>,
    /// Reads the dumps again; none where they have no files.
    pub opener: Option<Box<dyn Opener>>,
}

impl Session {
    /// Tokens, and what to compare with; nothing else is known.
    pub fn new(model: Arc<Model>, ids: Vec<u32>, steps: Vec<usize>, dumps: Witnesses) -> Self {
        Self { model, ids, steps, tokenizer: None, eos: Vec::new(), dumps, notes: Vec::new(), opener: None }
    }
}

/// A debug session in progress.
#[derive(Debug)]
pub struct Debugger {
    pub(super) session: Session,
    pub(super) run: Run,
    pub(super) trace: Trace,
    /// The comparison with the dumps: it only goes forward, and keeps what it has seen.
    pub(super) walk: Option<Walk>,
    /// Whether there is to be a comparison.
    pub(super) compares: bool,
    /// Whether it could not go on. It is then begun again; until that succeeds, what it has seen stays.
    pub(super) failed: bool,
    pub(super) stops: StopPoints,
    /// Forwards that the session began with; those after them were generated, and no dump knows them.
    pub(super) given: usize,
    /// The mistake that our own engine makes, if it is to make one.
    pub(super) switched: Option<Switched>,
    pub(super) diagnosed: Option<Diagnosed>,
    /// What the comparison has found, once it has reached the end.
    pub(super) report: Option<Arc<Report>>,
    pub(super) kept: Kept,
    pub(super) patches: Patches,
    /// The run as it would be without patches, to compare with.
    pub(super) unpatched: Option<Unpatched>,
    /// What was looked at, where somebody records.
    pub(super) looked: Looked,
    /// How often what our engine computes was changed, and how often the dumps were read again.
    pub(super) variant: usize,
    pub(super) reads: usize,
    /// The mistake that our engine makes from the start.
    pub(super) at_start: Option<Switched>,
    /// What stands in for the engine and the dumps, where they are not there.
    pub(super) playing: Option<Playing>,
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
        let given = session.steps.len();
        let kept = Kept::new(&session.model);
        Self {
            session,
            run,
            trace,
            walk: None,
            compares: true,
            failed: false,
            stops: StopPoints::default(),
            given,
            switched: None,
            diagnosed: None,
            report: None,
            kept,
            patches: Patches::default(),
            unpatched: None,
            looked: Looked::default(),
            variant: 0,
            reads: 0,
            at_start: None,
            playing: None,
        }
    }

    /// The same, without following the dumps op by op, which takes most of the time: every witness can be looked at, and
    /// nothing is known to diverge.
    #[must_use]
    pub fn without_comparison(self) -> Self {
        Self { compares: false, ..self }
    }

    /// Keeps so many bytes of activations at most.
    pub fn limit_memory(&mut self, bytes: usize) {
        self.trace.limit(bytes);
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
        if self.is_taped() && command.needs_weights() {
            return Err(NEEDS_WEIGHTS.into());
        }
        let stop = self.obey(command, interrupt, progress)?;
        let done = !matches!(stop, Stop::Interrupted | Stop::Reloaded { changed: false, .. });
        self.variant += usize::from(done && command.changes_values());
        self.reads += usize::from(done && *command == Command::Reload);
        Ok(stop)
    }

    fn obey(
        &mut self,
        command: &Command,
        interrupt: &AtomicBool,
        progress: &mut dyn FnMut(Listing),
    ) -> Result<Stop, String> {
        match command {
            Command::Step(count) => self.step(*count, interrupt, progress),
            Command::Next(count) => self.next(*count, interrupt, progress),
            Command::Forward(count) => self.forward(*count, interrupt, progress),
            Command::Finish(count) => self.finish(*count, interrupt, progress),
            Command::Continue(count) => self.go_on(*count, interrupt, progress),
            Command::Until(pattern) => self.until(pattern, interrupt, progress),
            Command::Run => self.run_on(interrupt, progress, Halts::None, |_, _| false),
            Command::Back(motion, count) => self.back(*motion, *count),
            Command::Goto(name) => self.goto(name, interrupt, progress),
            Command::Generate(count) => self.generate(*count, interrupt, progress),
            Command::Break { pattern, condition, once } => self.set_breakpoint(pattern, condition.as_ref(), *once),
            Command::Watch(condition) => self.set_watch(condition),
            Command::Toggle(pattern) => self.toggle_breakpoints(pattern),
            Command::Delete(number) => self.delete(*number),
            Command::Restart => {
                self.go_to(0, 0);
                Ok(Stop::Done)
            }
            Command::Patch(request) => {
                let outcome = self.apply_patch(request, interrupt, progress)?;
                self.patched(outcome, interrupt)
            }
            Command::Unpatch(which) => {
                let outcome = self.unpatch(which, interrupt, progress)?;
                self.patched(outcome, interrupt)
            }
            Command::Undo => {
                let outcome = self.undo_patch(interrupt, progress)?;
                self.patched(outcome, interrupt)
            }
            Command::Redo => {
                let outcome = self.redo_patch(interrupt, progress)?;
                self.patched(outcome, interrupt)
            }
            Command::Print(text) => self.print(text).map(Stop::Said),
            Command::Yank(text) => self.print(text).map(Stop::Yanked),
            Command::Export { expression, file, replace } => {
                self.export(expression, Path::new(file), None, *replace).map(Stop::said)
            }
            Command::Info(Topic::Patches) => self.info_patches(interrupt).map(Stop::Said),
            Command::Info(Topic::Verdict) => self.verdict().map(Stop::Said),
            Command::Info(topic) => Ok(Stop::Said(self.info(*topic))),
            Command::Help(name) => help(name.as_deref()).map(Stop::Said),
            Command::Reload => self.reload(interrupt, progress),
            Command::Diagnose(name) => self.diagnose(name, interrupt, progress),
            Command::Switch(index) => self.switch(*index, interrupt, progress),
            // Whoever keeps a recording takes these down; here they are said.
            Command::Mark(text) | Command::Note(text) => Ok(Stop::said(text)),
            Command::Save { .. } => Err("nothing is recorded here".into()),
            // Whoever has a screen, or reads scripts, does these itself.
            Command::Screen(_) | Command::Source(_) | Command::Quit => Ok(Stop::Done),
        }
    }

    /// Computes the next op, entering the next forward when there is one.
    pub(super) fn compute_next(&mut self) -> Result<Option<Site>, String> {
        if self.run.is_complete() {
            let forward = self.run.forward() + 1;
            let Some(tokens) = self.session.steps.get(forward) else { return Ok(None) };
            let first: usize = self.session.steps[..forward].iter().sum();
            self.run.begin_forward(&self.session.ids[first..first + tokens]);
            self.trace.begin_forward();
        }
        let Some(site) = self.run.step() else { return Ok(None) };
        let known = self.playing.is_none()
            || self.recorded(self.run.forward(), site, Witness::Engine).is_some_and(|seen| seen.is_ok());
        self.trace.push(self.run.get(site).filter(|_| known));
        if let Err(error) = self.compare() {
            self.go_back(1);
            return Err(error);
        }
        Ok(Some(site))
    }

    /// Ops computed, those of earlier forwards included.
    pub(super) fn ops_done(&self) -> usize {
        self.run.forward() * self.run.graph().len() + self.run.counter()
    }

    /// Takes the comparison up to where the run stands.
    fn compare(&mut self) -> Result<(), String> {
        if !self.compares || !self.has_dumps() || self.is_taped() {
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
        if stale { format!("the dump was written again, reload reads it: {error}") } else { error.to_string() }
    }

    pub(super) fn walk_to(&mut self, ops: usize) -> Result<(), crate::dump::Error> {
        if self.failed || self.walk.is_none() {
            let Session { model, ids, steps, dumps, .. } = &self.session;
            // The dumps know nothing of what was generated after them.
            let steps = &steps[..self.given];
            let ids = &ids[..steps.iter().sum()];
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
        self.has(Witness::Reference) || self.has(Witness::Candidate)
    }

    /// What has been compared, over all forwards.
    pub(super) fn rows(&self) -> &[ActivationRow] {
        match &self.playing {
            Some(playing) => &playing.now.rows,
            None => self.walk.as_ref().map_or(&[], Walk::rows),
        }
    }

    /// What has been compared of the current forward, up to where the run stands.
    pub(super) fn current_rows(&self) -> &[ActivationRow] {
        let first = self.run.forward() * self.run.graph().len();
        let rows = self.rows();
        &rows[first.min(rows.len())..self.ops_done().min(rows.len())]
    }

    /// The row of the first activation that a name or pattern means.
    pub(super) fn row_of(&self, name: &str) -> Result<usize, String> {
        Ok(self.sites(name)?.first().expect("sites() returns at least one").index())
    }

    /// The activations that a name or pattern means: at least one.
    pub(super) fn sites(&self, pattern: &str) -> Result<Vec<Site>, String> {
        let pattern = pattern.trim();
        if pattern.is_empty() {
            return Err("which activation? names look like 3.q_rope, 3, norm or *.mlp".into());
        }
        let graph = self.run.graph();
        let sites = graph.matching(pattern);
        if !sites.is_empty() {
            return Ok(sites);
        }
        let layers = graph.layers();
        if graph.lacks(pattern).is_some_and(|(layer, _)| layer >= layers) {
            return Err(format!("there is no {pattern}: the layers are 0 to {}", layers - 1));
        }
        let near = self.complete(pattern.rsplit('.').next().unwrap_or_default());
        let hint = near
            .first()
            .map_or_else(|| "names look like 3.q_rope, 3, norm or *.mlp".to_string(), |near| format!("is it {near}?"));
        Err(format!("no activation is called {pattern:?}: {hint}"))
    }

    /// Short names of activations that begin with `prefix`, or contain it.
    fn complete(&self, prefix: &str) -> Vec<String> {
        let names = || self.run.graph().nodes().iter().map(|node| &node.short);
        let begin: Vec<String> = names().filter(|name| name.starts_with(prefix)).cloned().collect();
        if begin.is_empty() { names().filter(|name| name.contains(prefix)).cloned().collect() } else { begin }
    }

    /// The first activation of the current forward that is not what its inputs give.
    pub(super) fn first_divergence(&self) -> Option<usize> {
        self.current_rows().iter().position(|row| row.status == diagnose::Status::Bad)
    }
}
