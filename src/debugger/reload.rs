//! Reading the dumps again: the engine was edited and has dumped again. The debugger stays where it stands.

use std::fmt;
use std::mem::swap;
use std::sync::atomic::{AtomicBool, Ordering};

use super::moving::Halts;
use super::state::{Debugger, OPS_PER_REPORT, Session};
use super::view::{Listing, Stop, Witness};
use crate::diagnose::{ActivationRow, Status};
use crate::engine::Site;

/// Opens a session's dumps again.
pub trait Opener: fmt::Debug + Send {
    /// The witnesses whose files are no longer what was opened.
    fn changed(&self) -> Vec<Witness>;

    /// The session as the files are now, with an opener of its own.
    ///
    /// # Errors
    /// One sentence for the user: a file is gone or half-written, or no longer fits the model or the others.
    fn open(&self) -> Result<Session, String>;
}

/// Names in a sentence; the others are counted.
const NAMED: usize = 2;

impl Debugger {
    /// Reads the dumps again and compares up to where it stands; when that fails, everything stays as it was.
    pub(super) fn reload(&mut self, interrupt: &AtomicBool, progress: &mut dyn FnMut(Listing)) -> Result<Stop, String> {
        let Some(opener) = &self.session.opener else {
            let why = if self.has_dumps() { "the dumps lie inside the program" } else { "there is no dump" };
            return Err(format!("nothing can be read again: {why}"));
        };
        let changed = opener.changed();
        if changed.is_empty() {
            return Ok(Stop::Reloaded { sentence: "reloaded: nothing has changed".into(), changed: false });
        }
        let stays = |error: String| format!("not reloaded, the old comparison stays: {error}");
        let mut new = Self::new(opener.open().map_err(stays)?);
        new.stops.clone_from(&self.stops);
        new.trace.limit(self.trace.budget());
        new.adopt_generated(&self.session, self.given);
        new.take_patches(&self.patches).map_err(stays)?;
        if let Some(switched) = &self.switched {
            new.switch_on(switched.clone());
        }
        let same_tokens = new.session.ids == self.session.ids && new.session.steps == self.session.steps;
        // Our own values do not depend on any dump, but for patches.
        let exchange = |a: &mut Self, b: &mut Self| {
            swap(&mut a.run, &mut b.run);
            swap(&mut a.trace, &mut b.trace);
        };
        let ops = self.ops_done();
        let outcome = if same_tokens {
            exchange(&mut new, self);
            let compared = new.compare_again(interrupt, progress);
            // Patches that took values from a dump may have others now.
            compared.and_then(|done| Ok(done && new.follow_patches(interrupt, progress)?.is_some()))
        } else {
            new.compute_again(ops, interrupt, progress)
        };
        if let Ok(true) = outcome {
            let said = if same_tokens { difference(self, &new, ops) } else { tokens(self, &new) };
            let roles: Vec<&str> = changed.into_iter().map(Witness::name).collect();
            (new.variant, new.reads, new.at_start) = (self.variant, self.reads, self.at_start.take());
            new.looked.swap(&self.looked);
            *self = new;
            return Ok(Stop::Reloaded { sentence: format!("reloaded {}: {said}", roles.join(" and ")), changed: true });
        }
        if same_tokens {
            exchange(&mut new, self);
        }
        Err(stays(outcome.err().unwrap_or_else(|| "it was interrupted".into())))
    }

    /// Takes over what an earlier session has generated after the same tokens.
    fn adopt_generated(&mut self, before: &Session, given: usize) {
        let session = &mut self.session;
        let same = session.steps[..] == before.steps[..given] && before.ids.starts_with(&session.ids);
        if same {
            session.ids.clone_from(&before.ids);
            session.steps.clone_from(&before.steps);
        }
    }

    /// Compares up to where the run stands; false when interrupted.
    fn compare_again(&mut self, interrupt: &AtomicBool, progress: &mut dyn FnMut(Listing)) -> Result<bool, String> {
        let wanted = self.ops_done();
        for done in (0..wanted).step_by(OPS_PER_REPORT) {
            if interrupt.load(Ordering::Relaxed) {
                return Ok(false);
            }
            self.walk_to(wanted.min(done + OPS_PER_REPORT)).map_err(|error| self.unreadable(&error))?;
            progress(self.listing());
        }
        Ok(true)
    }

    /// Computes so many ops, or as many as there are; false when interrupted.
    pub(super) fn compute_again(
        &mut self,
        ops: usize,
        interrupt: &AtomicBool,
        progress: &mut dyn FnMut(Listing),
    ) -> Result<bool, String> {
        let mut left = ops;
        let arrived = |_, _| {
            left -= 1;
            left == 0
        };
        Ok(ops == 0 || self.run_on(interrupt, progress, Halts::None, arrived)? != Stop::Interrupted)
    }

    /// `2.q_rope`, `2.q_rope@1` in a decode step.
    pub(super) fn called(&self, row: usize) -> String {
        let graph = self.run.graph();
        let name = graph.short(Site::at(row % graph.len()));
        if row < graph.len() { name.to_string() } else { format!("{name}@{}", row / graph.len()) }
    }
}

/// What is to be said where other tokens were fed.
fn tokens(old: &Debugger, new: &Debugger) -> String {
    let count = |session: &Session| (session.ids.len(), session.steps.len());
    let ((before, _), (after, forwards)) = (count(&old.session), count(&new.session));
    if before == after {
        format!("other tokens were fed in {forwards} forwards; all was computed again")
    } else {
        format!("{after} tokens were fed, before it were {before}; all was computed again")
    }
}

/// What has changed in the first `ops` rows.
fn difference(old: &Debugger, new: &Debugger, ops: usize) -> String {
    let count = ops.min(old.rows().len()).min(new.rows().len());
    let (before, after) = (&old.rows()[..count], &new.rows()[..count]);
    if count == 0 {
        return "nothing is compared before the first op".into();
    }
    let rows_where = |changed: &dyn Fn(Status, Status) -> bool| -> Vec<usize> {
        (0..count).filter(|row| changed(before[*row].status, after[*row].status)).collect()
    };
    let bad = |status| status == Status::Bad;
    let listed = |rows: &[usize]| enumerated(&rows.iter().map(|row| new.called(*row)).collect::<Vec<_>>());
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
        (Some(a), Some(b)) if a == b => format!("first divergence is still {}", new.called(a)),
        (Some(a), Some(b)) => format!("first divergence moves from {} to {}", new.called(a), new.called(b)),
        (Some(_), None) => "no divergence up to here".into(),
        (None, Some(b)) => format!("first divergence is {}", new.called(b)),
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
