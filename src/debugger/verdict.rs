//! What the comparison has found, once it has reached the end: what `diff` says.

use std::sync::Arc;

use super::state::Debugger;
use crate::diagnose::Report;

impl Debugger {
    /// The report of the comparison; none before it has reached the end of what the dumps can know, or without a dump.
    pub fn report(&mut self) -> Option<Arc<Report>> {
        let all = self.given * self.run.graph().len();
        let walk = self.walk.as_mut().filter(|walk| !self.failed && walk.rows().len() == all)?;
        Some(Arc::clone(self.report.get_or_insert_with(|| Arc::new(walk.report()))))
    }

    /// The lines of `info verdict`.
    pub(super) fn verdict(&mut self) -> Result<Vec<String>, String> {
        if !self.has_dumps() {
            return Err("nothing is compared: there is no dump".into());
        }
        let Some(report) = self.report() else {
            return Err("the comparison has not reached the end yet: run goes there".into());
        };
        let mut lines = vec![format!("{}: {}", report.verdict.name(), report.sentence)];
        for divergence in &report.divergences {
            lines.push(format!("{}: {}", divergence.culprit.name(), divergence.summary));
            lines.extend(divergence.reasons(|_| String::new()));
        }
        lines.extend(report.notes.iter().map(|note| format!("note: {note}")));
        lines.extend(report.blind_spots.iter().map(|spot| format!("cannot show: {}", spot.summary)));
        Ok(lines)
    }
}
