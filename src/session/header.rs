//! The header of a session: what was debugged, and with which program.

use std::fmt::{self, Formatter};
use std::hash::{BuildHasher, RandomState};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::MAJOR;
use super::escape::Quoted;
use crate::diagnose::Report;
use crate::engine::arithmetic;

/// The minor version of the format that this program writes: newer ones have more keys, which are ignored.
const MINOR: u32 = 0;

/// What was debugged. Keys that are missing are empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
    #[serde(skip_serializing_if = "Vec::is_empty")]
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Screen {
    /// Columns.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
}

/// The values file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Values {
    /// Its bare name.
    pub file: String,
    /// How many tensors it holds.
    pub tensors: usize,
    /// Its size.
    pub bytes: u64,
    /// How many tensors were looked at and are not in it, because it would have become too large.
    pub left_out: Option<usize>,
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

impl fmt::Display for Header {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match serde_json::to_value(self) {
            Ok(Value::Object(keys)) => table(f, "", &keys),
            _ => Err(fmt::Error),
        }
    }
}

/// Prints a table: its keys, then the tables in it. TOML's own pretty printers give each id of a prompt a line, or all of
/// them one: neither can be read in a diff.
fn table(f: &mut Formatter, path: &str, keys: &Map<String, Value>) -> fmt::Result {
    for (key, value) in keys {
        match value {
            Value::Null | Value::Object(_) => {}
            Value::Array(values) if values.iter().any(Value::is_object) => {}
            Value::Array(values) => list(f, key, values)?,
            value => writeln!(f, "{key} = {}", literal(value))?,
        }
    }
    for (key, value) in keys {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        if let Value::Object(keys) = value {
            writeln!(f, "\n[{path}]")?;
            table(f, &path, keys)?;
        }
        for keys in value.as_array().into_iter().flatten().filter_map(Value::as_object) {
            writeln!(f, "\n[[{path}]]")?;
            table(f, &path, keys)?;
        }
    }
    Ok(())
}

/// On one line where it fits; else on full lines, so that what is added changes only the last of them.
fn list(f: &mut Formatter, key: &str, values: &[Value]) -> fmt::Result {
    let values: Vec<String> = values.iter().map(literal).collect();
    if key.len() + values.iter().map(|value| value.len() + 2).sum::<usize>() + 5 <= WIDTH {
        return writeln!(f, "{key} = [{}]", values.join(", "));
    }
    write!(f, "{key} = [")?;
    let mut column = WIDTH;
    for value in values {
        if column + value.len() + 2 > WIDTH {
            write!(f, "\n   ")?;
            column = 3;
        }
        write!(f, " {value},")?;
        column += value.len() + 2;
    }
    writeln!(f, "\n]")
}

fn literal(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), |text| Quoted(text).to_string())
}
