//! What of a session was looked at: the tensors that a page, a stop or an expression has shown. It is what a recording
//! keeps, and what a tape plays.

use std::cell::RefCell;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::state::Debugger;
use super::view::{LensPage, LensRequest, Witness};
use crate::engine::{Site, Value};

/// An activation of a witness, at some time of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Look {
    /// How often, of our engine, what it computes was changed before: by patches and suspects; of a dump, how often it was
    /// read again.
    pub variant: usize,
    /// Which forward.
    pub forward: usize,
    /// Which activation.
    pub site: Site,
    /// Whose.
    pub witness: Witness,
}

/// What was seen.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The rows that the witness has, in the layout of the table.
    pub values: Value,
    /// Which rows of the forward they are.
    pub rows: Vec<usize>,
    /// The key position of column 0, for scores and probabilities.
    pub first_key: usize,
    /// What was done to the dump's tensor.
    pub notes: Vec<String>,
}

/// A page of the lens, and when it was made: it cannot be made again without the head's weights.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LensSeen {
    /// As of [`Look`], of our engine.
    pub variant: usize,
    /// Which forward.
    pub forward: usize,
    /// Ops of it that were computed.
    pub counter: usize,
    /// What was asked for.
    pub request: LensRequest,
    /// The page.
    pub page: LensPage,
}

/// All that was looked at, up to a number of bytes.
#[derive(Debug)]
pub struct Looks {
    /// The tensors.
    pub seen: HashMap<Look, Seen>,
    /// The pages of the lens.
    pub lens: Vec<LensSeen>,
    /// What did not fit, each once.
    pub left_out: Vec<Look>,
    bytes: usize,
    budget: usize,
    /// Conditions look at every op: what they see nobody has looked at.
    paused: bool,
}

/// Pages of the lens that are kept.
const LENS_PAGES: usize = 500;

impl Looks {
    /// Keeps so many bytes of tensors.
    pub fn new(budget: usize) -> Self {
        Self { seen: HashMap::new(), lens: Vec::new(), left_out: Vec::new(), bytes: 0, budget, paused: false }
    }

    fn take(&mut self, look: Look, seen: impl FnOnce() -> Seen) {
        if self.paused || self.seen.contains_key(&look) {
            return;
        }
        let seen = seen();
        let bytes = seen.values.len() * size_of::<f32>();
        if self.bytes + bytes > self.budget {
            if !self.left_out.contains(&look) {
                self.left_out.push(look);
            }
            return;
        }
        self.bytes += bytes;
        self.seen.insert(look, seen);
    }
}

/// Nothing is kept until somebody records.
pub(super) type Looked = RefCell<Option<Looks>>;

impl Debugger {
    /// Keeps what is looked at from now on, so many bytes at most.
    pub fn keep_looks(&mut self, budget: usize) {
        *self.looked.get_mut() = Some(Looks::new(budget));
    }

    /// What was looked at so far.
    pub fn looks(&mut self) -> Option<&Looks> {
        self.looked.get_mut().as_ref()
    }

    /// How often what our engine computes was changed.
    pub fn variant(&self) -> usize {
        self.variant
    }

    pub(super) fn look(&self, forward: usize, site: Site, witness: Witness, seen: impl FnOnce() -> Seen) {
        if let Some(looks) = self.looked.borrow_mut().as_mut() {
            let variant = if witness == Witness::Engine { self.variant } else { self.reads };
            looks.take(Look { variant, forward, site, witness }, seen);
        }
    }

    /// Our own activation was looked at.
    pub(super) fn look_at_ours(&self, forward: usize, site: Site, values: &Value) {
        self.look(forward, site, Witness::Engine, || Seen {
            values: values.clone(),
            rows: (0..self.session.steps[forward]).collect(),
            first_key: 0,
            notes: Vec::new(),
        });
    }

    /// The cache shows what every layer has written to it.
    pub(super) fn look_at_cache(&self) {
        if self.looked.borrow().is_none() {
            return;
        }
        for forward in 0..=self.run.forward() {
            for site in self.run.graph().cached() {
                let record = self.trace.forward(forward).get(site.index());
                if let Some(values) = record.and_then(|record| record.value.as_ref()) {
                    self.look_at_ours(forward, site, values);
                }
            }
        }
    }

    pub(super) fn look_at_lens(&self, request: &LensRequest, page: &LensPage) {
        let mut looked = self.looked.borrow_mut();
        let Some(looks) = looked.as_mut().filter(|looks| looks.lens.len() < LENS_PAGES) else { return };
        let (variant, forward, counter) = (self.variant, self.run.forward(), self.run.counter());
        let at = |seen: &LensSeen| (seen.variant, seen.forward, seen.counter) == (variant, forward, counter);
        if !looks.lens.iter().any(|seen| at(seen) && seen.request == *request) {
            looks.lens.push(LensSeen { variant, forward, counter, request: request.clone(), page: page.clone() });
        }
    }

    /// Does something that nobody looks at.
    pub(super) fn unseen<T>(&self, work: impl FnOnce() -> T) -> T {
        let pause = |paused| {
            if let Some(looks) = self.looked.borrow_mut().as_mut() {
                looks.paused = paused;
            }
        };
        pause(true);
        let done = work();
        pause(false);
        done
    }
}
