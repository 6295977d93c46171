//! The logits of a comparison in progress: what differences do to the output, and whether tokens that were fed follow from it.

use super::effect::{Effect, LastRow};
use super::fed::{Apart, unlikely};
use super::part::Part;
use super::report::Report;
use super::witnesses::ROLES;

/// What has been seen of logits.
#[derive(Debug)]
pub(super) struct Outputs {
    effect: Effect,
    /// Those of the last token of the forward before: reference, candidate.
    last: [Option<LastRow>; 2],
    /// Decode steps that were fed another token than the likeliest: how many, and the first in words; of each side.
    unlikely: [(usize, Option<String>); 2],
    /// Decode steps.
    decoded: usize,
    apart: Option<Apart>,
}

impl Outputs {
    /// Nothing is seen yet; `who` is under suspicion, and who is right.
    pub(super) fn between(who: [&'static str; 2]) -> Self {
        Self { effect: Effect::between(who), last: [None, None], unlikely: Default::default(), decoded: 0, apart: None }
    }

    /// The two sides are fed other tokens behind the last of the forwards.
    pub(super) fn go_apart(&mut self, apart: Apart) {
        self.apart = Some(apart);
    }

    /// The logits of a forward: its first position and its tokens, what both sides have, what each dump has.
    pub(super) fn look(
        &mut self,
        (first, tokens): (usize, usize),
        [values, expected]: [Option<&Part>; 2],
        dumped: [Option<&Part>; 2],
    ) {
        if let Some((values, expected)) = values.zip(expected) {
            self.effect.add(first, values, expected);
        }
        self.last = dumped.map(|part| LastRow::of(part?, tokens));
    }

    /// A decode step begins, which was fed this token.
    pub(super) fn begin_forward(&mut self, step: usize, fed: u32) {
        self.decoded += 1;
        // Who is fed the other's tokens is fed what is likely there.
        if self.last.iter().flatten().any(|last| last.instead_of(fed).is_none()) {
            return;
        }
        for ((last, role), (count, first)) in self.last.iter().zip(ROLES).zip(&mut self.unlikely) {
            if let Some(words) = last.as_ref().and_then(|last| unlikely(role, step, fed, last)) {
                *count += 1;
                first.get_or_insert(words);
            }
        }
    }

    /// Adds all of it to a report.
    pub(super) fn tell(&self, report: &mut Report) {
        report.effect = Some(self.effect.clone());
        for (count, first) in &self.unlikely {
            let more = match count {
                0 | 1 => String::new(),
                count => format!("; so were {count} of {} steps", self.decoded),
            };
            report.notes.extend(first.iter().map(|first| format!("{first}{more}")));
        }
        if let Some(mut apart) = self.apart.clone() {
            self.last.iter().flatten().for_each(|last| apart.with_margin(last));
            let (step, tokens) = (apart.step, apart.tokens);
            let sides = self.last.iter().zip(ROLES).zip(tokens);
            let said = sides.filter_map(|((last, role), fed)| unlikely(role, step, fed, last.as_ref()?));
            report.notes.extend(said);
            report.go_apart(apart);
        }
    }
}
