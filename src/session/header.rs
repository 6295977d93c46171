//! The header of a session: what was debugged, and with which program.

use std::fmt::{self, Display, Formatter};
use std::hash::{BuildHasher, RandomState};

use serde::Deserialize;

use super::error::MAJOR;
use super::escape::Quoted;
use crate::diagnose::Report;
use crate::diagnose::finding::ranges;
use crate::engine::arithmetic;

/// The minor version of the format that this program writes: newer ones have more keys, which are ignored.
const MINOR: u32 = 0;

/// What was debugged. Keys that are missing are empty.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Header {
    /// Version of the format, `1.0`.
    pub format: String,
    /// What wrote it, `layerstep 0.1.0`.
    pub program: String,
    /// Digest of what this build computes on this processor: where it is the same, replaying gives the same bits.
    pub arithmetic: String,
    /// Random; the values file has it, too, so that the two are known to belong together.
    pub id: String,
    /// The model.
    pub model: ModelFacts,
    /// What was fed.
    pub tokens: Tokens,
    /// The dumps and what else was read.
    pub sources: Vec<Source>,
    /// Our engine.
    pub engine: Engine,
    /// The size of the screen, if there was one.
    pub screen: Option<Screen>,
    /// What the comparison came to, if there was one: its rows are among the values.
    pub verdict: Option<Report>,
    /// The values file, if there is one.
    pub values: Option<Values>,
}

/// The model of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ModelFacts {
    /// Its name.
    pub name: String,
    /// One line about it: architecture, layers, dtype.
    pub facts: String,
    /// Repository id, when it lay in the Hugging Face cache.
    pub repository: Option<String>,
    /// Where it lay, relative to the folder of the session.
    pub path: Option<String>,
    /// Of config.json.
    pub config_sha256: String,
    /// Of all tensors, however they lie in files.
    pub weights_sha256: String,
}

/// The tokens of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Tokens {
    /// All ids.
    pub ids: Vec<u32>,
    /// How many of them each forward was fed.
    pub steps: Vec<usize>,
    /// The text of each, for those who have no tokenizer.
    pub texts: Vec<String>,
}

/// A file that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Source {
    /// What it was: `reference`, `candidate`.
    pub role: String,
    /// Relative to the folder of the session, or its bare name.
    pub file: String,
    /// Of its bytes.
    pub sha256: String,
    /// Its precision.
    pub dtype: String,
    /// The `--map` file it was read with.
    pub map: Option<String>,
    /// The row of the batch that was taken.
    pub batch: Option<usize>,
}

/// How our engine computed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Engine {
    /// `f32`.
    pub precision: String,
    /// The mistake that `--suspect` switched on.
    pub suspect: Option<String>,
}

impl Default for Engine {
    fn default() -> Self {
        Self { precision: "f32".into(), suspect: None }
    }
}

/// The size of the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Screen {
    /// Columns.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
}

/// The values file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Values {
    /// Its bare name.
    pub file: String,
    /// How many tensors it holds.
    pub tensors: usize,
    /// Its size.
    pub bytes: u64,
    /// How many tensors were looked at and are not in it, because it would have become too large.
    pub left_out: usize,
}

impl Header {
    /// An empty one of this program and processor, with an id of its own.
    pub fn new() -> Self {
        Self {
            format: format!("{MAJOR}.{MINOR}"),
            program: format!("layerstep {}", env!("CARGO_PKG_VERSION")),
            arithmetic: arithmetic().to_owned(),
            id: random_id(),
            ..Self::default()
        }
    }
}

/// 32 hexadecimal digits. The keys of the standard library's hash maps come from the system's random numbers.
fn random_id() -> String {
    let word = |number: u64| RandomState::new().hash_one((number, std::process::id()));
    format!("{:016x}{:016x}", word(0), word(1))
}

/// Columns of a line of an array.
const WIDTH: usize = 100;

/// Prints keys. TOML's own pretty printers give each id of a prompt a line, or all of them one: neither can be read in a
/// diff.
struct Keys<'a, 'b>(&'a mut Formatter<'b>);

impl Keys<'_, '_> {
    fn table(&mut self, title: &str) -> fmt::Result {
        writeln!(self.0, "\n{title}")
    }

    fn text(&mut self, key: &str, value: &str) -> fmt::Result {
        writeln!(self.0, "{key} = {}", Quoted(value))
    }

    fn number(&mut self, key: &str, value: impl Display) -> fmt::Result {
        writeln!(self.0, "{key} = {value}")
    }

    /// On one line where it fits; else on full lines, so that what is added changes only the last of them.
    fn list(&mut self, key: &str, values: impl Iterator<Item = impl Display>) -> fmt::Result {
        let values: Vec<String> = values.map(|value| value.to_string()).collect();
        if key.len() + values.iter().map(|value| value.len() + 2).sum::<usize>() + 5 <= WIDTH {
            return writeln!(self.0, "{key} = [{}]", values.join(", "));
        }
        write!(self.0, "{key} = [")?;
        let mut column = WIDTH;
        for value in values {
            if column + value.len() + 2 > WIDTH {
                write!(self.0, "\n   ")?;
                column = 3;
            }
            write!(self.0, " {value},")?;
            column += value.len() + 2;
        }
        writeln!(self.0, "\n]")
    }

    fn verdict(&mut self, report: &Report) -> fmt::Result {
        self.table("[verdict]")?;
        self.text("word", report.verdict.name())?;
        self.text("sentence", &report.sentence)?;
        for divergence in &report.divergences {
            self.table("[[verdict.divergences]]")?;
            self.text("name", &divergence.name)?;
            self.text("culprit", divergence.culprit.name())?;
            self.list("suspects", divergence.suspects.iter().map(|suspect| Quoted(suspect.id)))?;
            self.text("layers", &ranges(&divergence.layers))?;
            self.text("last_good", divergence.last_good.as_deref().unwrap_or_default())?;
            self.number("exact", divergence.exact)?;
            self.text("summary", &divergence.summary)?;
        }
        Ok(())
    }
}

impl Display for Header {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut keys = Keys(f);
        for (key, value) in
            [("format", &self.format), ("program", &self.program), ("arithmetic", &self.arithmetic), ("id", &self.id)]
        {
            keys.text(key, value)?;
        }
        self.model.print(&mut keys)?;
        keys.table("[tokens]")?;
        keys.list("ids", self.tokens.ids.iter())?;
        keys.list("steps", self.tokens.steps.iter())?;
        keys.list("texts", self.tokens.texts.iter().map(|text| Quoted(text)))?;
        self.sources.iter().try_for_each(|source| source.print(&mut keys))?;
        keys.table("[engine]")?;
        keys.text("precision", &self.engine.precision)?;
        self.engine.suspect.iter().try_for_each(|suspect| keys.text("suspect", suspect))?;
        if let Some(Screen { columns, rows }) = self.screen {
            keys.table("[screen]")?;
            keys.number("columns", columns)?;
            keys.number("rows", rows)?;
        }
        self.verdict.iter().try_for_each(|verdict| keys.verdict(verdict))?;
        self.values.iter().try_for_each(|values| values.print(&mut keys))
    }
}

impl ModelFacts {
    fn print(&self, keys: &mut Keys) -> fmt::Result {
        keys.table("[model]")?;
        keys.text("name", &self.name)?;
        keys.text("facts", &self.facts)?;
        self.repository.iter().try_for_each(|repository| keys.text("repository", repository))?;
        self.path.iter().try_for_each(|path| keys.text("path", path))?;
        keys.text("config_sha256", &self.config_sha256)?;
        keys.text("weights_sha256", &self.weights_sha256)
    }
}

impl Source {
    fn print(&self, keys: &mut Keys) -> fmt::Result {
        keys.table("[[sources]]")?;
        keys.text("role", &self.role)?;
        keys.text("file", &self.file)?;
        keys.text("sha256", &self.sha256)?;
        keys.text("dtype", &self.dtype)?;
        self.map.iter().try_for_each(|map| keys.text("map", map))?;
        self.batch.iter().try_for_each(|batch| keys.number("batch", batch))
    }
}

impl Values {
    fn print(&self, keys: &mut Keys) -> fmt::Result {
        keys.table("[values]")?;
        keys.text("file", &self.file)?;
        keys.number("tensors", self.tensors)?;
        keys.number("bytes", self.bytes)?;
        if self.left_out > 0 { keys.number("left_out", self.left_out) } else { Ok(()) }
    }
}
