//! Two dumps compared without their model: everything that needs no weights.
//!
//! What can be told is where the curve of errors has a step, and whether what follows was computed from the value that
//! stands out. What cannot be told is whether a matrix product is right: then the answer is `inconclusive`, or names no
//! culprit.

mod conclude;
mod disguise;
mod equation;
mod finding;
mod flow;
mod label;
mod noise;
mod survey;
mod tokens;
mod trace;

use super::fed::Apart;
use super::outputs::Outputs;
use super::report::{Report, Verdict};
use crate::dump::{self, Pair};
use survey::Survey;
use trace::Trace;

/// Compares two dumps. `typed` are ids that a user says were fed to both.
pub fn without_model(pair: &Pair, typed: Option<&[u32]>) -> Result<Report, dump::Error> {
    let ids = pair.reference.ids().zip(pair.candidate.ids());
    let apart = ids.and_then(|(reference, candidate)| Apart::of(reference, candidate)).filter(|_| typed.is_none());
    if let Some(sentence) = tokens::differ(pair, typed).filter(|_| apart.is_none()) {
        return Ok(Report {
            verdict: Verdict::InputsDiffer,
            sentence,
            notes: conclude::notes_of_dumps(pair),
            sources: conclude::sources(pair, typed, None),
            ..Report::default()
        });
    }
    let survey = Survey::take(pair, apart.as_ref().map(|apart| apart.step))?;
    let mut report = conclude::conclude(typed, &Trace::of(&survey));
    let mut outputs = Outputs::between(["candidate", "reference"]);
    if let Some(apart) = apart {
        outputs.go_apart(apart);
    }
    survey.outputs(&mut outputs);
    outputs.tell(&mut report);
    survey.failed.into_inner().map_or(Ok(report), Err)
}
