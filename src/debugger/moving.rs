//! Going through the pass, forwards and backwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::command::Motion;
use super::state::{Debugger, OPS_PER_REPORT};
use super::view::{Listing, Stop};
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

type Progress<'a> = &'a mut dyn FnMut(Listing);

impl Debugger {
    /// Computes ops until `arrived(ops computed in this forward, op)`, something that `halts`, an interrupt, or the end.
    pub(super) fn run_on(
        &mut self,
        interrupt: &AtomicBool,
        progress: Progress,
        halts: Halts,
        mut arrived: impl FnMut(usize, Site) -> bool,
    ) -> Result<Stop, String> {
        for done in 1.. {
            if interrupt.load(Ordering::Relaxed) {
                return Ok(Stop::Interrupted);
            }
            let Some(site) = self.compute_next()? else { break };
            let arrived = arrived(self.run.counter(), site);
            // Where one arrives at a breakpoint, it is hit as well.
            if halts != Halts::None
                && let Some(point) = self.stop_at(self.run.forward(), self.run.counter() - 1)?
            {
                return Ok(self.hit(point));
            }
            if arrived {
                return Ok(Stop::Done);
            }
            if halts == Halts::Divergences && self.diverges(self.run.forward(), self.run.counter() - 1) {
                return Ok(Stop::Divergence);
            }
            if done % OPS_PER_REPORT == 0 {
                progress(self.listing());
            }
        }
        Ok(Stop::End)
    }

    /// Whether an op that was computed is not what its inputs give.
    fn diverges(&self, forward: usize, row: usize) -> bool {
        let row = self.rows().get(forward * self.run.graph().len() + row);
        row.is_some_and(|row| row.status == Status::Bad)
    }

    pub(super) fn step(&mut self, count: usize, interrupt: &AtomicBool, progress: Progress) -> Result<Stop, String> {
        let mut left = count;
        if count == 0 {
            return Ok(Stop::Done);
        }
        self.run_on(interrupt, progress, Halts::None, |_, _| {
            left -= 1;
            left == 0
        })
    }

    pub(super) fn next(&mut self, count: usize, interrupt: &AtomicBool, progress: Progress) -> Result<Stop, String> {
        if count == 0 {
            return Ok(Stop::Done);
        }
        let target = self.layers_on(count);
        self.run_on(interrupt, progress, Halts::Breakpoints, |counter, _| counter >= target)
    }

    pub(super) fn finish(&mut self, count: usize, interrupt: &AtomicBool, progress: Progress) -> Result<Stop, String> {
        let (at, mut left) = (self.run.last(), count);
        if count == 0 {
            return Ok(Stop::Done);
        }
        let graph = Arc::clone(&self.session.model.graph);
        self.run_on(interrupt, progress, Halts::Breakpoints, |_, site| {
            let ends = (graph.is(site, Role::Block) || graph.output() == Some(site)) && at != Some(site);
            left -= usize::from(ends);
            ends && left == 0
        })
    }

    pub(super) fn go_on(&mut self, count: usize, interrupt: &AtomicBool, progress: Progress) -> Result<Stop, String> {
        let mut stop = Ok(Stop::Done);
        for _ in 0..count {
            stop = self.run_on(interrupt, progress, Halts::Divergences, |_, _| false);
            if !matches!(stop, Ok(Stop::Breakpoint { .. } | Stop::Divergence)) {
                break;
            }
        }
        stop
    }

    pub(super) fn until(&mut self, pattern: &str, interrupt: &AtomicBool, progress: Progress) -> Result<Stop, String> {
        let sites = self.sites(pattern)?;
        self.run_on(interrupt, progress, Halts::Breakpoints, |_, site| sites.contains(&site))
    }

    /// To the same op, so many forwards on.
    pub(super) fn forward(&mut self, count: usize, interrupt: &AtomicBool, progress: Progress) -> Result<Stop, String> {
        let (wanted, counter) = (self.run.forward() + count, self.run.counter().max(1));
        self.check_forward(wanted)?;
        self.advance_to(wanted, counter, interrupt, progress)
    }

    fn check_forward(&self, forward: usize) -> Result<(), String> {
        match self.session.steps.len() - 1 {
            last if forward <= last => Ok(()),
            0 => Err(format!("there is no decode step {forward}: only the prefill is fed; generate goes on")),
            last => Err(format!("there is no decode step {forward}: the last is {last}; generate goes on")),
        }
    }

    fn advance_to(
        &mut self,
        forward: usize,
        counter: usize,
        interrupt: &AtomicBool,
        progress: Progress,
    ) -> Result<Stop, String> {
        let length = self.run.graph().len();
        let mut left = (forward * length + counter).saturating_sub(self.ops_done());
        if left == 0 {
            return Ok(Stop::Done);
        }
        self.run_on(interrupt, progress, Halts::Breakpoints, |_, _| {
            left -= 1;
            left == 0
        })
    }

    /// `3.q_rope`, or `3.q_rope@2` in decode step 2.
    pub(super) fn goto(&mut self, name: &str, interrupt: &AtomicBool, progress: Progress) -> Result<Stop, String> {
        let (name, forward) = match name.rsplit_once('@') {
            Some((name, step)) => {
                let step = step.trim();
                let number =
                    step.parse().map_err(|_| format!("@{step} is no decode step: 3.q_rope@2 is in the second"))?;
                (name, number)
            }
            None => (name, self.run.forward()),
        };
        let counter = self.row_of(name)? + 1;
        self.check_forward(forward)?;
        if (forward, counter) <= (self.run.forward(), self.run.counter()) {
            self.go_to(forward, counter);
            return Ok(Stop::Done);
        }
        let length = self.run.graph().len();
        let mut left = forward * length + counter - self.ops_done();
        self.run_on(interrupt, progress, Halts::None, |_, _| {
            left -= 1;
            left == 0
        })
    }

    /// Goes back to where `counter` ops of `forward` were computed; both lie behind.
    pub(super) fn go_to(&mut self, forward: usize, counter: usize) {
        if forward < self.run.forward() {
            self.run.rewind_to_forward(forward);
            while self.run.counter() < counter {
                self.run.step();
            }
        } else {
            self.run.rewind(counter);
        }
        self.trace.truncate(forward, counter);
        // What was computed long ago may not have been kept.
        let last = counter.checked_sub(1).and_then(|last| self.run.graph().site(last));
        if let Some(value) = last.and_then(|site| self.run.get(site)).filter(|_| self.playing.is_none()) {
            self.trace.keep_last(value);
        }
    }

    pub(super) fn back(&mut self, motion: Motion, count: usize) -> Result<Stop, String> {
        match motion {
            _ if count == 0 => Ok(Stop::Done),
            Motion::Step => Ok(self.go_back(count)),
            Motion::Next => {
                let target = self.layers_back(count);
                Ok(self.go_back((self.run.counter() - target).max(1)))
            }
            Motion::Forward => match self.run.forward().checked_sub(count) {
                Some(forward) => {
                    self.go_to(forward, self.run.counter());
                    Ok(Stop::Done)
                }
                None => Err("there is no forward before the prefill".into()),
            },
            Motion::Continue => self.go_back_on(count),
        }
    }

    /// To the last breakpoint, watch or divergence before, so many times; to the start where there is none.
    fn go_back_on(&mut self, count: usize) -> Result<Stop, String> {
        let length = self.run.graph().len();
        let mut left = count;
        for ops in (0..self.ops_done().saturating_sub(1)).rev() {
            let (forward, row) = (ops / length, ops % length);
            let point = self.stop_at(forward, row)?;
            if point.is_none() && !self.diverges(forward, row) {
                continue;
            }
            left -= 1;
            if left == 0 {
                self.go_to(forward, row + 1);
                return Ok(point.map_or(Stop::Divergence, |point| self.hit(point)));
            }
        }
        self.go_to(0, 0);
        Ok(Stop::Start)
    }

    /// Goes back by `count` ops, through earlier forwards if need be. Before the first op of a decode step, the debugger
    /// stands at the last op of the forward before: as it does when it comes from there.
    pub(super) fn go_back(&mut self, count: usize) -> Stop {
        let length = self.run.graph().len();
        let Some(ops) = self.ops_done().checked_sub(count) else {
            self.go_to(0, 0);
            return Stop::Start;
        };
        match ops % length {
            0 if ops > 0 => self.go_to(ops / length - 1, length),
            counter => self.go_to(ops / length, counter),
        }
        Stop::Done
    }

    /// The number of ops after which the op `count` layers on is computed; past the last layer, the next op that no layer
    /// owns. At the end of a forward, the first op of the next one.
    fn layers_on(&self, count: usize) -> usize {
        let (graph, counter) = (self.run.graph(), self.run.counter());
        let Some(at) = self.run.last().filter(|_| !self.run.is_complete()) else { return 1 };
        let inside = |layer: Option<usize>| layer.filter(|layer| *layer < graph.layers());
        let wanted = match graph[at].layer {
            Some(layer) => inside(layer.checked_add(count)).map(|layer| self.same_in(layer, at)),
            None if self.is_before_layers(at) => inside(count.checked_sub(1)).map(|layer| graph.start(layer)),
            None => None,
        };
        let unowned = || (counter..graph.len()).find(|index| graph[Site::at(*index)].layer.is_none());
        wanted.or_else(unowned).map_or(graph.len(), |position| position + 1)
    }

    /// Whether it is computed before the first layer.
    fn is_before_layers(&self, site: Site) -> bool {
        self.run.graph().tail().is_none_or(|tail| site.index() < tail)
    }

    /// The same op in another layer; the first one there where it has none.
    fn same_in(&self, layer: usize, site: Site) -> usize {
        let graph = self.run.graph();
        graph.twin(site, layer).map_or_else(|| graph.start(layer), Site::index)
    }

    fn layers_back(&self, count: usize) -> usize {
        let Some(at) = self.run.last() else { return 0 };
        let graph = self.run.graph();
        let wanted = match graph[at].layer {
            Some(layer) => layer.checked_sub(count).map(|layer| self.same_in(layer, at)),
            None if self.is_before_layers(at) => return 0,
            None => {
                let layer = graph.layers().checked_sub(count);
                layer.and_then(|layer| graph.in_layer(layer, Role::Block)).map(Site::index)
            }
        };
        wanted.map_or(1, |position| position + 1)
    }
}
