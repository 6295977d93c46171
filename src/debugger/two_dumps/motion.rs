//! Going through two dumps, forwards and backwards.

use std::ops::Range;

use super::TwoDumps;
use crate::debugger::command::{Motion, nearest};
use crate::debugger::view::Stop;
use crate::diagnose::Status;
use crate::dump::Subject;

impl TwoDumps {
    /// Goes to where so many rows lie behind.
    pub(super) fn go(&mut self, done: usize) -> Stop {
        self.done = done.min(self.rows.len());
        if done > self.rows.len() { Stop::End } else { Stop::Done }
    }

    /// To the next tensor that is wrong, so many times.
    pub(super) fn go_on(&mut self, count: usize) -> Stop {
        let bad = (self.done..self.rows.len()).filter(|row| self.rows[*row].2.status == Status::Bad);
        match bad.take(count).last() {
            Some(row) => {
                self.done = row + 1;
                Stop::Divergence
            }
            None if count == 0 => Stop::Done,
            None => self.go(self.rows.len() + 1),
        }
    }

    pub(super) fn back(&mut self, motion: Motion, count: usize) -> Stop {
        let behind = self.done.saturating_sub(1);
        let found = match motion {
            Motion::Step => self.done.checked_sub(count),
            Motion::Next => (0..count).try_fold(self.done, |at, _| self.layer_back(at)),
            Motion::Forward => self.forward().checked_sub(count).map(|forward| {
                let (here, there) = (self.rows_of(self.forward()), self.rows_of(forward));
                (there.start + self.done - here.start).min(there.end)
            }),
            Motion::Continue => {
                let bad = (0..behind).rev().filter(|row| self.rows[*row].2.status == Status::Bad);
                bad.take(count).last().map(|row| row + 1)
            }
        };
        self.done = found.unwrap_or(0);
        match found {
            None => Stop::Start,
            Some(_) if motion == Motion::Continue => Stop::Divergence,
            Some(_) => Stop::Done,
        }
    }

    /// Where the same tensor of the next layer lies behind; past the last layer, the next one that no layer owns, then the
    /// end of the forward, then the next forward.
    pub(super) fn layer_on(&self, done: usize) -> usize {
        let Some(at) = done.checked_sub(1).filter(|at| *at < self.rows.len()) else { return done + 1 };
        let end = self.rows_of(self.rows[at].0).end;
        let layer = self.rows[at].2.layer.map_or(0, |layer| layer + 1);
        let unowned = || (done..end).find(|row| self.rows[*row].2.layer.is_none());
        let found = self.same_in(at, layer, done..end).or_else(unowned);
        found.map_or(end.max(done + usize::from(done == end)), |row| row + 1)
    }

    /// Where the same tensor of the layer before lies behind.
    fn layer_back(&self, done: usize) -> Option<usize> {
        let at = done.checked_sub(1)?;
        let before = self.rows_of(self.rows[at].0).start..at;
        let found = match self.rows[at].2.layer {
            Some(layer) => self.same_in(at, layer.checked_sub(1)?, before),
            // Behind the layers: the end of the last.
            None => before.rev().find(|row| self.rows[*row].2.layer.is_some()),
        };
        found.map(|row| row + 1)
    }

    /// The same tensor as that of a row in another layer, among some rows; the first of that layer where it has none.
    fn same_in(&self, at: usize, layer: usize, among: Range<usize>) -> Option<usize> {
        let label = self.line(at).label;
        let mut there = among.filter(|row| self.rows[*row].2.layer == Some(layer)).peekable();
        let first = there.peek().copied();
        there.find(|row| self.line(*row).label == label).or(first)
    }

    /// Where the last tensor of the layer lies behind, or of the forward; of the next layer, if one stands there.
    pub(super) fn block_on(&self, done: usize) -> usize {
        let of = |row: usize| self.rows.get(row).map(|(forward, _, row)| (*forward, row.layer));
        let ends = |row: usize| match (of(row), of(row + 1)) {
            (Some((_, Some(layer))), next) => next.is_none_or(|(_, next)| next != Some(layer)),
            (Some((forward, None)), next) => next.is_none_or(|(next, _)| next != forward),
            (None, _) => true,
        };
        (done..=self.rows.len()).find(|row| ends(*row)).map_or(done, |row| row + 1)
    }

    /// Rows that a name or pattern means, in all forwards: at least one.
    pub(super) fn matching(&self, pattern: &str) -> Result<Vec<usize>, String> {
        let pattern = pattern.trim();
        let sites = self.pair.graph().matching(pattern);
        let meant = |row: &usize| match &self.rows[*row].1 {
            Subject::Site(site) => sites.contains(site),
            Subject::Named { name, .. } => name == pattern,
        };
        let mut found: Vec<usize> = (0..self.rows.len()).filter(meant).collect();
        if found.is_empty() && !pattern.is_empty() {
            found = (0..self.rows.len()).filter(|row| self.line(*row).name.contains(pattern)).collect();
        }
        if !found.is_empty() {
            return Ok(found);
        }
        let names: Vec<String> = (0..self.rows.len()).map(|row| self.line(row).short).collect();
        let near = nearest(pattern, names.iter().map(String::as_str));
        let near = near.map_or(String::new(), |near| format!(": is it {near}?"));
        Err(format!("neither dump has {pattern:?}{near}"))
    }

    /// `3.q_rope`, or `3.q_rope@2` in decode step 2.
    pub(super) fn goto(&mut self, name: &str) -> Result<Stop, String> {
        let told = name.rsplit_once('@').and_then(|(name, step)| Some((name, step.trim().parse().ok()?)));
        let (name, forward) = told.unwrap_or((name, self.forward()));
        let found = self.matching(name)?.into_iter().find(|row| self.rows[*row].0 == forward);
        let row = found.ok_or_else(|| format!("neither dump has {name} in decode step {forward}"))?;
        Ok(self.go(row + 1))
    }
}
