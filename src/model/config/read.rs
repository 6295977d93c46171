//! Typed reading of the keys of config.json, with errors that name the key, the value and what was expected.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::ConfigError;
use crate::model::families::{Family, Switch, When};
use crate::ops::Activation;

/// The object of a config.json, or one inside it.
pub(in crate::model) struct Reader<'a> {
    pub(in crate::model) file: &'a str,
    /// Where the object lies in the file: empty, or `rope_parameters.`.
    prefix: String,
    pub(in crate::model) keys: Map<String, Value>,
}

/// A value as it stands in the file, cut when long, with nothing that could disturb a terminal.
pub(in crate::model) fn shown(value: &Value) -> String {
    let text = value.to_string();
    // serde_json escapes C0 controls, but neither C1 nor bidirectional ones.
    let safe: String =
        text.chars().take(60).flat_map(|c| if c == '"' { vec![c] } else { c.escape_debug().collect() }).collect();
    if text.chars().count() > 60 { format!("{safe}...") } else { safe }
}

/// The text as JSON: Python writes numbers without an end as bare words, transformers 5 as `{"__float__": "Infinity"}`.
fn standard(text: &str) -> Cow<'_, str> {
    const WORDS: [&str; 3] = ["-Infinity", "Infinity", "NaN"];
    let (mut written, mut rest, mut is_inside) = (String::new(), text, false);
    while let Some(at) = rest.find(['"', '\\', 'I', 'N', '-']) {
        let (before, found) = rest.split_at(at);
        written.push_str(before);
        if let Some(word) = WORDS.iter().find(|word| !is_inside && found.starts_with(**word)) {
            written.extend(["{\"__float__\": \"", word, "\"}"]);
            rest = &found[word.len()..];
            continue;
        }
        is_inside ^= found.starts_with('"');
        // What is escaped ends no text.
        let length = if found.starts_with('\\') { found.chars().take(2).map(char::len_utf8).sum() } else { 1 };
        written.push_str(&found[..length]);
        rest = &found[length..];
    }
    if written.is_empty() {
        return text.into();
    }
    written.push_str(rest);
    written.into()
}

impl<'a> Reader<'a> {
    pub(in crate::model) fn new(text: &str, file: &'a str) -> Result<Self, ConfigError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let error = |detail: String| ConfigError::Json { file: file.to_owned(), detail };
        match serde_json::from_str(&standard(text)) {
            Ok(Value::Object(keys)) => Ok(Self { file, prefix: String::new(), keys }),
            Ok(other) => Err(error(format!("it holds {}", shown(&other)))),
            Err(cause) => Err(error(cause.to_string().escape_debug().to_string())),
        }
    }

    /// A reader of the object under `key`, whose keys are named `key.inner` in messages.
    pub(in crate::model) fn inside(&self, key: &str, keys: &Map<String, Value>) -> Self {
        Self { file: self.file, prefix: format!("{}{}.", self.prefix, key.escape_debug()), keys: keys.clone() }
    }

    /// The same file with other keys.
    pub(in crate::model) fn with(&self, keys: Map<String, Value>) -> Self {
        Self { file: self.file, prefix: self.prefix.clone(), keys }
    }

    /// The same keys, and those of objects among them as `object.key`.
    pub(in crate::model) fn unfolded(mut self, objects: &[&str]) -> Result<Self, ConfigError> {
        for object in objects {
            match self.keys.remove(*object) {
                None | Some(Value::Null) => {}
                Some(Value::Object(inner)) => {
                    self.keys.extend(inner.into_iter().map(|(key, value)| (format!("{object}.{key}"), value)));
                }
                Some(other) => return Err(self.wrong(object, &other, "an object")),
            }
        }
        Ok(self)
    }

    pub(in crate::model) fn has(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }

    /// The value under `key`; `None` when it is missing or null.
    pub(in crate::model) fn get(&self, key: &str) -> Option<&Value> {
        self.keys.get(key).filter(|value| !value.is_null())
    }

    pub(in crate::model) fn wrong(&self, key: &str, found: &Value, expected: impl Into<String>) -> ConfigError {
        let key = format!("{}{}", self.prefix, key.escape_debug());
        ConfigError::Value { file: self.file.to_owned(), key, found: shown(found), expected: expected.into() }
    }

    pub(in crate::model) fn unsupported(&self, key: &str, found: &Value, hint: impl Into<String>) -> ConfigError {
        let key = format!("{}{}", self.prefix, key.escape_debug());
        ConfigError::Unsupported { file: self.file.to_owned(), key, found: shown(found), hint: hint.into() }
    }

    pub(in crate::model) fn contradiction(&self, detail: String) -> ConfigError {
        ConfigError::Contradiction { file: self.file.to_owned(), detail }
    }

    pub(in crate::model) fn family(&self) -> Result<&'static Family, ConfigError> {
        let file = self.file.to_owned();
        match self.get("model_type") {
            None => Err(ConfigError::NoModelType { file }),
            Some(Value::String(name)) => {
                let mut family = Family::named(name)
                    .ok_or_else(|| ConfigError::Family { file, found: name.escape_debug().to_string() })?;
                while let Some((_, variant)) = family.variants.iter().find(|(when, _)| self.holds(*when)) {
                    family = variant;
                }
                Ok(family)
            }
            Some(other) => Err(self.wrong("model_type", other, "a string")),
        }
    }

    fn holds(&self, when: When) -> bool {
        match when {
            When::Flag(key) => self.get(key).and_then(Value::as_bool) == Some(true),
            When::Off(key) => self.get(key).and_then(Value::as_bool) == Some(false),
            When::Null(key) => self.has(key) && self.get(key).is_none(),
            When::Number(key, number) => self.get(key).and_then(Value::as_u64) == Some(number),
        }
    }

    /// A positive integer of at most `most`.
    pub(in crate::model) fn size(&self, key: &str, default: usize, most: usize) -> Result<usize, ConfigError> {
        match self.keys.get(key) {
            None => Ok(default),
            Some(value) => self.integer(key, value, most),
        }
    }

    /// As [`size`](Self::size), or a list of such integers, one for each layer, which have to be equal.
    pub(in crate::model) fn alike(&self, key: &str, default: usize, most: usize) -> Result<usize, ConfigError> {
        match self.keys.get(key).map(|value| (value, value.as_array())) {
            Some((value, Some(list))) => match list.split_first() {
                Some((first, rest)) if rest.iter().all(|other| other == first) => self.integer(key, first, most),
                _ => Err(self.unsupported(key, value, "; it has to be the same in all layers")),
            },
            _ => self.size(key, default, most),
        }
    }

    /// An integer from 0 to `most`; null is a mistake.
    pub(in crate::model) fn count(&self, key: &str, default: usize, most: usize) -> Result<usize, ConfigError> {
        let Some(value) = self.keys.get(key) else { return Ok(default) };
        let count = value.as_u64().and_then(|count| usize::try_from(count).ok()).filter(|count| *count <= most);
        count.ok_or_else(|| self.wrong(key, value, format!("an integer from 0 to {most}")))
    }

    /// As [`size`](Self::size), where a missing key and null are `None`.
    pub(in crate::model) fn nullable_size(&self, key: &str, most: usize) -> Result<Option<usize>, ConfigError> {
        self.get(key).map(|value| self.integer(key, value, most)).transpose()
    }

    fn integer(&self, key: &str, value: &Value, most: usize) -> Result<usize, ConfigError> {
        match value.as_u64().and_then(|size| usize::try_from(size).ok()) {
            Some(size) if (1..=most).contains(&size) => Ok(size),
            _ => Err(self.wrong(key, value, format!("an integer from 1 to {most}"))),
        }
    }

    /// A finite number of at least `least`.
    pub(in crate::model) fn number(&self, key: &str, default: f64, least: f64) -> Result<f64, ConfigError> {
        match self.keys.get(key) {
            None => Ok(default),
            Some(value) => match value.as_f64() {
                Some(number) if number.is_finite() && number >= least => Ok(number),
                _ if least == f64::MIN_POSITIVE => Err(self.wrong(key, value, "a finite number above 0")),
                _ => Err(self.wrong(key, value, format!("a finite number of at least {least}"))),
            },
        }
    }

    pub(in crate::model) fn flag(&self, key: &str, default: bool) -> Result<bool, ConfigError> {
        match self.keys.get(key) {
            None => Ok(default),
            Some(value) => value.as_bool().ok_or_else(|| self.wrong(key, value, "true or false")),
        }
    }

    /// Whether something is there.
    pub(in crate::model) fn on(&self, switch: Switch) -> Result<bool, ConfigError> {
        match switch {
            Switch::Never => Ok(false),
            Switch::Always => Ok(true),
            Switch::Key(key) => self.flag(key, false),
            Switch::Unless(key) => self.flag(key, true),
            Switch::One(key) => match self.keys.get(key) {
                None => Ok(true),
                Some(Value::Null) => Ok(false),
                Some(value) if value.as_f64() == Some(1.0) => Ok(true),
                Some(value) => Err(self.unsupported(key, value, "; it has 1 and null")),
            },
        }
    }

    /// A list of numbers of layers; empty when it is missing or null.
    pub(in crate::model) fn integers(&self, key: &str) -> Result<Vec<u64>, ConfigError> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let list = value.as_array().and_then(|list| list.iter().map(Value::as_u64).collect::<Option<Vec<u64>>>());
        list.ok_or_else(|| self.wrong(key, value, "a list of integers of at least 0"))
    }

    /// A function by its name; `others` are names that mean another one.
    pub(in crate::model) fn activation(
        &self,
        key: &str,
        default: &str,
        others: &[(&str, &str)],
    ) -> Result<Activation, ConfigError> {
        let meant =
            |name: &str| others.iter().find(|(own, _)| *own == name).map_or(name, |(_, other)| other).to_owned();
        let known = |name: &str| Activation::NAMES.iter().find(|(known, _)| *known == name).map(|(_, act)| *act);
        match self.keys.get(key) {
            None => Ok(known(default).expect("defaults are names of functions")),
            Some(value) => match value.as_str() {
                None => Err(self.wrong(key, value, "the name of a function")),
                Some(name) => known(&meant(name)).ok_or_else(|| {
                    let names: Vec<&str> = Activation::NAMES.iter().map(|(name, _)| *name).collect();
                    self.unsupported(key, value, format!("; the activations it has are {}", names.join(", ")))
                }),
            },
        }
    }
}
