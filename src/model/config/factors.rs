//! Constants that parts of a block are multiplied by, as config.json describes them.

use serde_json::Value;

use super::ConfigError;
use super::read::Reader;
use crate::model::families::Family;

/// Constants that parts of a block are multiplied by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Factors {
    /// What attention reads, and what it gives.
    pub(super) attention: [f64; 2],
    /// Keys.
    pub(super) key: f64,
    /// What the mixer reads, and what it gives.
    pub(super) mixer: [f64; 2],
    /// What a selective state space is made from.
    pub(super) parts: [f64; 5],
    /// The gate of the MLP, and what it gives.
    pub(super) mlp: [f64; 2],
}

impl Factors {
    pub(super) fn read(reader: &Reader, family: &Family) -> Result<Self, ConfigError> {
        let Some(row) = family.factors else {
            return Ok(Self { attention: [1.0; 2], key: 1.0, mixer: [1.0; 2], parts: [1.0; 5], mlp: [1.0; 2] });
        };
        let number = |key: &str| reader.number(key, 1.0, f64::MIN_POSITIVE);
        let pair = |[first, second]: [&str; 2]| Ok::<_, ConfigError>([number(first)?, number(second)?]);
        Ok(Self {
            attention: pair(row.attention)?,
            key: number(row.key)?,
            mixer: pair(row.mixer)?,
            parts: listed(reader, row.parts)?,
            mlp: listed(reader, row.mlp)?,
        })
    }
}

/// So many positive numbers; null is a 1 for each.
fn listed<const N: usize>(reader: &Reader, key: &str) -> Result<[f64; N], ConfigError> {
    let Some(value) = reader.get(key) else { return Ok([1.0; N]) };
    let numbers = value.as_array().and_then(|list| list.iter().map(Value::as_f64).collect::<Option<Vec<_>>>());
    let positive = numbers.filter(|list| list.iter().all(|number| number.is_finite() && *number > 0.0));
    positive
        .and_then(|list| list.try_into().ok())
        .ok_or_else(|| reader.wrong(key, value, format!("a list of {N} finite numbers above 0")))
}
