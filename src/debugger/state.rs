//! The debugger: its state.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::captured::{Captured, Looks};
use super::comparison::Comparison;
use super::memo::Memos;
use super::pass::Pass;
use super::patch::Patches;
use super::session::Session;
use super::stops::StopPoints;
use super::suspected::{Suspected, Switched};
use super::tape::{Moment, Recorded, Tape};
use super::view::{Listing, Stop};
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

/// A listing is reported after this many ops of a long command.
pub(super) const OPS_PER_REPORT: usize = 16;

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
