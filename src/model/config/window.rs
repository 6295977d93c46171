//! Which layers see only the last positions: the rules of `Qwen2Config.__post_init__` and of each `modeling_*.py` of
//! transformers. A query at position p sees key j when `p - j < window` (`sliding_window_overlay` of `masking_utils.py`).

use serde_json::Value;

use super::{Architecture, ConfigError, MOST_POSITIONS, read::Reader};

const FULL: &str = "full_attention";
const SLIDING: &str = "sliding_attention";

/// What `layer_types` says of each layer: whether it has a window. `None` when the file does not say.
pub(super) fn layer_types(
    reader: &Reader,
    architecture: Architecture,
    layers: usize,
) -> Result<Option<Vec<bool>>, ConfigError> {
    let Some(value) = reader.get("layer_types") else { return Ok(None) };
    let Some(names) = value.as_array() else { return Err(reader.wrong("layer_types", value, "a list of strings")) };
    if names.len() != layers {
        return Err(reader
            .contradiction(format!("layer_types lists {} layers, but num_hidden_layers is {layers}", names.len())));
    }
    let mut sliding = Vec::with_capacity(layers);
    for name in names {
        sliding.push(match name.as_str() {
            // "attention" is the older spelling, mapped by `remap_legacy_layer_types`.
            Some(FULL | "attention") => false,
            Some(SLIDING) => true,
            _ => return Err(reader.unsupported("layer_types", name, format!("; it has {FULL} and {SLIDING}"))),
        });
    }
    // transformers' Llama and Mistral do not read the list for the mask, yet its cache does: only an agreeing list is
    // unambiguous.
    let ambiguous = match architecture {
        Architecture::Llama => sliding.contains(&true),
        Architecture::Mistral => {
            let window =
                reader.nullable_size("sliding_window", MOST_POSITIONS)?.is_some() || !reader.has("sliding_window");
            sliding.contains(&!window)
        }
        Architecture::Qwen2 | Architecture::Qwen3 => false,
    };
    if ambiguous {
        let hint = format!(" for model_type {}, where every layer has the same attention", architecture.name());
        return Err(reader.unsupported("layer_types", value, hint));
    }
    Ok(Some(sliding))
}

/// The window of each layer.
pub(super) fn per_layer(
    reader: &Reader,
    architecture: Architecture,
    layers: usize,
    types: Option<&[bool]>,
) -> Result<Vec<Option<usize>>, ConfigError> {
    let declared = || -> Result<Option<usize>, ConfigError> {
        Ok(match reader.nullable_size("sliding_window", MOST_POSITIONS)? {
            None if !reader.has("sliding_window") => Some(4096),
            window => window,
        })
    };
    match architecture {
        Architecture::Llama => Ok(vec![None; layers]),
        Architecture::Mistral => Ok(vec![declared()?; layers]),
        Architecture::Qwen2 | Architecture::Qwen3 => {
            let window = if reader.flag("use_sliding_window", false)? { declared()? } else { None };
            if window.is_none() && types.is_some_and(|types| types.contains(&true)) {
                return Err(reader.contradiction(format!(
                    "layer_types has {SLIDING}, but use_sliding_window is not true or sliding_window is null"
                )));
            }
            // The first layers attend to everything, and `max_window_layers` of them may well be all.
            let first = match reader.keys.get("max_window_layers") {
                None => 28,
                Some(value) => value
                    .as_u64()
                    .ok_or_else(|| reader.wrong("max_window_layers", value, "an integer of at least 0"))?,
            };
            let slides = |layer: usize| types.map_or(layer as u64 >= first, |types| types[layer]);
            Ok((0..layers).map(|layer| window.filter(|_| slides(layer))).collect())
        }
    }
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
