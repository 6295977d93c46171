//! Writing what was recorded: NAME.session and NAME.safetensors, each whole or not at all.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::file::{self, Text};
use super::header::{Header, ModelFacts, Tokens, Values};
use super::pack::{SESSION, before, free, values_of, with};
use super::recorder::Recorder;
use super::values::{self, Views};
use crate::formats::write_file;

/// `NAME.session`, whether the name ends so or not.
pub fn file_of(name: &Path) -> PathBuf {
    if name.extension().is_some_and(|extension| extension == "session") { name.to_owned() } else { with(name, SESSION) }
}

impl Recorder {
    /// Writes the session so far; without a name, to where it was saved last.
    ///
    /// # Errors
    /// One sentence: there is no name, another session lies there, or the disk fails; what was saved before is then whole.
    pub fn save(&mut self, name: Option<&Path>, replace: bool, interrupt: &AtomicBool) -> Result<Vec<String>, String> {
        if self.debugger.is_taped() {
            return Err(
                "nothing new is recorded here: this session is played from what was recorded, without the weights"
                    .into(),
            );
        }
        let path = name.map(file_of).or_else(|| self.target.clone());
        let path = path.ok_or("where to? save NAME writes NAME.session and NAME.safetensors")?;
        let own = self.target.as_ref() == Some(&path) && self.saved > 0;
        if !own {
            free(&path, replace, "save! in the place of save replaces it")?;
        }
        let folder = std::path::absolute(&path).map_err(|error| error.to_string())?;
        let folder = folder.parent().ok_or_else(|| format!("{} names no file", path.display()))?;
        if self.fingerprint.is_none() {
            self.fingerprint = self.places.fingerprint(self.debugger.model(), interrupt);
        }
        let fingerprint = self.fingerprint.clone().ok_or("not saved: it was interrupted")?;
        let mut header = self.header_at(Some(folder));
        header.sources =
            self.places.sources(Some(folder), true).map_err(|error| format!("a dump cannot be read again: {error}"))?;
        header.verdict = self.debugger.report().as_deref().cloned();
        let (id, config) = (header.id.clone(), self.debugger.model().config_json.clone());
        let views = Views::new(id, config, self.start.clone(), self.events.clone(), fingerprint);
        let graph = Arc::clone(&self.debugger.model().graph);
        let looks = self.debugger.looks().ok_or("nothing is recorded here")?;
        let left_out = Some(looks.left_out.len()).filter(|count| *count > 0);
        let (bytes, tensors) = values::to_bytes(views, looks, &graph)?;
        let beside = values_of(&path);
        let name = beside.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        header.values = Some(Values { file: name, tensors, bytes: bytes.len() as u64, left_out });
        let text = Text { header, lines: self.lines.clone() };
        // The values first: those of the same session hold all that the older text needs. Those of another one stay until
        // its text is gone.
        let before = before(&beside);
        drop(std::fs::remove_file(&before));
        if !own && beside.exists() {
            let kept = std::fs::hard_link(&beside, &before).or_else(|_| std::fs::copy(&beside, &before).map(|_| ()));
            kept.map_err(|error| {
                format!("not saved: {} cannot be kept until that is done: {error}", beside.display())
            })?;
        }
        let written = write_file(&beside, |out| out.write_all(&bytes)).map_err(|error| error.to_string());
        let written = written.and_then(|()| {
            file::save(&path, &text).map_err(|error| {
                // Old text, old values.
                drop(std::fs::rename(&before, &beside));
                error.to_string()
            })
        });
        drop(std::fs::remove_file(&before));
        written?;
        self.saved = self.lines.len();
        let mut said = vec![format!(
            "saved {}: {}, {}; {}: {}, {}",
            path.display(),
            counted(text.lines.len(), "line"),
            size(text.to_string().len() as u64),
            beside.display(),
            counted(tensors, "tensor"),
            size(bytes.len() as u64)
        )];
        if let Some(left_out) = left_out {
            let (tensors, budget) = (counted(left_out, "tensor"), size(self.budget as u64));
            said.push(format!(
                "{tensors} more looked at and left out: a session keeps {budget}, which its limit in the configuration \
                 changes"
            ));
        }
        self.target = Some(path);
        Ok(said)
    }

    /// The header for a session in this folder; without one, for a journal.
    pub(super) fn header_at(&self, folder: Option<&Path>) -> Header {
        let now = self.debugger.header();
        let mut model = ModelFacts { name: now.model, facts: now.facts, ..ModelFacts::default() };
        self.places.locate(&mut model, folder);
        if let Some(fingerprint) = &self.fingerprint {
            model.config_sha256.clone_from(&fingerprint.config);
            model.weights_sha256 = fingerprint.weights();
        }
        let start = &self.start;
        let tokens = Tokens {
            ids: start.tokens.iter().map(|token| token.id).collect(),
            steps: start.forwards.clone(),
            texts: start.tokens.iter().map(|token| token.text.clone()).collect(),
        };
        let mut header = Header { model, tokens, ..self.header.clone() };
        header.engine.suspect.clone_from(&self.places.suspect);
        // Without digests nothing is read, so nothing fails.
        header.sources = self.places.sources(folder, false).unwrap_or_default();
        header
    }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// `512 bytes`, `4.1 kB`, `12.0 MB`.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
