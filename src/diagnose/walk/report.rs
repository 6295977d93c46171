//! The report of a walk.

use super::Walk;
use crate::diagnose::blind_spots::{Coverage, blind_spots};
use crate::diagnose::conclude::{Beside, conclude, refuted};
use crate::diagnose::confirm::{explained, prove};
use crate::diagnose::precision::Precision;
use crate::diagnose::recognised::{hidden, unsettle};
use crate::diagnose::relabel::describe;
use crate::diagnose::report::{Report, Status};
use crate::diagnose::trail::Trail;
use crate::diagnose::whole::of_whole;
use crate::diagnose::witnesses::{CANDIDATE, REFERENCE, notes, sources};

impl Walk {
    /// The report of what has been compared so far. What is still open is decided by what is known: ask at the end.
    pub fn report(&mut self) -> Report {
        for trail in self.trails.iter_mut().flatten() {
            trail.finish();
        }
        self.update();
        let mut found = [REFERENCE, CANDIDATE].map(|role| {
            let described = self.trails[role].as_ref().map(|trail| {
                let mut findings = describe(trail, &self.ids, &self.steps);
                of_whole(trail, &self.ids, &self.steps, &mut findings);
                findings
            });
            described.unwrap_or_default()
        });
        for (trail, findings) in self.trails.iter_mut().zip(&mut found) {
            if let Some(trail) = trail {
                unsettle(trail, findings, &self.ids[..self.steps[0]], &self.rows);
            }
        }
        self.update();
        let precisions = [REFERENCE, CANDIDATE].map(|role| self.trails[role].as_ref().map(Trail::precision));
        let tokens = (&self.ids[..], &self.steps[..]);
        let (mut proofs, mut failed) = (Vec::new(), Vec::new());
        for (((role, dump), trail), findings) in self.witnesses.named().into_iter().zip(&self.trails).zip(&mut found) {
            let Some((dump, trail)) = dump.zip(trail.as_ref()) else { continue };
            let computes = (trail.precision(), trail.arithmetic());
            // What could be read before can be read again; if not, there is no proof.
            let Some(proof) = prove(&trail.model, dump, tokens, findings, computes).ok().flatten() else { continue };
            for row in explained(findings, &proof) {
                let name = self.model.graph.key(row.1, row.0);
                self.rows.iter_mut().filter(|row| row.name == name).for_each(|row| row.status = Status::Propagated);
            }
            failed.extend(proof.fails.then_some(role));
            proofs.push(format!("{role}: {}", proof.sentence));
        }
        let folder = self.model.files.first().and_then(|file| file.parent());
        let path = folder.map_or_else(|| self.model.name.clone(), |folder| folder.display().to_string());
        let mut coverage = Coverage::between(self.witnesses.reference.as_deref(), self.witnesses.candidate.as_deref());
        coverage.coarse |= precisions.into_iter().flatten().any(|precision| precision != Precision::F32);
        let hidden = self.trails.iter().flatten().find_map(hidden);
        let beside = Beside { precisions, hidden: hidden.as_deref(), flips: self.flips.count() };
        let (verdict, sentence, mut divergences) =
            conclude(&found, &self.shared, &beside, self.compared, &self.rows, &self.model.graph);
        let sentence = refuted(sentence, &mut divergences, &failed);
        let unknown = self.shared.first().and_then(|[index, _]| found[REFERENCE].get(*index)).map(|finding| {
            let name = self.model.graph.key(finding.site, finding.step);
            format!(
                "both dumps are off in the same way at {name}, and {} tensors in all: the model has something that our \
                 engine does not know",
                self.shared.len()
            )
        });
        let mut report = Report {
            verdict,
            sentence,
            divergences,
            blind_spots: blind_spots(&self.model, &path, &self.ids, &self.steps, &coverage),
            proofs,
            notes: notes(&self.witnesses, &self.trails, &self.rows, &self.model.graph)
                .into_iter()
                .chain(unknown)
                .chain(self.flips.describe(&self.model.graph))
                .chain(self.massive.describe())
                .collect(),
            sources: sources(&self.model, &self.ids, &self.witnesses, precisions),
            activations: self.rows.clone(),
            ..Report::default()
        };
        self.outputs.tell(&mut report);
        report.with_coverage()
    }
}
