//! The run follows the list of patches: what another list has made is computed again, and no more.

use std::collections::{BTreeSet, HashMap};
use std::mem::replace;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Entry, List, Patches};
use crate::debugger::state::Debugger;
use crate::debugger::view::Listing;
use crate::engine::{Feed, Patch, Site};

impl Debugger {
    /// Makes the run what the list says: what another list has made is computed again, and no more.
    pub(in crate::debugger) fn follow_patches(
        &mut self,
        interrupt: &AtomicBool,
        progress: &mut dyn FnMut(Listing),
    ) -> Result<Option<usize>, String> {
        let (new, ops) = (self.patches.of_the_run(), self.ops_done());
        let Some((forward, row)) = self.first_change(&new) else {
            self.run.patch(new);
            return Ok(Some(0));
        };
        let before = (self.run.clone(), self.trace.clone());
        self.run.patch(new);
        let outcome = if self.go_before(forward, row, interrupt) {
            self.trace.truncate(forward, row);
            self.compute_again(ops - self.ops_done(), interrupt, progress)
        } else {
            Ok(false)
        };
        if outcome == Ok(true) {
            let done = forward * self.run.graph().len() + row;
            return Ok(Some(ops - done));
        }
        (self.run, self.trace) = before;
        outcome.map(|_| None)
    }

    /// Goes back to where `row` ops of a forward are computed; false when interrupted.
    fn go_before(&mut self, forward: usize, row: usize, interrupt: &AtomicBool) -> bool {
        if forward == self.run.forward() {
            self.run.rewind(row);
            return true;
        }
        self.run.rewind_to_forward(forward);
        while self.run.counter() < row {
            if interrupt.load(Ordering::Relaxed) {
                return false;
            }
            self.run.step();
        }
        true
    }

    /// The first op, of those that are computed, to which `new` patches do something else than those it was computed
    /// with: its forward and row.
    fn first_change(&self, new: &[Patch]) -> Option<(usize, usize)> {
        let old = self.run.patches();
        let sites: BTreeSet<Site> = old.iter().chain(new).map(|patch| patch.site).collect();
        let other = |site: Site, feed: Feed| {
            let here = |patch: &&Patch| patch.site == site && self.touches(patch, feed);
            !old.iter().filter(here).eq(new.iter().filter(here))
        };
        let rows = sites.into_iter().filter_map(|site| {
            let feed = self.computed(site).find(|feed| other(site, *feed))?;
            Some((feed.forward, site.index()))
        });
        rows.min()
    }

    /// The forwards in which an op is computed.
    pub(super) fn computed(&self, site: Site) -> impl Iterator<Item = Feed> {
        let here = usize::from(site.index() < self.run.counter());
        self.feeds().take(self.run.forward() + here)
    }

    /// Every forward of the session.
    pub(super) fn feeds(&self) -> impl Iterator<Item = Feed> + use<'_> {
        self.session.steps.iter().enumerate().scan(0, |next, (forward, tokens)| {
            let first = replace(next, *next + tokens);
            Some(Feed { forward, first, tokens: *tokens })
        })
    }

    pub(super) fn touches(&self, patch: &Patch, feed: Feed) -> bool {
        !patch.picked(self.run.graph(), feed).is_empty()
    }

    /// The patches of `old`, for this debugger's session: values are read again.
    ///
    /// # Errors
    /// One sentence: a patch does not fit this session.
    pub(in crate::debugger) fn take_patches(&mut self, old: &Patches) -> Result<(), String> {
        let mut known = HashMap::new();
        let list = self.resolved_again(&old.list, &mut known)?;
        // What cannot be had back any more is forgotten.
        let mut history = |lists: &[List]| {
            let lists = lists.iter().map(|list| self.resolved_again(list, &mut known));
            lists.collect::<Result<Vec<List>, String>>().unwrap_or_default()
        };
        let (undo, redo) = (history(&old.undo), history(&old.redo));
        self.patches = Patches { list, undo, redo, numbered: old.numbered };
        self.run.patch(self.patches.of_the_run());
        Ok(())
    }

    /// A list whose values are read again, each patch once.
    fn resolved_again(&self, list: &List, known: &mut HashMap<usize, Arc<Entry>>) -> Result<List, String> {
        let again = |entry: &Arc<Entry>| {
            let Entry { number, request, .. } = &**entry;
            if let Some(entry) = known.get(number) {
                return Ok(Arc::clone(entry));
            }
            let (patches, _) = self.resolve(request).map_err(|error| {
                format!("patch {number}, {request}, does not fit any more, unpatch {number}: {error}")
            })?;
            let entry = Arc::new(Entry { number: *number, request: request.clone(), patches });
            known.insert(*number, Arc::clone(&entry));
            Ok(entry)
        };
        list.iter().map(again).collect()
    }
}
