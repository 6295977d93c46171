//! A recording as a test: everything in it is played, and compared with what was recorded.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use ndarray::ArrayViewD;

use super::backend::Backend;
use super::file::Line;
use super::recorder::Recorder;
use super::replay::Tally;
use crate::debugger::view::Witness;
use crate::debugger::{Command, Look};
use crate::diagnose::finding::{numbers, ranges};
use crate::diagnose::{Divergence, Report};
use crate::metrics::compare;

/// Draws of the arithmetic, by which the noise of a recorded activation is measured.
const DRAWS: [u64; 2] = [1, 2];
/// An activation that lies further from the recorded one than so many times the furthest draw is another one: the limit
/// that `diagnose` has for the longest spans.
const LIMIT: f64 = 8.0;

impl Recorder {
    /// Plays every line that is left, and compares what can be compared at the end only.
    pub fn check(&mut self) -> Tally {
        let text = &self.replay.recording.text;
        let wrong = |(number, line): (usize, &Line)| {
            let sentence = Command::parse(&line.text).err()?;
            Some(format!("command {} of the session cannot be read: {sentence}", number + 1))
        };
        let wrong: Vec<String> = text.lines.iter().enumerate().filter_map(wrong).collect();
        let script: Vec<(Command, String)> = (self.replay.commands.iter())
            .map(|obeyed| (obeyed.command.clone(), text.lines[obeyed.line].text.clone()))
            .collect();
        self.all_differ(wrong);
        for (command, line) in script {
            // What it says is compared with what it said.
            drop(self.execute(&command, &line, &AtomicBool::new(false), &mut |_| {}));
        }
        if !self.debugger.is_taped() {
            self.judge();
            self.compare_dumps();
            self.compare_verdict();
            let missing = self.replay.never_computed();
            if missing > 0 {
                self.replay.differs(format!("{missing} activations were recorded that are not computed any more"));
            }
        }
        self.tally().clone()
    }

    fn all_differ(&mut self, sentences: Vec<String>) {
        for sentence in sentences {
            self.replay.differs(sentence);
        }
    }

    /// Whether activations with other bits differ only as two correct computations do.
    pub(super) fn judge(&mut self) {
        let looks = std::mem::take(&mut self.replay.inexact);
        let Some(values) = self.replay.recording.values.as_ref().filter(|_| !looks.is_empty()) else { return };
        let wanted: BTreeSet<_> = looks.iter().map(|look| (look.forward, look.site)).collect();
        let debugger = &self.debugger;
        let draws: Vec<_> = DRAWS.iter().map(|seed| debugger.draw(*seed, &wanted)).collect();
        let mut differences = Vec::new();
        for look in looks {
            let Some(now) = debugger.ours(look.forward, look.site) else { continue };
            let error = apart(values.seen[&look].part.values.view(), now.view());
            let of_draws = draws.iter().filter_map(|draw| draw.get(&(look.forward, look.site)));
            let floor = of_draws.map(|draw| apart(draw.view(), now.view())).fold(0.0, f64::max);
            if error <= LIMIT * floor {
                self.replay.tally.within += 1;
            } else {
                let name = debugger.model().graph.short(look.site);
                differences
                    .push(format!("{name} lies {error:.1e} from what was recorded, and noise explains {floor:.1e}"));
            }
        }
        self.all_differ(differences);
    }

    /// What was recorded of the dumps is still in them.
    fn compare_dumps(&mut self) {
        let Some(values) = &self.replay.recording.values else { return };
        let debugger = &self.debugger;
        let reads = values.views.events.last().map_or(0, |event| event.reads);
        let mut looks: Vec<&Look> = values.seen.keys().filter(|look| look.witness != Witness::Engine).collect();
        looks.retain(|look| look.variant == reads);
        looks.sort_unstable();
        let mut differences = Vec::new();
        for look in looks {
            let then = &values.seen[look].part;
            match debugger.dumped(look).map(|seen| seen.part) {
                Ok(now) if now.rows == then.rows && apart(now.values.view(), then.values.view()) == 0.0 => {
                    self.replay.tally.identical += 1;
                }
                Ok(_) => differences.push(format!(
                    "{} of the {} is not what was recorded",
                    debugger.model().graph.short(look.site),
                    look.witness.name()
                )),
                Err(sentence) => differences.push(sentence),
            }
        }
        self.all_differ(differences);
    }

    fn compare_verdict(&mut self) {
        let Some(then) = &self.replay.recording.text.header.verdict else { return };
        let now = self.debugger.report();
        // The sentences have numbers of noise in them, and of many layers a session has the first.
        let found = |report: &Report| {
            let one = |d: &Divergence| {
                let suspects: Vec<&str> = d.suspects.iter().map(|suspect| suspect.id).collect();
                (d.name.clone(), d.culprit, suspects, numbers(&ranges(&d.layers)))
            };
            (report.verdict, report.divergences.iter().map(one).collect::<Vec<_>>())
        };
        let said = |report: &Report| format!("{}: {}", report.verdict.name(), report.sentence);
        if now.as_deref().map(found) != Some(found(then)) {
            let now = now.as_deref().map_or("none".into(), said);
            self.replay.differs(format!("the verdict was {}; now it is {now}", said(then)));
        }
    }
}

/// The relative distance in L2; infinite where one has a number and the other none.
fn apart(a: ArrayViewD<f32>, b: ArrayViewD<f32>) -> f64 {
    if a.shape() == b.shape() { compare(a, b, |_, _| true).error } else { f64::INFINITY }
}
