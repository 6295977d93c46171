//! Reading the dumps again: the engine was edited and has dumped again. The debugger stays where it stands.

use std::mem::swap;

use super::patch;
use super::state::{Caller, Debugger, OPS_PER_REPORT};
use super::view::{Stop, Witness};
use crate::diagnose::{ActivationRow, Status};

/// Names in a sentence; the others are counted.
const NAMED: usize = 2;

/// Reads the dumps again and compares up to where the debugger stands; when that fails, everything stays as it was.
pub(super) fn reload(debugger: &mut Debugger, caller: &mut Caller) -> Result<Stop, String> {
    let Some(opener) = &debugger.session.opener else {
        let why = if debugger.has_dumps() { "the dumps lie inside the program" } else { "there is no dump" };
        return Err(format!("nothing can be read again: {why}"));
    };
    let changed = opener.changed();
    if changed.is_empty() {
        return Ok(Stop::Reloaded { sentence: "reloaded: nothing has changed".into(), changed: false });
    }
    let stays = |error: String| format!("not reloaded, the old comparison stays: {error}");
    let mut new = Debugger::new(opener.open().map_err(stays)?);
    new.stops.clone_from(&debugger.stops);
    new.pass.trace.limit(debugger.pass.trace.budget());
    if new.session.fed == debugger.session.fed {
        // What was generated after the same tokens stays.
        new.pass.fed.clone_from(&debugger.pass.fed);
    }
    patch::take_patches(&mut new, &debugger.patches).map_err(stays)?;
    if let Some(switched) = &debugger.suspected.on {
        new.switch_on(switched.clone());
    }
    let (same_tokens, ops) = (new.pass.fed == debugger.pass.fed, debugger.pass.ops());
    let outcome = if same_tokens {
        // Our own values do not depend on any dump, but for patches.
        swap(&mut new.pass, &mut debugger.pass);
        let compared = compare_again(&mut new, caller);
        // Patches that took values from a dump may have others now.
        compared.and_then(|done| Ok(done && patch::follow_patches(&mut new, caller)?.is_some()))
    } else {
        new.compute_again(ops, caller)
    };
    if let Ok(true) = outcome {
        let said = if same_tokens { difference(debugger, &new, ops) } else { tokens(debugger, &new) };
        let roles: Vec<&str> = changed.into_iter().map(Witness::name).collect();
        new.suspected.at_start = debugger.suspected.at_start.take();
        swap(&mut new.captured, &mut debugger.captured);
        *debugger = new;
        return Ok(Stop::Reloaded { sentence: format!("reloaded {}: {said}", roles.join(" and ")), changed: true });
    }
    if same_tokens {
        swap(&mut new.pass, &mut debugger.pass);
    }
    Err(stays(outcome.err().unwrap_or_else(|| "it was interrupted".into())))
}

/// Compares up to where the run stands; false when interrupted.
fn compare_again(debugger: &mut Debugger, caller: &mut Caller) -> Result<bool, String> {
    let wanted = debugger.pass.ops();
    for done in (0..wanted).step_by(OPS_PER_REPORT) {
        if caller.interrupts() {
            return Ok(false);
        }
        debugger.comparison.follow(&debugger.session, wanted.min(done + OPS_PER_REPORT))?;
        (caller.progress)(debugger.listing());
    }
    Ok(true)
}

/// What is to be said where other tokens were fed.
fn tokens(old: &Debugger, new: &Debugger) -> String {
    let (before, after) = (old.pass.fed.ids().len(), new.pass.fed.ids().len());
    let forwards = new.pass.fed.forwards();
    if before == after {
        format!("other tokens were fed in {forwards} forwards; all was computed again")
    } else {
        format!("{after} tokens were fed, before it were {before}; all was computed again")
    }
}

/// What has changed in the first `ops` rows.
fn difference(old: &Debugger, new: &Debugger, ops: usize) -> String {
    let count = ops.min(old.compared().len()).min(new.compared().len());
    let (before, after) = (&old.compared()[..count], &new.compared()[..count]);
    if count == 0 {
        return "nothing is compared before the first op".into();
    }
    let rows_where = |changed: &dyn Fn(Status, Status) -> bool| -> Vec<usize> {
        (0..count).filter(|row| changed(before[*row].status, after[*row].status)).collect()
    };
    let bad = |status| status == Status::Bad;
    let listed = |rows: &[usize]| enumerated(&rows.iter().map(|row| new.pass.called(*row)).collect::<Vec<_>>());
    let mut said = Vec::new();
    let mut say = |rows: Vec<usize>, one: &str, many: &str| {
        if !rows.is_empty() {
            said.push(format!("{} {}", listed(&rows), if rows.len() == 1 { one } else { many }));
        }
    };
    let agrees = |status| !matches!(status, Status::Bad | Status::Propagated | Status::Missing);
    say(rows_where(&|a, b| bad(a) && agrees(b)), "was bad, agrees now", "were bad, agree now");
    say(rows_where(&|a, b| bad(a) && b == Status::Propagated), "was bad, follows now", "were bad, follow now");
    say(rows_where(&|a, b| bad(b) && a == Status::Propagated), "followed, is bad now", "followed, are bad now");
    say(rows_where(&|a, b| bad(b) && agrees(a)), "agreed, is bad now", "agreed, are bad now");
    say(rows_where(&|a, b| b == Status::Missing && a != b), "is not there any more", "are not there any more");
    say(rows_where(&|a, b| a == Status::Missing && a != b), "is there now", "are there now");
    let first = |rows: &[ActivationRow]| rows.iter().position(|row| bad(row.status));
    let moved = match (first(before), first(after)) {
        (Some(a), Some(b)) if a == b => format!("first divergence is still {}", new.pass.called(a)),
        (Some(a), Some(b)) => format!("first divergence moves from {} to {}", new.pass.called(a), new.pass.called(b)),
        (Some(_), None) => "no divergence up to here".into(),
        (None, Some(b)) => format!("first divergence is {}", new.pass.called(b)),
        (None, None) => "no divergence up to here, as before".into(),
    };
    if said.is_empty() {
        let same = before.iter().zip(after).all(|(a, b)| a.error.to_bits() == b.error.to_bits() && a.local == b.local);
        said.push(if same { "the same up to here" } else { "only the sizes of errors have changed" }.into());
    }
    said.push(moved);
    said.join("; ")
}

/// `a`, `a and b`, `a, b and 3 more`.
fn enumerated(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [one, other] => format!("{one} and {other}"),
        many => format!("{} and {} more", many[..NAMED].join(", "), many.len() - NAMED),
    }
}
