//! Which layers see only the last positions: the rules of `Qwen2Config.__post_init__` and of each `modeling_*.py` of
//! transformers. A query at position p sees key j when `p - j < window` (`sliding_window_overlay` of `masking_utils.py`).

use serde_json::Value;

use super::{ConfigError, MOST_LAYERS, MOST_POSITIONS, listed::listed, read::Reader};
use crate::model::families::{Family, Windows};

pub(super) const FULL: &str = "full_attention";
pub(super) const SLIDING: &str = "sliding_attention";
const CHUNKED: &str = "chunked_attention";

/// What `layer_types` says of each layer: whether it has a window. `None` when the file does not say.
pub(super) fn layer_types(reader: &Reader, family: &Family, layers: usize) -> Result<Option<Vec<bool>>, ConfigError> {
    // Where blocks have one part each, it says which.
    let value = reader.get("layer_types").filter(|_| family.blocks.is_none());
    let Some(value) = value else { return Ok(None) };
    let Some(names) = value.as_array() else { return Err(reader.wrong("layer_types", value, "a list of strings")) };
    if names.len() != layers {
        return Err(reader
            .contradiction(format!("layer_types lists {} layers, but num_hidden_layers is {layers}", names.len())));
    }
    let other = if matches!(family.windows, Windows::Chunks(_)) { CHUNKED } else { SLIDING };
    let mut sliding = Vec::with_capacity(layers);
    for name in names {
        sliding.push(match name.as_str() {
            // "attention" is the older spelling, mapped by `remap_legacy_layer_types`.
            Some(FULL | "attention") => false,
            Some(name) if name == other => true,
            // What stands in the place of attention has no window.
            Some(word) if family.mixer.is_some_and(|mixer| mixer.words.contains(&word)) => false,
            _ => {
                let known = family.mixer.map_or(other.into(), |mixer| mixer.words.join(" or "));
                return Err(reader.unsupported("layer_types", name, format!("; it has {FULL} and {known}")));
            }
        });
    }
    // Whatever the list says.
    if let (Windows::AllButLast { .. }, Some(last)) = (family.windows, sliding.last_mut()) {
        *last = false;
    }
    // The models that do not read the list for the mask have a cache that does: only an agreeing list is unambiguous.
    let ambiguous = match family.windows {
        Windows::None => sliding.contains(&true),
        Windows::All | Windows::AllIfUsed => {
            let window = declared(reader, family)?.is_some();
            sliding.contains(&!window)
        }
        Windows::ByLayer { .. }
        | Windows::AsListed
        | Windows::Chunks(_)
        | Windows::NotRotated
        | Windows::AllBut { .. }
        | Windows::AllButFirst { .. }
        | Windows::AllButLast { .. } => false,
    };
    if ambiguous {
        let hint = format!(" for model_type {}, where every layer has the same attention", family.name);
        return Err(reader.unsupported("layer_types", value, hint));
    }
    Ok(Some(sliding))
}

/// The window of each layer.
pub(super) fn per_layer(
    reader: &Reader,
    family: &Family,
    layers: usize,
    types: Option<&[bool]>,
) -> Result<Vec<Option<usize>>, ConfigError> {
    let window = declared(reader, family)?;
    match family.windows {
        Windows::None => Ok(vec![None; layers]),
        Windows::All | Windows::AllIfUsed => Ok(vec![window; layers]),
        Windows::Chunks(_) => {
            let rotated = match family.rope {
                Some(row) => listed(reader, row.layers, layers)?,
                None => vec![true; layers],
            };
            let is_chunked = |layer: usize| types.map_or(rotated[layer], |types| types[layer]);
            Ok((0..layers).map(|layer| window.filter(|_| is_chunked(layer))).collect())
        }
        Windows::AllBut { key, every } => {
            let every = match key.filter(|_| types.is_none()) {
                Some(key) => reader.size(key, every, MOST_LAYERS)?,
                None => every,
            };
            let slides = |layer: usize| types.map_or(!(layer + 1).is_multiple_of(every), |types| types[layer]);
            Ok((0..layers).map(|layer| window.filter(|_| slides(layer))).collect())
        }
        Windows::AllButLast { every } => {
            let usual = |layer: usize| !(layer + 1).is_multiple_of(every) && layer + 1 < layers;
            let slides = |layer: usize| types.map_or(usual(layer), |types| types[layer]);
            Ok((0..layers).map(|layer| window.filter(|_| slides(layer))).collect())
        }
        Windows::AllButFirst { key, every } => {
            let every = if types.is_some() { every } else { reader.size(key, every, MOST_LAYERS)? };
            let slides = |layer: usize| types.map_or(!layer.is_multiple_of(every), |types| types[layer]);
            Ok((0..layers).map(|layer| window.filter(|_| slides(layer))).collect())
        }
        Windows::AsListed | Windows::NotRotated => {
            agree(reader, window, types)?;
            let rotated = match family.rope {
                Some(row) if family.windows == Windows::NotRotated => listed(reader, row.layers, layers)?,
                _ => vec![false; layers],
            };
            let slides = |layer: usize| types.map_or(!rotated[layer], |types| types[layer]);
            Ok((0..layers).map(|layer| window.filter(|_| slides(layer))).collect())
        }
        Windows::ByLayer { first: usual } => {
            agree(reader, window, types)?;
            // The first layers attend to everything, and `max_window_layers` of them may well be all.
            let first = match reader.keys.get("max_window_layers") {
                None => usual,
                Some(value) => value
                    .as_u64()
                    .ok_or_else(|| reader.wrong("max_window_layers", value, "an integer of at least 0"))?,
            };
            let slides = |layer: usize| types.map_or(layer as u64 >= first, |types| types[layer]);
            Ok((0..layers).map(|layer| window.filter(|_| slides(layer))).collect())
        }
    }
}

/// Refuses layers that have a window by their type where there is none.
fn agree(reader: &Reader, window: Option<usize>, types: Option<&[bool]>) -> Result<(), ConfigError> {
    if window.is_none() && types.is_some_and(|types| types.contains(&true)) {
        return Err(reader.contradiction(format!(
            "layer_types has {SLIDING}, but use_sliding_window is not true or sliding_window is null"
        )));
    }
    Ok(())
}

/// The window of the layers that have one.
fn declared(reader: &Reader, family: &Family) -> Result<Option<usize>, ConfigError> {
    let asked = matches!(family.windows, Windows::ByLayer { .. } | Windows::AllIfUsed | Windows::NotRotated);
    if family.windows == Windows::None || (asked && !reader.flag("use_sliding_window", false)?) {
        return Ok(None);
    }
    if let Windows::Chunks(default) = family.windows {
        let found = reader.nullable_size("attention_chunk_size", MOST_POSITIONS)?;
        return Ok(found.or((!reader.has("attention_chunk_size")).then_some(default)));
    }
    let key = family.encoder.map_or("sliding_window", |encoder| encoder.window);
    let window = match reader.nullable_size(key, MOST_POSITIONS)? {
        None if !reader.has(key) => family.defaults.sliding_window,
        window => window,
    };
    // Of an encoder's window each side has a half, and the query itself is counted.
    Ok(if family.encoder.is_some() { window.map(|both| both / 2 + 1) } else { window })
}

/// The names of the attention types some layer has; nested rotary parameters are looked up by them.
pub(super) fn used_types(types: Option<&[bool]>) -> Vec<&'static str> {
    let has = |sliding: bool| types.is_none_or(|types| types.contains(&sliding));
    [(false, FULL), (true, SLIDING)].into_iter().filter(|(sliding, _)| has(*sliding)).map(|(_, name)| name).collect()
}

/// Whether `parameters` is divided by attention type.
pub(super) fn nested(parameters: &serde_json::Map<String, Value>) -> bool {
    parameters.iter().any(|(key, value)| (key == FULL || key == SLIDING) && (value.is_object() || value.is_null()))
}
