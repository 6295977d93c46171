//! Going through the pass, forwards and backwards.

use std::sync::Arc;

use super::command::Motion;
use super::state::{Caller, Debugger};
use super::view::Stop;
use crate::diagnose::Status;
use crate::engine::{Role, Site};

/// What stops a run on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Halts {
    /// Nothing.
    None,
    /// Breakpoints and watches.
    Breakpoints,
    /// These, and divergences.
    Divergences,
}

/// A listing is reported after this many ops of a long command.
pub(super) const OPS_PER_REPORT: usize = 16;

impl Debugger {
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
    pub(super) fn run_on(
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
    pub(super) fn run_ops(&mut self, mut ops: usize, caller: &mut Caller, halts: Halts) -> Result<Stop, String> {
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

    pub(super) fn next(&mut self, count: usize, caller: &mut Caller) -> Result<Stop, String> {
        if count == 0 {
            return Ok(Stop::Done);
        }
        let target = self.pass.layers_on(count);
        self.run_on(caller, Halts::Breakpoints, |counter, _| counter >= target)
    }

    pub(super) fn finish(&mut self, count: usize, caller: &mut Caller) -> Result<Stop, String> {
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

    pub(super) fn go_on(&mut self, count: usize, caller: &mut Caller) -> Result<Stop, String> {
        let mut stop = Ok(Stop::Done);
        for _ in 0..count {
            stop = self.run_on(caller, Halts::Divergences, |_, _| false);
            if !matches!(stop, Ok(Stop::Breakpoint { .. } | Stop::Divergence)) {
                break;
            }
        }
        stop
    }

    pub(super) fn until(&mut self, pattern: &str, caller: &mut Caller) -> Result<Stop, String> {
        let sites = self.sites(pattern)?;
        self.run_on(caller, Halts::Breakpoints, |_, site| sites.contains(&site))
    }

    /// To the same op, so many forwards on.
    pub(super) fn forward(&mut self, count: usize, caller: &mut Caller) -> Result<Stop, String> {
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
    pub(super) fn goto(&mut self, name: &str, caller: &mut Caller) -> Result<Stop, String> {
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

    pub(super) fn back(&mut self, motion: Motion, count: usize) -> Result<Stop, String> {
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
    pub(super) fn generate(&mut self, count: usize, caller: &mut Caller) -> Result<Stop, String> {
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
