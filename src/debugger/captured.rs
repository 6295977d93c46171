//! What of a session was looked at: the tensors that a page, a stop or an expression has shown. It is what a recording
//! keeps, and what a tape plays.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::view::{LensPage, LensRequest, Witness};
use crate::dump::{Aligned, RowSubset};
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
    pub seen: HashMap<Look, Aligned>,
    /// The pages of the lens.
    pub lens: Vec<LensSeen>,
    /// Texts of tokens that were said, or stood above a column.
    pub texts: BTreeMap<u32, String>,
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
        Self {
            seen: HashMap::new(),
            lens: Vec::new(),
            texts: BTreeMap::new(),
            left_out: Vec::new(),
            bytes: 0,
            budget,
            paused: false,
        }
    }

    fn take(&mut self, look: Look, seen: impl FnOnce() -> Aligned) {
        if self.paused || self.seen.contains_key(&look) {
            return;
        }
        let seen = seen();
        let bytes = seen.part.values.len() * size_of::<f32>();
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

/// What was looked at, and when: looking changes nothing else, so it is noted behind a `RefCell`.
#[derive(Debug, Default)]
pub(super) struct Captured {
    /// How often what our engine computes was changed, and how often the dumps were read again.
    pub(super) variant: usize,
    pub(super) reads: usize,
    /// Nothing is kept until somebody records.
    pub(super) looks: RefCell<Option<Looks>>,
}

impl Captured {
    /// An activation was looked at.
    pub(super) fn look(&self, forward: usize, site: Site, witness: Witness, seen: impl FnOnce() -> Aligned) {
        if let Some(looks) = self.looks.borrow_mut().as_mut() {
            let variant = if witness == Witness::Engine { self.variant } else { self.reads };
            looks.take(Look { variant, forward, site, witness }, seen);
        }
    }

    /// Our own activation was looked at: all `tokens` rows of it.
    pub(super) fn look_at_ours(&self, forward: usize, site: Site, tokens: usize, values: &Value) {
        let part = || RowSubset { values: values.clone(), rows: (0..tokens).collect(), first_key: 0 };
        self.look(forward, site, Witness::Engine, || Aligned { part: part(), notes: Vec::new() });
    }

    /// The text of a token was asked for.
    pub(super) fn spell(&self, id: u32, text: &str) {
        if let Some(looks) = self.looks.borrow_mut().as_mut().filter(|looks| !looks.paused) {
            looks.texts.entry(id).or_insert_with(|| text.to_string());
        }
    }

    /// A page of the lens was looked at, where so many ops of a forward are computed.
    pub(super) fn look_at_lens(&self, (forward, counter): (usize, usize), request: &LensRequest, page: &LensPage) {
        let mut looks = self.looks.borrow_mut();
        let Some(looks) = looks.as_mut().filter(|looks| looks.lens.len() < LENS_PAGES) else { return };
        let variant = self.variant;
        let at = |seen: &LensSeen| (seen.variant, seen.forward, seen.counter) == (variant, forward, counter);
        if !looks.lens.iter().any(|seen| at(seen) && seen.request == *request) {
            looks.lens.push(LensSeen { variant, forward, counter, request: request.clone(), page: page.clone() });
        }
    }

    /// Does something that nobody looks at.
    pub(super) fn unseen<T>(&self, work: impl FnOnce() -> T) -> T {
        let pause = |paused| {
            if let Some(looks) = self.looks.borrow_mut().as_mut() {
                looks.paused = paused;
            }
        };
        pause(true);
        let done = work();
        pause(false);
        done
    }
}
