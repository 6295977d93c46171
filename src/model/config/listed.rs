//! Which layers a list says are rotated: windows of some families depend on it, as RoPE does.

use super::{ConfigError, MOST_LAYERS, read::Reader};
use crate::model::families::Rotated;

/// Which of so many layers are rotated, where a list says it; else all.
pub(super) fn listed(reader: &Reader, layers: Rotated, count: usize) -> Result<Vec<bool>, ConfigError> {
    match layers {
        Rotated::Listed { interval } => {
            match reader.get("no_rope_layers").filter(|value| value.as_array().is_none_or(|list| !list.is_empty())) {
                None => {
                    let interval = reader.size("no_rope_layer_interval", interval, MOST_LAYERS)?;
                    Ok((1..=count).map(|layer| !layer.is_multiple_of(interval)).collect())
                }
                Some(value) => {
                    let listed = reader.integers("no_rope_layers")?;
                    if listed.len() != count || listed.iter().any(|rotated| *rotated > 1) {
                        let expected =
                            format!("a list of {count} numbers, 1 for each layer that is rotated and 0 for the others");
                        return Err(reader.wrong("no_rope_layers", value, expected));
                    }
                    Ok(listed.into_iter().map(|rotated| rotated == 1).collect())
                }
            }
        }
        _ => Ok(vec![true; count]),
    }
}
