//! What commands do: they go through the pass, forwards and backwards, and set what it does.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::command::{Command, Motion, Topic};
use super::comparison::verdict;
use super::messages::{help, info};
use super::state::{Caller, Debugger, OPS_PER_REPORT};
use super::view::{Listing, Stop};
use super::{attribution, experts, export, patch, reload, sweep, why};
use crate::diagnose::Status;
use crate::engine::{Role, Site};

/// What needs more than a recording.
const NEEDS_WEIGHTS: &str = "this needs the model's weights and the dumps: only what was recorded is here";

/// What stops a run on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Halts {
    /// Nothing.
    None,
    /// Breakpoints and watches.
    Breakpoints,
    /// These, and divergences.
    Divergences,
}

impl Debugger {
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
            Command::Info(Topic::Experts) => experts::info(self).map(Stop::Said),
            Command::Info(topic) => Ok(Stop::Said(info(self, *topic))),
            Command::Help(name) => help(name.as_deref()).map(Stop::Said),
            Command::Reload => reload::reload(self, caller),
            Command::Diagnose(name) => why::diagnose(self, name, caller),
            Command::Sweep(of, token) => sweep::command(self, *of, token.as_deref(), caller),
            Command::Attribution(token) => attribution::command(self, token.as_deref(), caller),
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
        let mut lines = value.lines(PRINTED);
        for (line, id) in lines.iter_mut().zip(value.vocabulary()) {
            line.push_str("  ");
            line.push_str(&self.token_text(id as u32));
        }
        Ok(lines)
    }

    /// Computes the next op, entering the next forward when there is one.
    fn compute_next(&mut self) -> Result<Option<Site>, String> {
        let Some(site) = self.pass.next() else { return Ok(None) };
        if let Err(error) = self.comparison.follow(&self.session, self.pass.ops()) {
            self.pass.go_back(1);
            return Err(error);
        }
        Ok(Some(site))
    }

    /// Computes ops until `arrived(ops computed in this forward, op)`, something that `halts`, an interrupt, or the end.
    fn run_on(
        &mut self,
        caller: &mut Caller,
        halts: Halts,
        mut arrived: impl FnMut(usize, Site) -> bool,
    ) -> Result<Stop, String> {
        for done in 1.. {
            if caller.interrupts() {
                return Ok(Stop::Interrupted);
            }
            let Some(site) = self.compute_next()? else { break };
            let arrived = arrived(self.pass.run.counter(), site);
            // Where one arrives at a breakpoint, it is hit as well.
            if halts != Halts::None
                && let Some(point) = self.stop_at(self.pass.run.forward(), self.pass.run.counter() - 1)?
            {
                return Ok(self.stops.hit(point));
            }
            if arrived {
                return Ok(Stop::Done);
            }
            if halts == Halts::Divergences && self.diverges(self.pass.run.forward(), self.pass.run.counter() - 1) {
                return Ok(Stop::Divergence);
            }
            if done % OPS_PER_REPORT == 0 {
                (caller.progress)(self.listing());
            }
        }
        Ok(Stop::End)
    }

    /// The breakpoint or watch that stops at an op of some forward, which has been computed, if one does.
    ///
    /// # Errors
    /// A condition that cannot be evaluated there.
    fn stop_at(&self, forward: usize, row: usize) -> Result<Option<usize>, String> {
        let scope = self.scope_in(forward, row);
        self.stops.at(Site::at(row), |condition| self.captured.unseen(|| condition.holds(&scope)))
    }

    /// Whether an op that was computed is not what its inputs give.
    fn diverges(&self, forward: usize, row: usize) -> bool {
        let row = self.comparison.rows().get(forward * self.graph().len() + row);
        row.is_some_and(|row| row.status == Status::Bad)
    }

    /// Computes so many ops, or as many as there are, unless something that `halts` comes first.
    fn run_ops(&mut self, mut ops: usize, caller: &mut Caller, halts: Halts) -> Result<Stop, String> {
        if ops == 0 {
            return Ok(Stop::Done);
        }
        self.run_on(caller, halts, |_, _| {
            ops -= 1;
            ops == 0
        })
    }

    /// Computes so many ops again; false when interrupted.
    pub(super) fn compute_again(&mut self, ops: usize, caller: &mut Caller) -> Result<bool, String> {
        Ok(self.run_ops(ops, caller, Halts::None)? != Stop::Interrupted)
    }

    fn next(&mut self, count: usize, caller: &mut Caller) -> Result<Stop, String> {
        if count == 0 {
            return Ok(Stop::Done);
        }
        let target = self.pass.layers_on(count);
        self.run_on(caller, Halts::Breakpoints, |counter, _| counter >= target)
    }

    fn finish(&mut self, count: usize, caller: &mut Caller) -> Result<Stop, String> {
        let (at, mut left) = (self.pass.run.last(), count);
        if count == 0 {
            return Ok(Stop::Done);
        }
        let graph = Arc::clone(&self.session.model.graph);
        self.run_on(caller, Halts::Breakpoints, |_, site| {
            let ends = (graph.is(site, Role::Block) || graph.output() == Some(site)) && at != Some(site);
            left -= usize::from(ends);
            ends && left == 0
        })
    }

    fn go_on(&mut self, count: usize, caller: &mut Caller) -> Result<Stop, String> {
        let mut stop = Ok(Stop::Done);
        for _ in 0..count {
            stop = self.run_on(caller, Halts::Divergences, |_, _| false);
            if !matches!(stop, Ok(Stop::Breakpoint { .. } | Stop::Divergence)) {
                break;
            }
        }
        stop
    }

    fn until(&mut self, pattern: &str, caller: &mut Caller) -> Result<Stop, String> {
        let sites = self.sites(pattern)?;
        self.run_on(caller, Halts::Breakpoints, |_, site| sites.contains(&site))
    }

    /// To the same op, so many forwards on.
    fn forward(&mut self, count: usize, caller: &mut Caller) -> Result<Stop, String> {
        let (wanted, counter) = (self.pass.run.forward() + count, self.pass.run.counter().max(1));
        self.check_forward(wanted)?;
        let ops = (wanted * self.graph().len() + counter).saturating_sub(self.pass.ops());
        self.run_ops(ops, caller, Halts::Breakpoints)
    }

    fn check_forward(&self, forward: usize) -> Result<(), String> {
        match self.pass.fed.forwards() - 1 {
            last if forward <= last => Ok(()),
            0 => Err(format!("there is no decode step {forward}: only the prefill is fed; generate goes on")),
            last => Err(format!("there is no decode step {forward}: the last is {last}; generate goes on")),
        }
    }

    /// `3.q_rope`, or `3.q_rope@2` in decode step 2.
    fn goto(&mut self, name: &str, caller: &mut Caller) -> Result<Stop, String> {
        let (name, forward) = match name.rsplit_once('@') {
            Some((name, step)) => {
                let step = step.trim();
                let number =
                    step.parse().map_err(|_| format!("@{step} is no decode step: 3.q_rope@2 is in the second"))?;
                (name, number)
            }
            None => (name, self.pass.run.forward()),
        };
        let counter = self.row_of(name)? + 1;
        self.check_forward(forward)?;
        self.go_to_ops(forward, counter, caller)
    }

    /// Goes to where so many ops of a forward are computed, forwards or backwards.
    pub(super) fn go_to_ops(&mut self, forward: usize, counter: usize, caller: &mut Caller) -> Result<Stop, String> {
        if (forward, counter) <= self.pass.position() {
            self.pass.go_to(forward, counter);
            return Ok(Stop::Done);
        }
        let ops = forward * self.graph().len() + counter - self.pass.ops();
        self.run_ops(ops, caller, Halts::None)
    }

    fn back(&mut self, motion: Motion, count: usize) -> Result<Stop, String> {
        match motion {
            _ if count == 0 => Ok(Stop::Done),
            Motion::Step => Ok(self.pass.go_back(count)),
            Motion::Next => {
                let target = self.pass.layers_back(count);
                Ok(self.pass.go_back((self.pass.run.counter() - target).max(1)))
            }
            Motion::Forward => match self.pass.run.forward().checked_sub(count) {
                Some(forward) => {
                    self.pass.go_to(forward, self.pass.run.counter());
                    Ok(Stop::Done)
                }
                None => Err("there is no forward before the prefill".into()),
            },
            Motion::Continue => self.go_back_on(count),
        }
    }

    /// To the last breakpoint, watch or divergence before, so many times; to the start where there is none.
    fn go_back_on(&mut self, count: usize) -> Result<Stop, String> {
        let length = self.graph().len();
        let mut left = count;
        for ops in (0..self.pass.ops().saturating_sub(1)).rev() {
            let (forward, row) = (ops / length, ops % length);
            let point = self.stop_at(forward, row)?;
            if point.is_none() && !self.diverges(forward, row) {
                continue;
            }
            left -= 1;
            if left == 0 {
                self.pass.go_to(forward, row + 1);
                return Ok(point.map_or(Stop::Divergence, |point| self.stops.hit(point)));
            }
        }
        self.pass.go_to(0, 0);
        Ok(Stop::Start)
    }

    /// Goes on to the end of the last forward, then feeds the likeliest token and computes, so many times. A token that
    /// ends the text is not fed, nor one that stands where the model has no position.
    fn generate(&mut self, count: usize, caller: &mut Caller) -> Result<Stop, String> {
        self.session.model.graph.needs_logits()?;
        let mut fed = Vec::new();
        for _ in 0..count {
            if self.run_on(caller, Halts::None, |_, _| false)? == Stop::Interrupted {
                return Ok(Stop::Interrupted);
            }
            let logits = self.pass.run.last_logits().expect("the last forward is complete");
            let likeliest = logits.iter().enumerate().filter(|(_, logit)| !logit.is_nan());
            let Some((next, _)) = likeliest.max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0))) else {
                return Err("every logit is NaN: there is no likeliest token".into());
            };
            let next = u32::try_from(next).expect("an id of the vocabulary");
            if self.session.eos.contains(&next) {
                fed.push(format!("{} ends the text", self.token_text(next)));
                break;
            }
            if let Some(most) = self.session.model.spec.embed.learned.filter(|most| self.pass.fed.ids().len() >= *most)
            {
                fed.push(format!("and no more: the model has {most} positions"));
                break;
            }
            self.pass.fed.push(&[next]);
            fed.push(self.token_text(next));
        }
        if self.run_on(caller, Halts::None, |_, _| false)? == Stop::Interrupted {
            return Ok(Stop::Interrupted);
        }
        let said = if fed.is_empty() { "nothing".into() } else { fed.join(" ") };
        Ok(Stop::said(format!("generated {said}")))
    }
}
