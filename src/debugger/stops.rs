//! Where the debugger stops: breakpoints on ops, and watches over all of them.

use std::collections::BTreeSet;

use super::expression::Condition;
use super::view::Stop;
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
    fn add(
        &mut self,
        pattern: &str,
        sites: Option<BTreeSet<Site>>,
        condition: Option<Condition>,
        once: bool,
    ) -> &StopPoint {
        self.used += 1;
        let (number, pattern) = (self.used, pattern.trim().to_string());
        self.points.push(StopPoint { number, pattern, sites, condition, once, hits: 0 });
        &self.points[self.points.len() - 1]
    }

    /// Stops at the ops that a name or pattern means.
    pub(super) fn set_breakpoint(
        &mut self,
        pattern: &str,
        sites: Vec<Site>,
        condition: Option<Condition>,
        once: bool,
    ) -> Stop {
        let ops = if sites.len() == 1 { String::new() } else { format!(" ({} ops)", sites.len()) };
        let point = self.add(pattern, Some(sites.into_iter().collect()), condition, once);
        Stop::said(format!("breakpoint {}: {}{ops}", point.number, point.describe()))
    }

    /// Stops wherever a condition holds.
    pub(super) fn set_watch(&mut self, condition: Condition) -> Stop {
        let point = self.add("", None, Some(condition), false);
        Stop::said(format!("watch {}: {}", point.number, point.describe()))
    }

    /// Sets breakpoints on the ops that a name or pattern means, or clears them where all of them have one.
    pub(super) fn toggle(&mut self, pattern: &str, sites: Vec<Site>) -> Stop {
        if sites.iter().all(|site| self.is_on(*site)) {
            for on in self.points.iter_mut().filter_map(|point| point.sites.as_mut()) {
                on.retain(|site| !sites.contains(site));
            }
            self.points.retain(|point| point.sites.as_ref().is_none_or(|sites| !sites.is_empty()));
        } else {
            let free: BTreeSet<Site> = sites.into_iter().filter(|site| !self.is_on(*site)).collect();
            self.add(pattern, Some(free), None, false);
        }
        Stop::Done
    }

    /// Clears a breakpoint or watch; all of them without a number.
    pub(super) fn delete(&mut self, number: Option<usize>) -> Result<Stop, String> {
        let all = std::mem::take(&mut self.points);
        let (gone, left): (Vec<StopPoint>, Vec<StopPoint>) =
            all.into_iter().partition(|point| number.is_none_or(|number| point.number == number));
        self.points = left;
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

    /// The first breakpoint or watch that stops at an op, if one does; `holds` says whether a condition does there.
    pub(super) fn at(
        &self,
        site: Site,
        holds: impl Fn(&Condition) -> Result<bool, String>,
    ) -> Result<Option<usize>, String> {
        for (index, point) in self.points.iter().enumerate().filter(|(_, point)| point.covers(site)) {
            if point.condition.as_ref().map_or(Ok(true), &holds)? {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// Notes that the breakpoint of a number was hit, if there is one.
    pub(super) fn hit_number(&mut self, number: usize) {
        if let Some(index) = self.points.iter().position(|point| point.number == number) {
            self.hit(index);
        }
    }

    /// Notes that a breakpoint was hit, and says which.
    pub(super) fn hit(&mut self, index: usize) -> Stop {
        let point = &mut self.points[index];
        point.hits += 1;
        let (number, line) = (point.number, point.describe());
        if point.once {
            self.points.remove(index);
        }
        Stop::Breakpoint { number, line }
    }

    /// Whether a breakpoint is on an op, whatever its condition.
    pub(super) fn is_on(&self, site: Site) -> bool {
        self.points.iter().any(|point| point.sites.as_ref().is_some_and(|sites| sites.contains(&site)))
    }

    /// The lines of `info breakpoints`, in the order of numbers.
    pub(super) fn lines(&self) -> Vec<String> {
        let line = |point: &StopPoint| {
            let ops = point.sites.as_ref().map(BTreeSet::len).filter(|ops| *ops != 1);
            let ops = ops.map_or(String::new(), |ops| format!("  {ops} ops"));
            let times = if point.hits == 1 { "time" } else { "times" };
            format!("{:>3}  {}{ops}  hit {} {times}", point.number, point.describe(), point.hits)
        };
        self.points.iter().map(line).collect()
    }
}
