//! `generation_config.json`: how the authors of a model sample from it, and where it stops.

use std::path::Path;

use serde_json::Value;

use super::config::{ConfigError, read::Reader};
use super::load::{LoadError, read_text, shown};

/// What the files of a model say about generation; `None` where they say nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GenerationDefaults {
    /// Tokens that end the text.
    pub eos_token_ids: Vec<u32>,
    /// The token that begins one.
    pub bos_token_id: Option<u32>,
    /// The token that fills the sequences of a batch up.
    pub pad_token_id: Option<u32>,
    /// Whether to sample at all; otherwise the best token is taken.
    pub do_sample: bool,
    /// Logits are divided by this.
    pub temperature: Option<f32>,
    /// Only this many of the best tokens are considered.
    pub top_k: Option<usize>,
    /// Only the best tokens that together have this probability.
    pub top_p: Option<f32>,
    /// Only tokens with at least this fraction of the best one's probability.
    pub min_p: Option<f32>,
    /// Logits of tokens that were there already are divided by this when positive, multiplied when negative.
    pub repetition_penalty: Option<f32>,
}

impl GenerationDefaults {
    /// Reads `generation_config.json` of the model in `dir`, and the token ids it does not name from config.json. As in
    /// transformers, config.json stands in for it when it is not there.
    pub fn load(dir: &Path) -> Result<Self, LoadError> {
        let read = |name: &str| -> Result<Self, LoadError> {
            let file = dir.join(name);
            Ok(Self::from_json(&read_text(&file)?, &shown(&file))?)
        };
        let outer = read("config.json")?;
        if !dir.join("generation_config.json").exists() {
            return Ok(outer);
        }
        let mut inner = read("generation_config.json")?;
        if inner.eos_token_ids.is_empty() {
            inner.eos_token_ids = outer.eos_token_ids;
        }
        inner.bos_token_id = inner.bos_token_id.or(outer.bos_token_id);
        inner.pad_token_id = inner.pad_token_id.or(outer.pad_token_id);
        Ok(inner)
    }

    /// Tokens that batches are filled up with: the one for that, those that begin and end a text, which stand in, and what
    /// a buffer of zeros holds.
    pub fn fills_up(&self, id: u32) -> bool {
        id == 0 || self.eos_token_ids.contains(&id) || [self.bos_token_id, self.pad_token_id].contains(&Some(id))
    }

    /// Reads the text of a `generation_config.json` or config.json; `file` is its name in messages.
    pub fn from_json(text: &str, file: &str) -> Result<Self, ConfigError> {
        let reader = Reader::new(text, file)?;
        let ids = |key: &str| -> Result<Vec<u32>, ConfigError> {
            let one = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
            let Some(value) = reader.get(key) else { return Ok(Vec::new()) };
            let ids = match value {
                Value::Array(list) => list.iter().map(one).collect(),
                // -1 is how some configurations say that there is none.
                Value::Number(number) if number.as_i64() == Some(-1) => Some(Vec::new()),
                value => one(value).map(|id| vec![id]),
            };
            ids.ok_or_else(|| reader.wrong(key, value, "a token id or a list of them"))
        };
        let number = |key: &str, most: f64| -> Result<Option<f32>, ConfigError> {
            let Some(value) = reader.get(key) else { return Ok(None) };
            match value.as_f64() {
                Some(number) if (0.0..=most).contains(&number) => Ok(Some(number as f32)),
                _ => Err(reader.wrong(key, value, format!("a number from 0 to {most}"))),
            }
        };
        let whole = |value: &Value| value.as_u64().and_then(|k| usize::try_from(k).ok());
        let top_k = match reader.get("top_k") {
            None => None,
            Some(value) => Some(whole(value).ok_or_else(|| reader.wrong("top_k", value, "an integer of at least 0"))?),
        };
        Ok(Self {
            eos_token_ids: ids("eos_token_id")?,
            bos_token_id: ids("bos_token_id")?.first().copied(),
            pad_token_id: ids("pad_token_id")?.first().copied(),
            do_sample: reader.get("do_sample").is_some_and(|value| value == &Value::Bool(true)),
            temperature: number("temperature", 1e6)?,
            top_k,
            top_p: number("top_p", 1.0)?,
            min_p: number("min_p", 1.0)?,
            repetition_penalty: number("repetition_penalty", 1e6)?,
        })
    }
}
