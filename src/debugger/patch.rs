//! Patches of our own run: a list that can be changed, undone and redone. The run always is what the list makes of it.

mod effect;
mod follow;
mod list;
mod parse;
mod request;
mod resolve;

use std::mem::replace;
use std::sync::Arc;

pub(super) use effect::{effect, info};
pub(super) use follow::{follow_patches, take_patches};
pub(super) use list::{Patches, last_logits};
pub use request::{Amount, Change, Half, PatchRequest, Place, Source, Unit, Unpatch};

use effect::effect_line;
use list::{Entry, List, activations};
use resolve::resolve;

use super::command::Command;
use super::state::{Caller, Debugger};
use super::view::Stop;
use crate::engine::Patch;

/// Makes a change of the patches: what is computed already is computed again with them, up to where the debugger stands.
/// When it fails or is interrupted, nothing has changed.
pub(super) fn change(debugger: &mut Debugger, command: &Command, caller: &mut Caller) -> Result<Stop, String> {
    let patches = &debugger.patches;
    let before = patches.list.clone();
    let mut list = before.clone();
    let (mut numbered, mut notes, mut said) = (patches.numbered, Vec::new(), String::new());
    match command {
        Command::Patch(request) => {
            numbered += 1;
            let (patches, read) = resolve(debugger, request)?;
            let count = counted(activations(&patches), "activation");
            said = format!("patch {numbered}: {request} ({count})");
            notes = read;
            list.push(Arc::new(Entry { number: numbered, request: request.clone(), patches }));
        }
        Command::Unpatch(which) => {
            let gone = meant(debugger, which)?;
            list.retain(|entry| !gone.contains(&entry.number));
            let numbers: Vec<String> = gone.iter().map(ToString::to_string).collect();
            let word = if gone.len() == 1 { "patch" } else { "patches" };
            said = format!("{word} {} taken away", numbers.join(", "));
        }
        Command::Undo => list.clone_from(patches.undo.last().ok_or("no change of patches to take back")?),
        _ => list.clone_from(patches.redo.last().ok_or("no change of patches to make again")?),
    }
    let Some(ops) = follow(debugger, list, caller)? else { return Ok(Stop::Interrupted) };
    let patches = &mut debugger.patches;
    patches.numbered = numbered;
    match command {
        Command::Undo => {
            said = format!("taken back: {}", difference(&patches.list, &before));
            patches.undo.pop();
            patches.redo.push(before);
        }
        Command::Redo => {
            said = format!("made again: {}", difference(&before, &patches.list));
            patches.redo.pop();
            patches.undo.push(before);
        }
        _ => {
            patches.undo.push(before);
            patches.redo.clear();
        }
    }
    let again = if ops == 0 { String::new() } else { format!("; {} computed again", counted(ops, "op")) };
    let mut lines = vec![said + &again];
    lines.extend(notes.into_iter().map(|note| format!("note: {note}")));
    lines.extend(effect_line(debugger, caller.interrupt)?);
    Ok(Stop::Patched(lines))
}

/// The list becomes `list`, and the run follows; ops computed again. When interrupted or failed, all is as it was.
fn follow(debugger: &mut Debugger, list: List, caller: &mut Caller) -> Result<Option<usize>, String> {
    let before = replace(&mut debugger.patches.list, list);
    let outcome = follow_patches(debugger, caller);
    if !matches!(outcome, Ok(Some(_))) {
        debugger.patches.list = before;
    }
    outcome
}

/// The numbers of the patches that are meant: at least one.
fn meant(debugger: &Debugger, which: &Unpatch) -> Result<Vec<usize>, String> {
    let list = &debugger.patches.list;
    match which {
        _ if list.is_empty() => Err("there are no patches".into()),
        Unpatch::All => Ok(list.iter().map(|entry| entry.number).collect()),
        Unpatch::Number(number) if list.iter().any(|entry| entry.number == *number) => Ok(vec![*number]),
        Unpatch::Number(number) => {
            let known: Vec<String> = list.iter().map(|entry| entry.number.to_string()).collect();
            let are = if known.len() == 1 { "there is only" } else { "there are" };
            Err(format!("there is no patch {number}: {are} {}", known.join(", ")))
        }
        Unpatch::Activation(name) => {
            let sites = debugger.sites(name)?;
            let within = |patch: &Patch| sites.contains(&patch.site);
            let mut gone = Vec::new();
            for entry in list.iter().filter(|entry| entry.patches.iter().any(within)) {
                if let Some(other) = entry.patches.iter().find(|patch| !within(patch)) {
                    let (number, text, other) = (entry.number, &entry.request, debugger.graph().short(other.site));
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

fn counted(count: usize, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
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
