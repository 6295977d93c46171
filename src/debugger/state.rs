//! The debugger: its state, and what each command does to it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::captured::{Captured, Looks};
use super::command::{Command, Topic};
use super::comparison::{Comparison, verdict};
use super::memo::Memos;
use super::messages::{help, info};
use super::moving::Halts;
use super::pass::Pass;
use super::patch::Patches;
use super::session::Session;
use super::stops::StopPoints;
use super::tape::{Moment, NEEDS_WEIGHTS, Recorded, Tape};
use super::view::{Listing, Stop};
use super::why::{Suspected, Switched};
use super::{export, patch, reload, why};
use crate::diagnose::{Report, Witnesses};
use crate::engine::Sequence;
use crate::model::Model;

/// A debug session in progress. Commands change it; pages, expressions and messages are made from it as it stands.
#[derive(Debug)]
pub struct Debugger {
    /// What is loaded.
    pub(super) session: Session,
    /// Where our own run stands.
    pub(super) pass: Pass,
    /// What is known of the dumps.
    pub(super) comparison: Comparison,
    /// Where it stops.
    pub(super) stops: StopPoints,
    /// What our own run does otherwise: patches, and the mistake of a suspect.
    pub(super) patches: Patches,
    pub(super) suspected: Suspected,
    /// What pages were made of.
    pub(super) memos: Memos,
    /// What was looked at.
    pub(super) captured: Captured,
}

/// Who has given a command: may interrupt it, and hears now and then how far it has come.
pub(super) struct Caller<'a> {
    pub(super) interrupt: &'a AtomicBool,
    pub(super) progress: &'a mut dyn FnMut(Listing),
}

impl Caller<'_> {
    pub(super) fn interrupts(&self) -> bool {
        self.interrupt.load(Ordering::Relaxed)
    }
}

impl Debugger {
    /// A debugger that stands before the first op of the prefill.
    ///
    /// # Panics
    /// When an id lies outside the vocabulary: they are checked when arguments are read.
    pub fn new(session: Session) -> Self {
        Self {
            pass: Pass::new(&session.model, session.fed.clone()),
            comparison: Comparison::default(),
            stops: StopPoints::default(),
            patches: Patches::default(),
            suspected: Suspected::default(),
            memos: Memos::new(&session.model),
            captured: Captured::default(),
            session,
        }
    }

    /// A debugger that plays a tape; `model` needs no weights.
    ///
    /// # Panics
    /// As [`Debugger::new`].
    pub fn of_tape(model: Arc<Model>, tape: Arc<Tape>, start: Moment) -> Self {
        let ids = start.header.tokens.iter().map(|token| token.id).collect();
        let mut debugger = Self::new(Session::new(model, ids, &start.header.forwards, Witnesses::default()));
        debugger.pass.recorded = Some(Recorded { tape, now: start });
        debugger
    }

    /// Whether it plays a tape.
    pub fn is_taped(&self) -> bool {
        self.pass.recorded.is_some()
    }

    /// The same, without following the dumps op by op, which takes most of the time: every witness can be looked at, and
    /// nothing is known to diverge.
    #[must_use]
    pub fn without_comparison(mut self) -> Self {
        self.comparison.off = true;
        self
    }

    /// Keeps so many bytes of activations at most.
    pub fn limit_memory(&mut self, bytes: usize) {
        self.pass.trace.limit(bytes);
    }

    /// Keeps what is looked at from now on, so many bytes at most.
    pub fn keep_looks(&mut self, budget: usize) {
        *self.captured.looks.get_mut() = Some(Looks::new(budget));
    }

    /// Lets our own engine make a mistake, from the first op on. The comparison of the dumps is not changed by it.
    pub fn switch_on(&mut self, switched: Switched) {
        self.suspected.at_start = Some(switched.clone());
        self.suspected.on = Some(switched);
        self.begin_again();
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
        let stop = self.obey(command, &mut Caller { interrupt, progress })?;
        let done = !matches!(stop, Stop::Interrupted | Stop::Reloaded { changed: false, .. });
        self.captured.variant += usize::from(done && command.changes_values());
        self.captured.reads += usize::from(done && *command == Command::Reload);
        Ok(stop)
    }

    fn obey(&mut self, command: &Command, caller: &mut Caller) -> Result<Stop, String> {
        match command {
            Command::Step(count) => self.run_ops(*count, caller, Halts::None),
            Command::Next(count) => self.next(*count, caller),
            Command::Forward(count) => self.forward(*count, caller),
            Command::Finish(count) => self.finish(*count, caller),
            Command::Continue(count) => self.go_on(*count, caller),
            Command::Until(pattern) => self.until(pattern, caller),
            Command::Run => self.run_on(caller, Halts::None, |_, _| false),
            Command::Back(motion, count) => self.back(*motion, *count),
            Command::Goto(name) => self.goto(name, caller),
            Command::Generate(count) => self.generate(*count, caller),
            Command::Break { pattern, condition, once } => {
                let sites = self.sites(pattern)?;
                let condition = condition.as_ref().map(|text| self.condition(text)).transpose();
                Ok(self.stops.set_breakpoint(pattern, sites, condition.map_err(|error| error.to_string())?, *once))
            }
            Command::Watch(text) => {
                let condition = self.condition(text).map_err(|error| error.to_string())?;
                Ok(self.stops.set_watch(condition))
            }
            Command::Toggle(pattern) => Ok(self.stops.toggle(pattern, self.sites(pattern)?)),
            Command::Delete(number) => self.stops.delete(*number),
            Command::Restart => {
                self.pass.go_to(0, 0);
                Ok(Stop::Done)
            }
            Command::Patch(_) | Command::Unpatch(_) | Command::Undo | Command::Redo => {
                patch::change(self, command, caller)
            }
            Command::Print(text) => self.print(text).map(Stop::Said),
            Command::Yank(text) => self.print(text).map(Stop::Yanked),
            Command::Export { expression, file, replace } => {
                export::export(self, expression, Path::new(file), *replace).map(Stop::said)
            }
            Command::Info(Topic::Patches) => patch::info(self, caller.interrupt).map(Stop::Said),
            Command::Info(Topic::Verdict) if !self.has_dumps() => Err("nothing is compared: there is no dump".into()),
            Command::Info(Topic::Verdict) => {
                let report = self.report().ok_or("the comparison has not reached the end yet: run goes there")?;
                Ok(Stop::Said(verdict(&report)))
            }
            Command::Info(topic) => Ok(Stop::Said(info(self, *topic))),
            Command::Help(name) => help(name.as_deref()).map(Stop::Said),
            Command::Reload => reload::reload(self, caller),
            Command::Diagnose(name) => why::diagnose(self, name, caller),
            Command::Switch(index) => why::switch(self, *index, caller),
            // Whoever keeps a recording takes these down; here they are said.
            Command::Mark(text) | Command::Note(text) => Ok(Stop::said(text)),
            Command::Save { .. } => Err("nothing is recorded here".into()),
            // Whoever has a screen, or reads scripts, does these itself.
            Command::Screen(_) | Command::Source(_) | Command::Quit => Ok(Stop::Done),
        }
    }

    /// The lines of `print`.
    fn print(&self, text: &str) -> Result<Vec<String>, String> {
        /// Columns that printed tensors are broken at.
        const PRINTED: usize = 100;
        let value = self.evaluate(text, None).map_err(|error| error.to_string())?;
        Ok(value.lines(PRINTED))
    }

    /// What `diff` says of the dumps; none before the comparison has reached the end of what they can know, or without one.
    pub fn report(&mut self) -> Option<Arc<Report>> {
        self.comparison.report(self.session.fed.forwards() * self.session.model.graph.len())
    }

    /// Our own run, before its first op, as it is to be computed.
    pub(super) fn begin_again(&mut self) {
        self.pass.begin_again(self.suspected.alterations(), self.patches.of_the_run());
        self.patches.unpatched = None;
    }

    /// Takes it back to the start of the session: no breakpoints, no patches, nothing generated. What has been compared
    /// stays.
    pub fn reset(&mut self) {
        self.pass.fed = self.session.fed.clone();
        self.stops = StopPoints::default();
        self.patches = Patches::default();
        self.suspected.reset();
        self.captured.variant = 0;
        self.begin_again();
    }

    /// Goes to another moment of the recording.
    pub fn wind(&mut self, mut moment: Moment) {
        let Some(recorded) = &mut self.pass.recorded else { return };
        let target = (moment.forward, moment.counter);
        let now = (moment.variant, moment.reads);
        let changed = (recorded.now.variant, recorded.now.reads) != now;
        self.comparison.recorded = std::mem::take(&mut moment.rows);
        let ids = moment.header.tokens.iter().map(|token| token.id).collect();
        self.pass.fed = Sequence::new(ids, &moment.header.forwards);
        recorded.now = moment;
        (self.captured.variant, self.captured.reads) = now;
        if changed {
            self.memos = Memos::new(&self.session.model);
        }
        if changed || target < self.pass.position() {
            self.begin_again();
        }
        while self.pass.position() < target && self.pass.next().is_some() {}
    }

    /// A breakpoint was hit when this was recorded.
    pub fn hit_again(&mut self, stop: &Stop) {
        if let Stop::Breakpoint { number, .. } = stop {
            self.stops.hit_number(*number);
        }
    }
}
