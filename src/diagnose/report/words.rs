//! What a report says, line by line, in the order of what matters: what is wrong and what to do, where, the proof, then the
//! rest. Every screen and file that shows a report as text takes these lines.

use super::{ActivationRow, Apart, Culprit, Divergence, Report, Status, Verdict};
use crate::diagnose::effect::Effect;
use crate::diagnose::finding::{all_ranges, ranges};

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// The verdict and what is wrong: the first line.
    Verdict,
    /// What to do.
    Fix,
    /// Where the error is made.
    Where,
    /// What confirms it.
    Proof,
    /// What it does to the output.
    Output,
    /// A mistake that makes it.
    Why,
    /// Another mistake that makes it as well.
    Or,
    /// Another divergence.
    And,
    /// What else is known.
    Note,
    /// What the dumps cannot show.
    Blind,
    /// A command that makes a dump that shows more. It is not wrapped: it can be pasted.
    Next,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What it is.
    pub label: Label,
    /// What stands before its text.
    pub word: String,
    /// Its text.
    pub text: String,
}

impl Line {
    fn new(label: Label, word: &str, text: impl Into<String>) -> Self {
        Self { label, word: word.into(), text: text.into() }
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.word, self.text)
    }
}

/// Two activations whose cosine is less are not related.
const UNRELATED: f64 = 0.3;

/// Divergences that have one cause: the first, and the others.
struct Cause<'a> {
    first: &'a Divergence,
    others: Vec<&'a Divergence>,
}

impl Cause<'_> {
    /// All layers, in order.
    fn layers(&self) -> Vec<usize> {
        let all = [self.first].into_iter().chain(self.others.iter().copied());
        let mut layers: Vec<usize> = all.flat_map(|found| found.layers.iter().copied()).collect();
        layers.sort_unstable();
        layers.dedup();
        layers
    }

    /// The other ops, in short.
    fn others(&self) -> String {
        const MOST: usize = 4;
        let mut names: Vec<&str> = self.others.iter().map(|found| found.name.as_str()).take(MOST).collect();
        let more = format!("{} more", self.others.len().saturating_sub(MOST));
        if self.others.len() > MOST {
            names.push(&more);
        }
        names.join(", ")
    }
}

impl Report {
    /// The two sides went apart: what comes before is judged, and that they did is said.
    pub fn go_apart(&mut self, apart: Apart) {
        if self.verdict.agrees() {
            self.sentence = format!("{}; {}", self.sentence, apart.describe());
        } else {
            self.notes.insert(0, apart.describe());
        }
        self.apart = Some(apart);
    }

    /// Everything that it says, but for the table.
    pub fn said(&self) -> Vec<Line> {
        let mut lines = vec![Line::new(Label::Verdict, self.verdict.name(), self.sentence.as_str())];
        let output =
            self.effect.as_ref().and_then(Effect::describe).map(|words| Line::new(Label::Output, "output", words));
        let mut output = output.into_iter();
        for (index, cause) in self.causes().iter().enumerate() {
            if index > 0 {
                lines.push(Line::new(Label::And, "and", cause.first.head()));
            }
            lines.extend(self.of_cause(cause, index == 0));
            lines.extend(output.by_ref());
        }
        lines.extend(output);
        lines.extend(self.notes.iter().map(|note| Line::new(Label::Note, "note", note.as_str())));
        lines.extend(self.blind_spots.iter().map(|spot| Line::new(Label::Blind, "cannot show", spot.summary.as_str())));
        // One command makes a dump that shows more: the first remedy is that of the gravest blind spot.
        let feeds = self.apart.as_ref().map(|apart| apart.remedy.as_str()).filter(|remedy| !remedy.is_empty());
        let next = feeds.or(self.blind_spots.first().map(|spot| spot.remedy.as_str()));
        lines.extend(next.map(|remedy| Line::new(Label::Next, "next", remedy)));
        lines
    }

    /// Whether no activation that was compared is related to what it should be, the first ones included, and no mistake
    /// makes that: other tokens were fed, or another model ran.
    fn nothing_agrees(&self) -> bool {
        let unknown =
            self.divergences.first().is_some_and(|first| first.cause().is_none() && first.nonfinite.is_none());
        let compared = || self.activations.iter().filter(|row| row.compared().is_some());
        let wrong = |row: &ActivationRow| matches!(row.status, Status::Bad | Status::Propagated);
        let early: Vec<&ActivationRow> =
            compared().filter(|row| row.step == 0 && row.layer.is_none_or(|at| at == 0)).collect();
        // Probabilities are all positive, so any two of them are alike.
        let apart = early.iter().filter(|row| row.cosine.abs() < UNRELATED).count();
        let in_first_layer = early.iter().any(|row| row.layer == Some(0));
        self.verdict == Verdict::Diverged
            && unknown
            && in_first_layer
            && 2 * apart > early.len()
            && compared().all(wrong)
    }

    /// What to do, where, and what proves it.
    fn of_cause(&self, cause: &Cause, is_first: bool) -> Vec<Line> {
        let Cause { first, others } = cause;
        let mut lines = Vec::new();
        let known = first.cause();
        lines.extend(
            known.filter(|suspect| !suspect.fix.is_empty()).map(|suspect| Line::new(Label::Fix, "fix", suspect.fix)),
        );
        if is_first && self.nothing_agrees() {
            lines.push(Line::new(Label::Fix, "fix", "check the ids and the model: nothing of layer 0 agrees"));
        }
        // Where the head is the mistake itself, it is told already.
        let told = first.is_named();
        lines.extend(first.suspects.first().filter(|_| !told).map(|why| Line::new(Label::Why, "why", why.said())));
        match (self.verdict, told) {
            (Verdict::InputsDiffer, _) => {}
            (_, true) => {
                lines.push(Line::new(Label::Where, "where", format!("{}; {}", first.summary, first.bracket())));
            }
            (Verdict::Diverged, false) => {
                lines.push(Line::new(Label::Where, "where", format!("{}: {}", first.name, first.bracket())));
            }
            _ => {}
        }
        let layers = cause.layers();
        let also: Vec<usize> = layers.iter().copied().filter(|layer| Some(*layer) != first.layer()).collect();
        if known.is_none() && !also.is_empty() {
            lines.push(Line::new(Label::Where, "also", in_layers(&also)));
        }
        if !others.is_empty() {
            lines.push(Line::new(Label::Where, "also", format!("at {}", cause.others())));
        }
        if is_first {
            lines.extend(self.proofs.iter().map(|proof| Line::new(Label::Proof, "proof", proof.as_str())));
        }
        let rest = first.suspects.iter().skip(1);
        for suspect in rest {
            lines.push(Line::new(Label::Or, "or", suspect.said()));
            if !suspect.fix.is_empty() {
                lines.push(Line::new(Label::Fix, "fix", suspect.fix));
            }
        }
        lines
    }

    /// The divergences, those of one cause together.
    fn causes(&self) -> Vec<Cause<'_>> {
        let mut causes: Vec<Cause> = Vec::new();
        for found in &self.divergences {
            let id = |of: &Divergence| Some((of.culprit, of.cause()?.id));
            let same = |cause: &&mut Cause| id(found).is_some() && id(cause.first) == id(found);
            match causes.iter_mut().find(same) {
                Some(cause) => cause.others.push(found),
                None => causes.push(Cause { first: found, others: Vec::new() }),
            }
        }
        causes
    }
}

impl Divergence {
    /// Whether its mistake is known and is told first: what is said of no single tensor says more than the mistake.
    fn is_named(&self) -> bool {
        self.cause().is_some() && self.summary.starts_with(&self.name)
    }

    /// Whose it is and what is wrong, in one sentence: the mistake where one is known, else what was seen.
    pub fn head(&self) -> String {
        let whose = match self.culprit {
            Culprit::Unknown => String::new(),
            culprit => format!("{}: ", culprit.name()),
        };
        let mut layers = self.layers.clone();
        layers.sort_unstable();
        match self.cause().filter(|_| self.is_named()) {
            Some(suspect) => {
                let place = if layers.is_empty() { String::new() } else { format!(" {}", in_layers(&layers)) };
                format!("{whose}{}{place}: {}{}", suspect.id, suspect.words(), suspect.share())
            }
            None => format!("{whose}{}", self.summary),
        }
    }
}

/// `in layer 1`, `in layers 0-2, 4`.
fn in_layers(layers: &[usize]) -> String {
    match layers {
        [one] => format!("in layer {one}"),
        _ => format!("in layers {}", if layers.len() > 24 { ranges(layers) } else { all_ranges(layers) }),
    }
}
