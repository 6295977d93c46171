//! Patches of our own run: a list that can be changed, undone and redone. The run always is what the list makes of it.

mod effect;
mod follow;
mod parse;
mod request;
mod resolve;

use std::collections::BTreeSet;
use std::mem::replace;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub(super) use effect::Unpatched;
pub use request::{Amount, Change, PatchRequest, Place, Source, Unpatch};

use super::state::Debugger;
use super::view::{Listing, PatchLine, PatchOutcome};
use crate::engine::{Patch, Site};

/// One patch of the list.
#[derive(Debug)]
struct Entry {
    number: usize,
    request: PatchRequest,
    /// What it does to the run, activation by activation.
    patches: Vec<Patch>,
}

type List = Vec<Arc<Entry>>;

/// The patches that are made, and those that were.
#[derive(Debug, Default)]
pub(super) struct Patches {
    list: List,
    undo: Vec<List>,
    redo: Vec<List>,
    /// Numbers given so far.
    numbered: usize,
}

impl Patches {
    /// In the order in which they are made.
    pub(super) fn of_the_run(&self) -> Vec<Patch> {
        self.list.iter().flat_map(|entry| entry.patches.iter().cloned()).collect()
    }
}

impl Debugger {
    /// Makes a patch: what is computed already is computed again with it, up to where the debugger stands.
    ///
    /// # Errors
    /// One sentence; nothing has changed then.
    pub fn apply_patch(
        &mut self,
        request: &PatchRequest,
        interrupt: &AtomicBool,
        progress: &mut dyn FnMut(Listing),
    ) -> Result<PatchOutcome, String> {
        let (patches, notes) = self.resolve(request)?;
        let number = self.patches.numbered + 1;
        let count = activations(&patches);
        let mut list = self.patches.list.clone();
        list.push(Arc::new(Entry { number, request: request.clone(), patches }));
        let Some(ops) = self.change_patches(list, interrupt, progress)? else { return Ok(PatchOutcome::Interrupted) };
        self.patches.numbered = number;
        let sentence = format!("patch {number}: {request} ({})", counted(count, "activation"));
        Ok(changed(sentence, ops, notes))
    }

    /// Takes patches away.
    ///
    /// # Errors
    /// One sentence; nothing has changed then.
    pub fn unpatch(
        &mut self,
        which: &Unpatch,
        interrupt: &AtomicBool,
        progress: &mut dyn FnMut(Listing),
    ) -> Result<PatchOutcome, String> {
        let gone = self.meant(which)?;
        let list = self.patches.list.iter().filter(|entry| !gone.contains(&entry.number)).cloned().collect();
        let Some(ops) = self.change_patches(list, interrupt, progress)? else { return Ok(PatchOutcome::Interrupted) };
        let numbers: Vec<String> = gone.iter().map(ToString::to_string).collect();
        let word = if gone.len() == 1 { "patch" } else { "patches" };
        Ok(changed(format!("{word} {} taken away", numbers.join(", ")), ops, Vec::new()))
    }

    /// Takes the last change of the list back.
    ///
    /// # Errors
    /// One sentence; nothing has changed then.
    pub fn undo_patch(
        &mut self,
        interrupt: &AtomicBool,
        progress: &mut dyn FnMut(Listing),
    ) -> Result<PatchOutcome, String> {
        let list = self.patches.undo.last().ok_or("no change of patches to take back")?.clone();
        let before = self.patches.list.clone();
        let Some(ops) = self.follow(list, interrupt, progress)? else { return Ok(PatchOutcome::Interrupted) };
        let sentence = format!("taken back: {}", difference(&self.patches.list, &before));
        self.patches.undo.pop();
        self.patches.redo.push(before);
        Ok(changed(sentence, ops, Vec::new()))
    }

    /// Makes the change again that was taken back last.
    ///
    /// # Errors
    /// One sentence; nothing has changed then.
    pub fn redo_patch(
        &mut self,
        interrupt: &AtomicBool,
        progress: &mut dyn FnMut(Listing),
    ) -> Result<PatchOutcome, String> {
        let list = self.patches.redo.last().ok_or("no change of patches to make again")?.clone();
        let before = self.patches.list.clone();
        let Some(ops) = self.follow(list, interrupt, progress)? else { return Ok(PatchOutcome::Interrupted) };
        let sentence = format!("made again: {}", difference(&before, &self.patches.list));
        self.patches.redo.pop();
        self.patches.undo.push(before);
        Ok(changed(sentence, ops, Vec::new()))
    }

    /// The list, in the order in which the patches are made.
    pub fn patches(&self) -> Vec<PatchLine> {
        let line = |entry: &Arc<Entry>| PatchLine {
            number: entry.number,
            text: entry.request.to_string(),
            activations: activations(&entry.patches),
            applies: entry.patches.iter().any(|patch| self.computed(patch.site).any(|feed| self.touches(patch, feed))),
        };
        self.patches.list.iter().map(line).collect()
    }

    /// Rows of the current forward's listing that patches change.
    pub fn patched_rows(&self) -> BTreeSet<usize> {
        if let Some(playing) = &self.playing {
            return playing.now.patched.iter().copied().collect();
        }
        let feed = self.run.feed();
        let patches = self.run.patches().iter().filter(|patch| self.touches(patch, feed));
        patches.map(|patch| patch.site.index()).collect()
    }

    /// The numbers of the patches that are meant: at least one.
    fn meant(&self, which: &Unpatch) -> Result<Vec<usize>, String> {
        let list = &self.patches.list;
        let all = || list.iter().map(|entry| entry.number).collect();
        match which {
            _ if list.is_empty() => Err("there are no patches".into()),
            Unpatch::All => Ok(all()),
            Unpatch::Number(number) if list.iter().any(|entry| entry.number == *number) => Ok(vec![*number]),
            Unpatch::Number(number) => {
                let known: Vec<String> = list.iter().map(|entry| entry.number.to_string()).collect();
                let are = if known.len() == 1 { "there is only" } else { "there are" };
                Err(format!("there is no patch {number}: {are} {}", known.join(", ")))
            }
            Unpatch::Activation(name) => {
                let sites = self.sites(name)?;
                let within = |patch: &Patch| sites.contains(&patch.site);
                let mut gone = Vec::new();
                for entry in list.iter().filter(|entry| entry.patches.iter().any(within)) {
                    if let Some(other) = entry.patches.iter().find(|patch| !within(patch)) {
                        let (number, text, other) = (entry.number, &entry.request, self.run.graph().short(other.site));
                        return Err(format!(
                            "patch {number}, {text}, also changes {other}: unpatch {number} takes all of it"
                        ));
                    }
                    gone.push(entry.number);
                }
                if gone.is_empty() { Err(format!("{name} is not patched")) } else { Ok(gone) }
            }
        }
    }

    /// The list becomes `list`, and the one before can be had back; `None` when interrupted.
    fn change_patches(
        &mut self,
        list: List,
        interrupt: &AtomicBool,
        progress: &mut dyn FnMut(Listing),
    ) -> Result<Option<usize>, String> {
        let before = self.patches.list.clone();
        let ops = self.follow(list, interrupt, progress)?;
        if ops.is_some() {
            self.patches.undo.push(before);
            self.patches.redo.clear();
        }
        Ok(ops)
    }

    /// The list becomes `list`, and the run follows; ops computed again. When interrupted or failed, all is as it was.
    fn follow(
        &mut self,
        list: List,
        interrupt: &AtomicBool,
        progress: &mut dyn FnMut(Listing),
    ) -> Result<Option<usize>, String> {
        let before = replace(&mut self.patches.list, list);
        let outcome = self.follow_patches(interrupt, progress);
        if !matches!(outcome, Ok(Some(_))) {
            self.patches.list = before;
        }
        outcome
    }
}

fn activations(patches: &[Patch]) -> usize {
    patches.iter().map(|patch| patch.site).collect::<BTreeSet<Site>>().len()
}

fn counted(count: usize, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

fn changed(sentence: String, ops: usize, notes: Vec<String>) -> PatchOutcome {
    let again = if ops == 0 { String::new() } else { format!("; {} computed again", counted(ops, "op")) };
    PatchOutcome::Changed { sentence: sentence + &again, ops, notes }
}

/// What makes `after` of `before`: patches added, or taken away.
fn difference(before: &List, after: &List) -> String {
    let missing = |from: &List, of: &List| {
        let known = |entry: &&Arc<Entry>| !from.iter().any(|other| other.number == entry.number);
        of.iter().filter(known).map(|entry| entry.request.to_string()).collect::<Vec<_>>().join("; ")
    };
    let (added, gone) = (missing(before, after), missing(after, before));
    if gone.is_empty() { added } else { format!("unpatch {gone}") }
}
