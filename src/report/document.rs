//! What a report says, as plain data.

use std::path::Path;

use serde::Serialize;

use super::clean::Cleaner;
use super::picture::Plate;
use crate::debugger::view::Token;
use crate::diagnose::{Report, Source};

/// A report for others to read.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Document {
    /// The command that made it, if a command did.
    pub command: Option<String>,
    /// What was compared: `model: candidate.npz beside reference.npz`
    pub title: String,
    /// The verdict in one word; another where nothing was compared to its end.
    pub verdict: &'static str,
    /// What was found. Names of files are without their folders, which are nobody's business.
    #[serde(skip)]
    pub report: Report,
    /// Every token that was fed, where somebody knows them.
    pub tokens: Vec<Token>,
    /// Pictures of the culprit.
    pub plates: Vec<Plate>,
    /// What was done in a debug session; empty for a comparison.
    pub story: Vec<Passage>,
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
        let mut report = report.clone();
        for source in &mut report.sources {
            if let Some(name) = Path::new(&source.path).file_name() {
                source.path = name.to_string_lossy().into_owned();
            }
        }
        for text in texts(&mut report) {
            *text = cleaner.clean(text);
        }
        let ids = report.sources.iter().map(|source| &source.ids).max_by_key(|ids| ids.len());
        let tokens = ids.into_iter().flatten().map(|id| Token { id: *id, text: String::new() }).collect();
        let (title, verdict) = (title(&report.sources), report.verdict.name());
        Self { title, verdict, report, tokens, ..Self::default() }
    }
}

/// Every text that may tell of a folder, or that a dump has brought in.
fn texts(report: &mut Report) -> Vec<&mut String> {
    let mut all = vec![&mut report.sentence];
    for found in &mut report.divergences {
        all.extend([&mut found.name, &mut found.summary].into_iter().chain(&mut found.last_good));
        all.extend(found.suspects.iter_mut().flat_map(|suspect| [&mut suspect.name, &mut suspect.summary]));
    }
    all.extend(report.blind_spots.iter_mut().flat_map(|spot| [&mut spot.summary, &mut spot.remedy]));
    all.extend(report.proofs.iter_mut().chain(&mut report.notes));
    all.extend(report.sources.iter_mut().flat_map(|source| source.plan.iter_mut().chain([&mut source.path])));
    all.extend(report.activations.iter_mut().map(|row| &mut row.name));
    all
}

/// Who was compared, in a few words.
fn title(sources: &[Source]) -> String {
    let name = |role: &str| sources.iter().find(|source| source.role == role).map(|source| source.path.as_str());
    let dumps: Vec<&str> = ["candidate", "reference"].into_iter().filter_map(name).collect();
    match (name("engine"), dumps.join(" beside ")) {
        (Some(model), dumps) if dumps.is_empty() => model.to_string(),
        (Some(model), dumps) => format!("{model}: {dumps}"),
        (None, dumps) => dumps,
    }
}
