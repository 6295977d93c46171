//! The patches that are made, and what our run would be without them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::request::PatchRequest;
use crate::debugger::pass::Pass;
use crate::debugger::view::PatchLine;
use crate::engine::{LogitRows, Patch, Run, Sequence, Site};

/// One patch of the list.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) number: usize,
    pub(super) request: PatchRequest,
    /// What it does to the run, activation by activation.
    pub(super) patches: Vec<Patch>,
}

pub(super) type List = Vec<Arc<Entry>>;

/// The patches that are made, and those that were.
#[derive(Debug, Default)]
pub(in crate::debugger) struct Patches {
    pub(super) list: List,
    pub(super) undo: Vec<List>,
    pub(super) redo: Vec<List>,
    /// Numbers given so far.
    pub(super) numbered: usize,
    /// The run as it would be without them, to compare with.
    pub(in crate::debugger) unpatched: Option<Unpatched>,
}

impl Patches {
    /// In the order in which they are made.
    pub(in crate::debugger) fn of_the_run(&self) -> Vec<Patch> {
        self.list.iter().flat_map(|entry| entry.patches.iter().cloned()).collect()
    }

    /// What front ends see of them.
    pub(in crate::debugger) fn lines(&self, pass: &Pass) -> Vec<PatchLine> {
        let line = |entry: &Arc<Entry>| PatchLine {
            number: entry.number,
            text: entry.request.to_string(),
            activations: activations(&entry.patches),
            applies: entry.patches.iter().any(|patch| pass.computed(patch.site).any(|feed| pass.touches(patch, feed))),
        };
        self.list.iter().map(line).collect()
    }
}

/// Our own run as it would be without patches: as far as it was asked for, and what it said at the end of each forward.
#[derive(Debug)]
pub(in crate::debugger) struct Unpatched {
    pub(super) run: Run,
    pub(super) logits: Vec<Vec<f32>>,
}

impl Unpatched {
    /// The last logits of a forward; `None` when interrupted.
    pub(super) fn logits(&mut self, fed: &Sequence, forward: usize, interrupt: &AtomicBool) -> Option<Vec<f32>> {
        while self.logits.len() <= forward {
            let next = self.logits.len();
            if self.run.forward() < next {
                self.run.begin_forward(fed.span(next).ids);
            }
            self.logits.push(last_logits(&mut self.run, interrupt)?);
        }
        Some(self.logits[forward].clone())
    }
}

/// Takes the run to the end of its forward; `None` when interrupted.
pub(in crate::debugger) fn last_logits(run: &mut Run, interrupt: &AtomicBool) -> Option<Vec<f32>> {
    run.set_logit_rows(LogitRows::Last);
    while !run.is_complete() {
        if interrupt.load(Ordering::Relaxed) {
            return None;
        }
        run.step();
    }
    run.last_logits().map(|logits| logits.to_vec())
}

/// How many activations patches change.
pub(super) fn activations(patches: &[Patch]) -> usize {
    patches.iter().map(|patch| patch.site).collect::<BTreeSet<Site>>().len()
}
