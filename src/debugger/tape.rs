//! A debugger without weights: what was recorded of a session stands in for the engine and the dumps.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::kept::Kept;
use super::looked::{LensSeen, Look, Seen};
use super::state::{Debugger, Session};
use super::view::{Header, LensPage, LensRequest, Stop, Witness};
use crate::diagnose::{ActivationRow, Part, Witnesses};
use crate::engine::{Site, Supply, Value};
use crate::model::Model;

/// What was recorded of a session.
#[derive(Debug, Default)]
pub struct Tape {
    /// The tensors that were looked at.
    pub seen: HashMap<Look, Seen>,
    /// The pages of the lens.
    pub lens: Vec<LensSeen>,
    /// Texts of tokens.
    pub texts: HashMap<u32, String>,
}

/// Where a recording stands: what of it is true now.
#[derive(Clone, Debug, Default)]
pub struct Moment {
    /// Which forward.
    pub forward: usize,
    /// Ops of it that were computed.
    pub counter: usize,
    /// As [`Debugger::variant`].
    pub variant: usize,
    /// How often the dumps were read again.
    pub reads: usize,
    /// What front ends are told.
    pub header: Header,
    /// Rows of the listing that patches change.
    pub patched: Vec<usize>,
    /// What was compared.
    pub rows: Vec<ActivationRow>,
}

/// A tape in a debugger.
#[derive(Debug)]
pub(super) struct Playing {
    pub(super) tape: Arc<Tape>,
    pub(super) now: Moment,
    variant: Arc<RwLock<usize>>,
}

/// Our engine's results, from the tape.
#[derive(Debug)]
struct Ours {
    tape: Arc<Tape>,
    variant: Arc<RwLock<usize>>,
}

impl Supply<f32> for Ours {
    fn value(&self, forward: usize, site: Site) -> Option<Value> {
        let variant = *self.variant.read().unwrap_or_else(PoisonError::into_inner);
        let look = Look { variant, forward, site, witness: Witness::Engine };
        self.tape.seen.get(&look).map(|seen| seen.values.clone())
    }
}

/// What needs more than a tape.
pub(super) const NEEDS_WEIGHTS: &str = "this needs the model's weights and the dumps: only what was recorded is here";

impl Debugger {
    /// A debugger that plays a tape; `model` needs no weights.
    ///
    /// # Panics
    /// As [`Debugger::new`].
    pub fn of_tape(model: Arc<Model>, tape: Arc<Tape>, start: Moment) -> Self {
        let ids = start.header.tokens.iter().map(|token| token.id).collect();
        let steps = start.header.forwards.clone();
        let mut debugger = Self::new(Session::new(model, ids, steps, Witnesses::default()));
        debugger.playing = Some(Playing { tape, now: start, variant: Arc::default() });
        debugger.begin_again();
        debugger
    }

    /// Whether it plays a tape.
    pub fn is_taped(&self) -> bool {
        self.playing.is_some()
    }

    /// Takes the results of our own run from the tape, if there is one.
    pub(super) fn thread_tape(&mut self) {
        if let Some(Playing { tape, variant, .. }) = &self.playing {
            self.run.supplied_by(Arc::new(Ours { tape: Arc::clone(tape), variant: Arc::clone(variant) }));
        }
    }

    /// Goes to another moment of the recording.
    pub fn wind(&mut self, moment: Moment) {
        let Some(playing) = &mut self.playing else { return };
        let (before, target) = ((playing.now.variant, playing.now.reads), (moment.forward, moment.counter));
        let changed = before != (moment.variant, moment.reads);
        *playing.variant.write().unwrap_or_else(PoisonError::into_inner) = moment.variant;
        (self.variant, self.reads) = (moment.variant, moment.reads);
        self.session.ids = moment.header.tokens.iter().map(|token| token.id).collect();
        self.session.steps.clone_from(&moment.header.forwards);
        playing.now = moment;
        if changed {
            self.kept = Kept::new(&self.session.model);
        }
        if changed || target < (self.run.forward(), self.run.counter()) {
            self.begin_again();
        }
        while (self.run.forward(), self.run.counter()) < target {
            if !matches!(self.compute_next(), Ok(Some(_))) {
                break;
            }
        }
    }

    /// A breakpoint was hit when this was recorded.
    pub fn hit_again(&mut self, stop: &Stop) {
        if let Stop::Breakpoint { number, .. } = stop {
            self.hit_number(*number);
        }
    }

    /// Whether our own engine makes a mistake, or made one when this was recorded.
    pub(super) fn is_switched(&self) -> bool {
        self.switched.is_some() || self.playing.as_ref().is_some_and(|playing| playing.now.header.suspect.is_some())
    }

    /// Whether a witness is there: its dump, or what was recorded of it.
    pub(super) fn has(&self, witness: Witness) -> bool {
        match &self.playing {
            Some(playing) => playing.now.header.witnesses.contains(&witness),
            None => witness == Witness::Engine || super::state::dump_of(&self.session.dumps, witness).is_some(),
        }
    }

    /// What was recorded of a dump.
    pub(super) fn recorded(
        &self,
        forward: usize,
        site: Site,
        witness: Witness,
    ) -> Option<Result<(Part, Vec<String>), String>> {
        let playing = self.playing.as_ref()?;
        let variant = if witness == Witness::Engine { self.variant } else { self.reads };
        let seen = playing.tape.seen.get(&Look { variant, forward, site, witness });
        Some(match seen {
            Some(seen) => {
                let values = seen.values.clone();
                Ok((Part { values, rows: seen.rows.clone(), first_key: seen.first_key }, seen.notes.clone()))
            }
            None if self.has(witness) => Err(format!(
                "{} of the {} was not recorded: nobody looked at it",
                self.run.graph().short(site),
                witness.name()
            )),
            None => Err(format!("there is no {}", witness.name())),
        })
    }

    /// The page of the lens that was recorded here, or else the last one before.
    pub(super) fn recorded_lens(&self, request: &LensRequest) -> Option<Result<LensPage, String>> {
        let playing = self.playing.as_ref()?;
        let (forward, counter) = (self.run.forward(), self.run.counter());
        let fits = |seen: &&LensSeen| {
            let same = (seen.request.token, seen.request.shown) == (request.token, request.shown);
            same && (seen.variant, seen.forward) == (self.variant, forward) && seen.counter <= counter
        };
        let all = playing.tape.lens.iter().filter(fits);
        let best = all.max_by_key(|seen| (seen.request == *request, seen.counter));
        Some(
            best.map(|seen| seen.page.clone())
                .ok_or_else(|| "the lens was not recorded here: it needs the weights of the head".into()),
        )
    }

    /// Takes it back to the start of the session: no breakpoints, no patches, nothing generated. What has been compared
    /// stays.
    pub fn reset(&mut self) {
        let given: usize = self.session.steps[..self.given].iter().sum();
        self.session.ids.truncate(given);
        self.session.steps.truncate(self.given);
        self.stops = super::stops::StopPoints::default();
        self.patches = super::patch::Patches::default();
        self.diagnosed = None;
        self.switched.clone_from(&self.at_start);
        self.variant = 0;
        self.begin_again();
    }
}
