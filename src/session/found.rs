//! What a recording knows of the comparison, as a report.

use super::header::{Divergence, Verdict};
use super::recording::Recording;
use crate::debugger::in_layers;
use crate::diagnose::suspects::{named, search::Accused};
use crate::diagnose::{self, Culprit, Report, Source};

impl Recording {
    /// The report of the comparison as far as it was recorded: its verdict and its rows, without what the dumps could not
    /// show. `None` where the comparison had not reached its end.
    pub fn report(&self) -> Option<Report> {
        let Verdict { word, sentence, divergences } = self.text.header.verdict.as_ref()?;
        let mut activations = Vec::new();
        for (row, found) in self.values.iter().flat_map(|values| &values.views.events).flat_map(|event| &event.rows) {
            match activations.get_mut(*row) {
                Some(known) => *known = found.clone(),
                None => activations.push(found.clone()),
            }
        }
        let header = &self.text.header;
        let engine = Source {
            role: "engine",
            path: header.model.name.clone(),
            dtype: header.engine.precision.clone(),
            ids: header.tokens.ids.clone(),
            plan: String::new(),
        };
        let dump = |source: &super::header::Source| {
            let role = ["reference", "candidate"].into_iter().find(|role| *role == source.role)?;
            let (path, dtype) = (source.file.clone(), source.dtype.clone());
            Some(Source { role, path, dtype, ids: header.tokens.ids.clone(), plan: String::new() })
        };
        Some(Report {
            verdict: diagnose::Verdict::of(word)?,
            sentence: sentence.clone(),
            divergences: divergences.iter().map(divergence).collect(),
            blind_spots: Vec::new(),
            activations,
            notes: vec!["made from the recording alone: the model or the dumps are not here".into()],
            sources: [engine].into_iter().chain(header.sources.iter().filter_map(dump)).collect(),
        })
    }
}

fn divergence(found: &Divergence) -> diagnose::Divergence {
    let (name, step) = found.name.split_once('@').unwrap_or((&found.name, "0"));
    let layers = layers(&found.layers);
    let suspect = |id: &String| {
        let known = named(id);
        Accused {
            id: known.map_or("unknown", |known| known.id),
            name: found.name.clone(),
            explained: 0.0,
            residual: 0.0,
            summary: known.map_or_else(String::new, |known| known.summary.to_string()),
            fix: known.map_or("", |known| known.fix),
            edit: None,
            sites: Vec::new(),
        }
    };
    diagnose::Divergence {
        name: found.name.clone(),
        layer: in_layers(name).and_then(|rest| rest.split('.').next()?.parse().ok()),
        layers,
        step: step.parse().unwrap_or_default(),
        token: None,
        last_good: Some(found.last_good.clone()).filter(|name| !name.is_empty()),
        exact: found.exact,
        culprit: Culprit::of(&found.culprit).unwrap_or(Culprit::Unknown),
        summary: found.summary.clone(),
        suspects: found.suspects.iter().map(suspect).collect(),
    }
}

/// `0-3, 7`
fn layers(text: &str) -> Vec<usize> {
    let run = |run: &str| {
        let (first, last) = run.split_once('-').unwrap_or((run, run));
        let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        // Nobody has more layers than that.
        (first <= last && last < 100_000_usize).then_some(first..=last)
    };
    text.split(',').filter_map(run).flatten().collect()
}
