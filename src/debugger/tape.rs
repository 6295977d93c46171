//! What was recorded of a session: it stands in for the engine and the dumps where they are not there.

use std::collections::HashMap;
use std::sync::Arc;

use super::captured::{LensSeen, Look};
use super::view::{Header, LensPage, LensRequest, Witness};
use crate::diagnose::ActivationRow;
use crate::dump::Aligned;
use crate::engine::{Site, Value};

/// What was recorded of a session.
#[derive(Debug, Default)]
pub struct Tape {
    /// The tensors that were looked at.
    pub seen: HashMap<Look, Aligned>,
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
    /// As [`super::Debugger::variant`].
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

/// A tape, and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Recorded {
    pub(super) tape: Arc<Tape>,
    pub(super) now: Moment,
}

impl Recorded {
    pub(super) fn has(&self, witness: Witness) -> bool {
        self.now.header.witnesses.contains(&witness)
    }

    /// What our own engine gave, if anybody looked at it.
    pub(super) fn ours(&self, forward: usize, site: Site) -> Option<&Value> {
        let look = Look { variant: self.now.variant, forward, site, witness: Witness::Engine };
        self.tape.seen.get(&look).map(|seen| &seen.part.values)
    }

    /// What a dump had.
    pub(super) fn dumped(&self, forward: usize, site: Site, witness: Witness, short: &str) -> Result<Aligned, String> {
        let seen = self.tape.seen.get(&Look { variant: self.now.reads, forward, site, witness }).cloned();
        seen.ok_or_else(|| format!("{short} of the {} was not recorded: nobody looked at it", witness.name()))
    }

    /// The page of the lens that was recorded at a place, or else the last one before.
    pub(super) fn lens(&self, request: &LensRequest, at: (usize, usize)) -> Result<LensPage, String> {
        let fits = |seen: &&LensSeen| {
            let same = (seen.request.token, seen.request.shown) == (request.token, request.shown);
            same && (seen.variant, seen.forward) == (self.now.variant, at.0) && seen.counter <= at.1
        };
        let best = self.tape.lens.iter().filter(fits).max_by_key(|seen| (seen.request == *request, seen.counter));
        let page = best.map(|seen| seen.page.clone());
        page.ok_or_else(|| "the lens was not recorded here: it needs the weights of the head".into())
    }
}
