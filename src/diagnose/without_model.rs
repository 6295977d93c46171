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

use super::report::{Report, Verdict};
use crate::dump::{self, Pair};
use survey::Survey;
use trace::Trace;

/// Compares two dumps. `typed` are ids that a user says were fed to both.
pub fn without_model(pair: &Pair, typed: Option<&[u32]>) -> Result<Report, dump::Error> {
    if let Some(sentence) = tokens::differ(pair, typed) {
        return Ok(Report {
            verdict: Verdict::InputsDiffer,
            sentence,
            notes: conclude::notes_of_dumps(pair),
            sources: conclude::sources(pair, typed, None),
            ..Report::default()
        });
    }
    let survey = Survey::take(pair)?;
    let report = conclude::conclude(typed, &Trace::of(&survey));
    survey.failed.into_inner().map_or(Ok(report), Err)
}
