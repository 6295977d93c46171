//! What a report says, as plain data.

use std::path::Path;

use serde::Serialize;

use super::clean::Cleaner;
use super::curve::{Curve, curves};
use super::picture::Plate;
use super::row::Row;
use crate::diagnose::suspects::named;
use crate::diagnose::{self, Culprit, Report};

/// A report. Names of files are without their folders, which are nobody's business.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Document {
    /// Version of the program that made it.
    pub version: String,
    /// The command that made it, if a command did.
    pub command: Option<String>,
    /// What was compared: `model: candidate.npz beside reference.npz`
    pub title: String,
    /// The answer in one word.
    pub verdict: Verdict,
    /// The answer in one sentence.
    pub sentence: String,
    /// Where errors start.
    pub divergences: Vec<Divergence>,
    /// What the dumps cannot show.
    pub blind_spots: Vec<BlindSpot>,
    /// What the reader should know.
    pub notes: Vec<String>,
    /// Who was compared.
    pub sources: Vec<Source>,
    /// Every token that was fed, where somebody knows them.
    pub tokens: Vec<Token>,
    /// Every activation, in program order.
    pub rows: Vec<Row>,
    /// The errors over the layers, for each forward.
    pub curves: Vec<Curve>,
    /// Pictures of the culprit.
    pub plates: Vec<Plate>,
    /// What was done in a debug session; empty for a comparison.
    pub story: Vec<Passage>,
}

/// The answer in one word.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verdict {
    /// The word of `layerstep.diff/1`: `diverged`
    pub word: String,
    /// What it means.
    pub meaning: String,
    /// Whether the two sides agree.
    pub agrees: bool,
}

/// Where an error starts.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Divergence {
    /// The first wrong activation that was dumped.
    pub name: String,
    /// Its layer.
    pub layer: Option<usize>,
    /// All layers that have it.
    pub layers: Vec<usize>,
    /// Which forward: 0 is the prefill.
    pub step: usize,
    /// Position of the first wrong row.
    pub token: Option<usize>,
    /// The last activation before it that agrees.
    pub last_good: Option<String>,
    /// Whether all its inputs were dumped.
    pub exact: bool,
    /// Whose tensor is wrong: `candidate`
    pub culprit: String,
    /// The same in one sentence.
    pub whose: String,
    /// What is wrong, how much, where in the tensor.
    pub summary: String,
    /// The mistakes that make it, best first.
    pub suspects: Vec<Suspect>,
}

/// A mistake that makes a wrong tensor.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Suspect {
    /// Its published id, or `unknown`.
    pub id: String,
    /// The activation that it is made in.
    pub name: String,
    /// The share of the squared error that it explains; 0 where that cannot be said.
    pub explained: f64,
    /// What is computed instead of what.
    pub summary: String,
    /// How it shows; may be empty, as the next two.
    pub symptom: String,
    /// How it comes about.
    pub cause: String,
    /// What to do.
    pub fix: String,
}

/// Something that a dump cannot show.
#[derive(Clone, Debug, Default, Serialize)]
pub struct BlindSpot {
    /// Stable id.
    pub id: String,
    /// What cannot be seen.
    pub summary: String,
    /// A command that makes a better dump.
    pub remedy: String,
}

/// One witness.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Source {
    /// `engine`, `reference` or `candidate`.
    pub role: String,
    /// File or directory, without its folder.
    pub name: String,
    /// Precision, as its bits tell.
    pub dtype: String,
    /// Token ids.
    pub ids: Vec<u32>,
    /// How many of its tensors were taken for an activation, or not.
    pub tensors: usize,
    /// How those were read that have another name or shape.
    pub readings: Vec<String>,
}

/// One token.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Token {
    /// Its id.
    pub id: u32,
    /// Its text; empty without a tokenizer.
    pub text: String,
}

/// A passage of the story of a debug session. Its texts have gone through [`super::printable`].
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Passage {
    /// A command that was typed, and what was answered.
    Command {
        /// `print rms(3.q_rope)`
        line: String,
        /// Lines.
        answer: Vec<String>,
    },
    /// A place that was marked.
    Mark {
        /// `3.q_rope`
        place: String,
        /// Why; may be empty.
        text: String,
    },
    /// What somebody wrote down.
    Note {
        /// Their words.
        text: String,
    },
}

impl Document {
    /// The document of a comparison, without pictures.
    pub fn of(report: &Report) -> Self {
        let cleaner = Cleaner::of(report);
        let clean = |text: &str| cleaner.clean(text);
        let rows: Vec<Row> = report.activations.iter().map(|row| Row::of(row, &cleaner)).collect();
        let sources: Vec<Source> = report.sources.iter().map(|source| Source::of(source, &cleaner)).collect();
        let blind_spot = |spot: &diagnose::BlindSpot| BlindSpot {
            id: spot.id.into(),
            summary: clean(&spot.summary),
            remedy: clean(&spot.remedy),
        };
        let ids = sources.iter().map(|source| &source.ids).max_by_key(|ids| ids.len());
        Self {
            version: env!("CARGO_PKG_VERSION").into(),
            command: None,
            title: title(&sources),
            verdict: Verdict::of(report.verdict),
            sentence: clean(&report.sentence),
            divergences: report.divergences.iter().map(|found| Divergence::of(found, report, &cleaner)).collect(),
            blind_spots: report.blind_spots.iter().map(blind_spot).collect(),
            notes: report.notes.iter().map(|note| clean(note)).collect(),
            tokens: ids.into_iter().flatten().map(|id| Token { id: *id, text: String::new() }).collect(),
            curves: curves(&rows),
            sources,
            rows,
            plates: Vec::new(),
            story: Vec::new(),
        }
    }

    /// The first of the divergences.
    pub fn first(&self) -> Option<&Divergence> {
        self.divergences.first()
    }
}

/// Who was compared, in a few words.
fn title(sources: &[Source]) -> String {
    let name = |role: &str| sources.iter().find(|source| source.role == role).map(|source| source.name.as_str());
    let dumps: Vec<&str> = ["candidate", "reference"].into_iter().filter_map(name).collect();
    match (name("engine"), dumps.join(" beside ")) {
        (Some(model), dumps) if dumps.is_empty() => model.to_string(),
        (Some(model), dumps) => format!("{model}: {dumps}"),
        (None, dumps) => dumps,
    }
}

impl Verdict {
    fn of(verdict: diagnose::Verdict) -> Self {
        let meaning = match verdict {
            diagnose::Verdict::Match => "everything compared agrees as f32 computations do",
            diagnose::Verdict::Rounding => "every difference is explained by the precision of a dump",
            diagnose::Verdict::Diverged => "a wrong value was computed",
            diagnose::Verdict::Mislabelled => "a tensor is not what its name says; what was computed is right",
            diagnose::Verdict::InputsDiffer => "the token ids are not the same",
            diagnose::Verdict::Inconclusive => "there is a difference that the evidence does not settle",
        };
        Self { word: verdict.name().into(), meaning: meaning.into(), agrees: verdict.agrees() }
    }
}

impl Divergence {
    fn of(found: &diagnose::Divergence, report: &Report, cleaner: &Cleaner) -> Self {
        let whose = match (report.verdict, found.culprit) {
            (diagnose::Verdict::InputsDiffer, _) => "Nobody computed wrong: other tokens were fed.".into(),
            (_, Culprit::Engine) => "The dumps agree with each other, and not with our engine.".into(),
            (_, Culprit::Unknown) => "The evidence does not tell whose tensor is wrong.".into(),
            (diagnose::Verdict::Mislabelled, culprit) => {
                format!("The {} has a tensor under a wrong name.", culprit.name())
            }
            (_, culprit) => format!("The {} is wrong: its tensor is not what its own inputs give.", culprit.name()),
        };
        let suspect = |accused: &diagnose::suspects::search::Accused| {
            let known = named(accused.id);
            Suspect {
                id: accused.id.into(),
                name: cleaner.clean(&accused.name),
                explained: accused.explained,
                summary: cleaner.clean(&accused.summary),
                symptom: known.map_or("", |suspect| suspect.symptom).into(),
                cause: known.map_or("", |suspect| suspect.cause).into(),
                fix: accused.fix.into(),
            }
        };
        Self {
            name: cleaner.clean(&found.name),
            layer: found.layer,
            layers: found.layers.clone(),
            step: found.step,
            token: found.token,
            last_good: found.last_good.as_deref().map(|name| cleaner.clean(name)),
            exact: found.exact,
            culprit: found.culprit.name().into(),
            whose,
            summary: cleaner.clean(&found.summary),
            suspects: found.suspects.iter().map(suspect).collect(),
        }
    }
}

impl Source {
    fn of(source: &diagnose::Source, cleaner: &Cleaner) -> Self {
        // `name f32 [15, 128] -> name` says nothing.
        let plain = |line: &&str| line.split_once(" -> ").is_some_and(|(from, to)| from.split(' ').next() == Some(to));
        let name =
            Path::new(&source.path).file_name().map_or(source.path.clone().into(), |name| name.to_string_lossy());
        Self {
            role: source.role.into(),
            name: cleaner.clean(&name),
            dtype: source.dtype.clone(),
            ids: source.ids.clone(),
            tensors: source.plan.lines().count(),
            readings: source.plan.lines().filter(|line| !plain(line)).map(|line| cleaner.clean(line)).collect(),
        }
    }
}
