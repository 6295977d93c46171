//! What the comparison has found, once it has reached the end: what `diff` says.

use std::sync::Arc;

use super::state::Debugger;
use crate::diagnose::{Divergence, Report};

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
        lines.extend(report.divergences.iter().flat_map(divergence));
        lines.extend(report.notes.iter().map(|note| format!("note: {note}")));
        lines.extend(report.blind_spots.iter().map(|spot| format!("cannot show: {}", spot.summary)));
        Ok(lines)
    }
}

/// `candidate: model.layers.2.self_attn.q_rope ...`, and why.
fn divergence(divergence: &Divergence) -> Vec<String> {
    let mut lines = vec![format!("{}: {}", divergence.culprit.name(), divergence.summary)];
    for (index, suspect) in divergence.suspects.iter().enumerate() {
        let word = if index == 0 { "why:" } else { "  or:" };
        lines.push(format!("{word} {}: {}", suspect.id, suspect.summary));
        if !suspect.fix.is_empty() {
            lines.push(format!(" fix: {}", suspect.fix));
        }
    }
    lines
}
