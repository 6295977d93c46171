//! Tokens that were fed: where the two sides go apart, and where a token is not the likeliest of the logits before it.

use super::effect::LastRow;
use crate::dump::Ids;

/// Decode steps from which on the two sides were fed other tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Apart {
    /// The first forward with other tokens.
    pub step: usize,
    /// Its first token that differs: the reference's, the candidate's.
    pub tokens: [u32; 2],
    /// How far they lie apart in the logits before, which both sides share.
    pub margin: Option<f64>,
    /// A command that feeds the reference the candidate's tokens; empty where none is known.
    pub remedy: String,
}

impl Apart {
    /// Where the tokens of two dumps go apart behind a prompt that they share, fed in the same forwards; `None` where they do
    /// not, or where the prompts differ.
    pub fn of(reference: &Ids, candidate: &Ids) -> Option<Self> {
        let place = reference.ids.iter().zip(&candidate.ids).position(|(a, b)| a != b)?;
        let mut end = 0;
        let step = reference.steps.iter().position(|tokens| {
            end += tokens;
            end > place
        });
        let step = step.filter(|step| *step > 0)?;
        let alike = candidate.steps.get(..step) == Some(&reference.steps[..step]);
        let tokens = [reference.ids[place], candidate.ids[place]];
        alike.then(|| Self { step, tokens, margin: None, remedy: String::new() })
    }

    /// `from step 3 on they fed other tokens: 788 and 504 (margin 0.02 between them)`
    pub fn describe(&self) -> String {
        let [reference, candidate] = self.tokens;
        let margin = self.margin.map_or_else(String::new, |margin| format!(" (margin {margin:.2} between them)"));
        let step = self.step;
        format!(
            "from step {step} on they fed other tokens: the reference {reference}, the candidate {candidate}{margin}"
        )
    }

    /// The same, once the logits before are known.
    pub(super) fn with_margin(&mut self, last: &LastRow) {
        self.margin = self.margin.or_else(|| last.margin(self.tokens[0], self.tokens[1]));
    }
}

/// Whose decode step was fed a token that is not the likeliest of the logits before it, in one sentence.
pub(super) fn unlikely(role: &str, step: usize, fed: u32, last: &LastRow) -> Option<String> {
    let (best, margin) = last.instead_of(fed)?;
    Some(format!(
        "{role}: step {step} was fed {fed}, which is not the likeliest of the logits before it: {best} lies {margin:.2} above"
    ))
}
