//! The run follows the list of patches: what another list has made is computed again, and no more.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::list::{Entry, List, Patches};
use super::resolve::resolve;
use crate::debugger::pass::Pass;
use crate::debugger::state::{Caller, Debugger};
use crate::engine::{Feed, Patch, Site};

/// Makes the run what the list says: what another list has made is computed again, and no more. Ops that were; `None` when
/// interrupted.
pub(in crate::debugger) fn follow_patches(
    debugger: &mut Debugger,
    caller: &mut Caller,
) -> Result<Option<usize>, String> {
    let new = debugger.patches.of_the_run();
    let Some((forward, row)) = first_change(&debugger.pass, &new) else {
        debugger.pass.run.patch(new);
        return Ok(Some(0));
    };
    let (before, pass) = (debugger.pass.clone(), &mut debugger.pass);
    pass.run.patch(new);
    let outcome = if go_before(pass, forward, row, caller) {
        pass.trace.truncate(forward, row);
        debugger.compute_again(before.ops() - debugger.pass.ops(), caller)
    } else {
        Ok(false)
    };
    if outcome == Ok(true) {
        let done = forward * debugger.graph().len() + row;
        return Ok(Some(before.ops() - done));
    }
    debugger.pass = before;
    outcome.map(|_| None)
}

/// Goes back to where `row` ops of a forward are computed; false when interrupted.
fn go_before(pass: &mut Pass, forward: usize, row: usize, caller: &Caller) -> bool {
    if forward == pass.run.forward() {
        pass.run.rewind(row);
        return true;
    }
    pass.run.rewind_to_forward(forward);
    while pass.run.counter() < row {
        if caller.interrupts() {
            return false;
        }
        pass.run.step();
    }
    true
}

/// The first op, of those that are computed, to which `new` patches do something else than those it was computed with: its
/// forward and row.
fn first_change(pass: &Pass, new: &[Patch]) -> Option<(usize, usize)> {
    let old = pass.run.patches();
    let sites: BTreeSet<Site> = old.iter().chain(new).map(|patch| patch.site).collect();
    let other = |site: Site, feed: Feed| {
        let here = |patch: &&Patch| patch.site == site && pass.touches(patch, feed);
        !old.iter().filter(here).eq(new.iter().filter(here))
    };
    let rows = sites.into_iter().filter_map(|site| {
        let feed = pass.computed(site).find(|feed| other(site, *feed))?;
        Some((feed.forward, site.index()))
    });
    rows.min()
}

/// The patches of `old`, for this debugger's session: values are read again.
///
/// # Errors
/// One sentence: a patch does not fit this session.
pub(in crate::debugger) fn take_patches(debugger: &mut Debugger, old: &Patches) -> Result<(), String> {
    let mut known = HashMap::new();
    let list = resolved_again(debugger, &old.list, &mut known)?;
    // What cannot be had back any more is forgotten.
    let mut history = |lists: &[List]| {
        let lists = lists.iter().map(|list| resolved_again(debugger, list, &mut known));
        lists.collect::<Result<Vec<List>, String>>().unwrap_or_default()
    };
    let (undo, redo) = (history(&old.undo), history(&old.redo));
    debugger.patches = Patches { list, undo, redo, numbered: old.numbered, unpatched: None };
    debugger.pass.run.patch(debugger.patches.of_the_run());
    Ok(())
}

/// A list whose values are read again, each patch once.
fn resolved_again(debugger: &Debugger, list: &List, known: &mut HashMap<usize, Arc<Entry>>) -> Result<List, String> {
    let again = |entry: &Arc<Entry>| {
        let Entry { number, request, .. } = &**entry;
        if let Some(entry) = known.get(number) {
            return Ok(Arc::clone(entry));
        }
        let (patches, _) = resolve(debugger, request)
            .map_err(|error| format!("patch {number}, {request}, does not fit any more, unpatch {number}: {error}"))?;
        let entry = Arc::new(Entry { number: *number, request: request.clone(), patches });
        known.insert(*number, Arc::clone(&entry));
        Ok(entry)
    };
    list.iter().map(again).collect()
}
