//! Where the debugger stops: breakpoints on ops, and watches over all of them.

use std::collections::BTreeSet;

use super::expression::Condition;
use super::state::Debugger;
use super::view::{Breakpoint, Stop};
use crate::engine::Site;

/// One breakpoint or watch.
#[derive(Clone, Debug)]
pub(super) struct StopPoint {
    /// Its number, never used again.
    number: usize,
    /// As typed; empty for a watch.
    pattern: String,
    /// The ops it is on; all of them for a watch.
    sites: Option<BTreeSet<Site>>,
    /// Stops only where this holds.
    condition: Option<Condition>,
    /// Goes away when it is hit.
    once: bool,
    /// How often it was hit.
    hits: usize,
}

impl StopPoint {
    fn covers(&self, site: Site) -> bool {
        self.sites.as_ref().is_none_or(|sites| sites.contains(&site))
    }

    /// `break *.probs if nan`
    fn describe(&self) -> String {
        let verb = match (&self.sites, self.once) {
            (None, _) => "watch",
            (_, true) => "tbreak",
            (_, false) => "break",
        };
        let condition = match (&self.condition, &self.sites) {
            (Some(condition), None) => condition.to_string(),
            (Some(condition), Some(_)) => format!("{} if {condition}", self.pattern),
            (None, _) => self.pattern.clone(),
        };
        format!("{verb} {condition}")
    }
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(super) struct StopPoints {
    points: Vec<StopPoint>,
    used: usize,
}

impl StopPoints {
    fn add(&mut self, pattern: &str, sites: Option<BTreeSet<Site>>, condition: Option<Condition>, once: bool) -> usize {
        self.used += 1;
        let (number, pattern) = (self.used, pattern.to_string());
        self.points.push(StopPoint { number, pattern, sites, condition, once, hits: 0 });
        number
    }

    /// Whether a breakpoint is on an op, whatever its condition.
    pub(super) fn is_on(&self, site: Site) -> bool {
        self.points.iter().any(|point| point.sites.as_ref().is_some_and(|sites| sites.contains(&site)))
    }

    /// What there is, in the order of numbers.
    pub(super) fn list(&self) -> Vec<Breakpoint> {
        let view = |point: &StopPoint| Breakpoint {
            number: point.number,
            line: point.describe(),
            ops: point.sites.as_ref().map(BTreeSet::len),
            hits: point.hits,
        };
        self.points.iter().map(view).collect()
    }
}

impl Debugger {
    /// Stops at the ops that a name or pattern means.
    pub(super) fn set_breakpoint(
        &mut self,
        pattern: &str,
        condition: Option<&String>,
        once: bool,
    ) -> Result<Stop, String> {
        let sites: BTreeSet<Site> = self.sites(pattern)?.into_iter().collect();
        let count = sites.len();
        let condition = condition.map(|text| self.condition(text).map_err(|error| error.to_string())).transpose()?;
        let number = self.stops.add(pattern.trim(), Some(sites), condition, once);
        let ops = if count == 1 { String::new() } else { format!(" ({count} ops)") };
        Ok(Stop::said(format!(
            "breakpoint {number}: {}{ops}",
            self.stops.points[self.stops.points.len() - 1].describe()
        )))
    }

    /// Stops wherever a condition holds.
    pub(super) fn set_watch(&mut self, condition: &str) -> Result<Stop, String> {
        let condition = self.condition(condition).map_err(|error| error.to_string())?;
        let number = self.stops.add("", None, Some(condition), false);
        Ok(Stop::said(format!("watch {number}: {}", self.stops.points[self.stops.points.len() - 1].describe())))
    }

    /// Sets breakpoints on the ops that a name or pattern means, or clears them where all of them have one.
    pub(super) fn toggle_breakpoints(&mut self, pattern: &str) -> Result<Stop, String> {
        let sites = self.sites(pattern)?;
        if sites.iter().all(|site| self.stops.is_on(*site)) {
            for point in &mut self.stops.points {
                if let Some(on) = &mut point.sites {
                    on.retain(|site| !sites.contains(site));
                }
            }
            self.stops.points.retain(|point| point.sites.as_ref().is_none_or(|sites| !sites.is_empty()));
            return Ok(Stop::Done);
        }
        let free: BTreeSet<Site> = sites.into_iter().filter(|site| !self.stops.is_on(*site)).collect();
        self.stops.add(pattern.trim(), Some(free), None, false);
        Ok(Stop::Done)
    }

    /// Clears a breakpoint or watch; all of them without a number.
    pub(super) fn delete(&mut self, number: Option<usize>) -> Result<Stop, String> {
        let all = std::mem::take(&mut self.stops.points);
        let (gone, left): (Vec<StopPoint>, Vec<StopPoint>) =
            all.into_iter().partition(|point| number.is_none_or(|number| point.number == number));
        self.stops.points = left;
        match (number, &gone[..]) {
            (Some(number), []) => Err(format!("there is no breakpoint or watch {number}: info breakpoints lists them")),
            (None, []) => Err("there are no breakpoints and no watches".into()),
            (_, [one]) => Ok(Stop::said(format!("deleted {}: {}", one.number, one.describe()))),
            (_, several) => {
                let numbers: Vec<String> = several.iter().map(|point| point.number.to_string()).collect();
                Ok(Stop::said(format!("deleted {}", numbers.join(", "))))
            }
        }
    }

    /// The breakpoint or watch that stops at an op of some forward, which has been computed, if one does.
    ///
    /// # Errors
    /// A condition that cannot be evaluated there.
    pub(super) fn stop_at(&self, forward: usize, row: usize) -> Result<Option<usize>, String> {
        let site = Site::at(row);
        for (index, point) in self.stops.points.iter().enumerate().filter(|(_, point)| point.covers(site)) {
            let holds = match &point.condition {
                Some(condition) => self.unseen(|| condition.holds(&self.scope_in(forward, row)))?,
                None => true,
            };
            if holds {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// Notes that the breakpoint of a number was hit, if there is one.
    pub(super) fn hit_number(&mut self, number: usize) {
        if let Some(index) = self.stops.points.iter().position(|point| point.number == number) {
            self.hit(index);
        }
    }

    /// Notes that a breakpoint was hit, and says which.
    pub(super) fn hit(&mut self, index: usize) -> Stop {
        let point = &mut self.stops.points[index];
        point.hits += 1;
        let (number, line) = (point.number, point.describe());
        if point.once {
            self.stops.points.remove(index);
        }
        Stop::Breakpoint { number, line }
    }
}
