//! How much of the dumps an answer is of.

use super::{Report, Verdict};
use crate::dump::Coverage;

impl Report {
    /// Says beside the answer how much of the dumps it is of, where that is not all. Forwards that are not recognised make
    /// agreement of the others no answer.
    #[must_use]
    pub fn with_coverage(mut self) -> Self {
        let lacks = |coverage: &&Coverage| coverage.lacks_forwards;
        let agrees = matches!(self.verdict, Verdict::Match | Verdict::Rounding);
        if let Some(of) = self.sources.iter().filter_map(|of| of.coverage.as_ref()).find(lacks).filter(|_| agrees) {
            let percent = 100 * of.compared / of.dumped.max(1);
            self.verdict = Verdict::Inconclusive;
            self.sentence = format!("{percent} % of the dump is recognised: give --map; {}", self.sentence);
        }
        let said: Vec<(&str, String)> =
            self.sources.iter().filter_map(|of| Some((of.role, of.coverage.as_ref()?.said()?))).collect();
        let of = |role: &str| if said.len() > 1 { format!(" of the {role}") } else { String::new() };
        let said: Vec<String> = said.iter().map(|(role, words)| format!("; {words}{}", of(role))).collect();
        self.sentence += &said.concat();
        self
    }
}
