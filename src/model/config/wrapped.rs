//! The keys of a language model that is one of several: under `text_config`, or, as transformers 4 wrote some, among the others.

use serde_json::{Map, Value};

use super::{ConfigError, keys, read::Reader};
use crate::model::families::{Family, Wrapped};

const TEXT: &str = "text_config";
const TIED: &str = "tie_word_embeddings";
const TYPE: &str = "model_type";

/// The language model's keys, if there are other models beside it.
pub(super) fn inner<'a>(whole: &Reader<'a>) -> Result<Option<Reader<'a>>, ConfigError> {
    let name = whole.get(TYPE).and_then(Value::as_str);
    let Some(row) = Family::WRAPPED.iter().find(|row| Some(row.name) == name) else { return Ok(None) };
    let (prefix, mut keys) = match whole.get(TEXT) {
        Some(Value::Object(keys)) => {
            keys::check_whole(whole, row)?;
            (TEXT, keys.clone())
        }
        None if row.flat => ("", flat(whole, row)),
        other => return Err(whole.wrong(TEXT, other.unwrap_or(&Value::Null), "the keys of the language model")),
    };
    keys.retain(|key, _| !row.without.contains(&key.as_str()));
    keys.entry(TYPE).or_insert(row.text.into());
    // What the whole says wins.
    if let Some(tied) = whole.get(TIED).cloned() {
        keys.insert(TIED.into(), tied);
    }
    keys.entry(TIED).or_insert(row.tied.into());
    Ok(Some(if prefix.is_empty() { whole.with(keys) } else { whole.inside(prefix, &keys) }))
}

/// All but what is about the other models.
fn flat(whole: &Reader, row: &Wrapped) -> Map<String, Value> {
    let mut keys = whole.keys.clone();
    keys.retain(|key, _| !Wrapped::KEYS.contains(&key.as_str()) && !key.ends_with("_token_id"));
    keys.insert(TYPE.into(), row.text.into());
    keys
}
