//! config.json, read into the description of a model.
//!
//! A missing key has the default of transformers' configuration class for the same `model_type`. Every key of the file is
//! read by the family's row, or stands in one table (`config/keys.rs`): harmless, or refused when its value changes the
//! mathematics.

mod blocks;
mod factors;
mod keys;
mod kinds;
mod latent;
mod listed;
mod mixer;
mod mlp;
pub(super) mod read;
mod rope;
mod spec;
mod window;
mod wrapped;

use super::families::Family;
use super::spec::Spec;
use read::Reader;

/// Why a config.json cannot be used. `file` is the path as the user gave it.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum ConfigError {
    #[error("{file} is not a JSON object: {detail}")]
    Json { file: String, detail: String },
    #[error("{file} has no `model_type`, which says which of {} the model is", Family::listed())]
    NoModelType { file: String },
    #[error("{file} has model_type `{found}`; layerstep runs {}", Family::listed())]
    Family { file: String, found: String },
    #[error("{file} has `{key}`: {found} where {expected} was expected")]
    Value { file: String, key: String, found: String, expected: String },
    #[error("{file} has `{key}`: {found}, which changes the mathematics and which layerstep does not implement{hint}")]
    Unsupported { file: String, key: String, found: String, hint: String },
    #[error("{file} contradicts itself: {detail}")]
    Contradiction { file: String, detail: String },
}

/// Sizes above these are typing errors or attacks; below them no product of two sizes overflows.
pub(super) const MOST_WIDE: usize = 1 << 24;
const MOST_LAYERS: usize = 1 << 12;
const MOST_POSITIONS: usize = 1 << 40;

impl Spec {
    /// Reads the text of a config.json; `file` is its name in messages. Also returns notes: what was found in the file
    /// and has no influence on the mathematics.
    pub fn from_json(text: &str, file: &str) -> Result<(Self, Vec<String>), ConfigError> {
        let whole = Reader::new(text, file)?;
        let inner = wrapped::inner(&whole)?;
        let is_wrapped = inner.is_some();
        let reader = inner.unwrap_or(whole);
        let family = reader.family()?;
        let reader = reader.unfolded(family.nested)?;
        let notes = keys::check(&reader, family)?;
        let spec = Self { is_wrapped, ..spec::spec(&reader, family)? };
        Ok((spec, notes))
    }
}
