//! Rotary position embedding as config.json describes it: `rope_theta` with `rope_scaling` (transformers 4), or
//! `rope_parameters` (transformers 5). Precedence as in `convert_rope_params_to_dict` of transformers: a `rope_scaling`
//! that is not empty wins over `rope_parameters`, and a `rope_theta` inside wins over one outside.

use serde_json::Value;

use super::{ConfigError, read::Reader, window};
use crate::model::families::{Family, Windows};
use crate::model::spec::{Rope, Scaling};

/// Keys that only other types of scaling read; `mrope_section` is the multimodal one.
const FOREIGN: [&str; 8] = [
    "attention_factor",
    "beta_fast",
    "beta_slow",
    "short_factor",
    "long_factor",
    "mscale",
    "mscale_all_dim",
    "mrope_section",
];

pub(super) fn read(
    reader: &Reader,
    family: &Family,
    layer_types: Option<&[bool]>,
    max_position_embeddings: usize,
    dims: usize,
) -> Result<Rope, ConfigError> {
    let mut found = None;
    for key in ["rope_scaling", "rope_parameters"] {
        match reader.get(key) {
            None => {}
            Some(Value::Object(keys)) if keys.is_empty() => {}
            Some(Value::Object(keys)) => {
                found = Some((key, keys));
                break;
            }
            Some(other) => return Err(reader.wrong(key, other, "an object or null")),
        }
    }
    let outer = theta(reader, family.defaults.rope_theta)?;
    let Some((key, keys)) = found else { return Ok(Rope { theta: outer, scaling: Scaling::Default, dims }) };
    let inside = reader.inside(key, keys);
    if !window::nested(keys) {
        return one(reader, &inside, outer, max_position_embeddings, dims);
    }
    if !matches!(family.windows, Windows::ByLayer | Windows::Alternate) {
        let hint = format!(", since layers of model_type {} have no attention types", family.name);
        return Err(reader.unsupported(key, &Value::Object(keys.clone()), hint));
    }
    let mut ropes = Vec::new();
    for name in window::used_types(layer_types) {
        match keys.get(name) {
            Some(Value::Object(inner)) => {
                ropes.push(one(reader, &inside.inside(name, inner), outer, max_position_embeddings, dims)?);
            }
            // Without a list of layer types every layer may be full, and the entry for the other type may be missing.
            None if layer_types.is_none() => {}
            other => {
                return Err(inside.wrong(name, other.unwrap_or(&Value::Null), "the RoPE parameters of its layers"));
            }
        }
    }
    match ropes.as_slice() {
        [first, rest @ ..] if rest.iter().all(|rope| rope == first) => Ok(*first),
        _ => Err(reader.unsupported(key, &Value::Object(keys.clone()), ": one RoPE for all layers is what it has")),
    }
}

fn theta(reader: &Reader, default: f64) -> Result<f64, ConfigError> {
    match reader.get("rope_theta") {
        None => Ok(default),
        Some(_) => reader.number("rope_theta", default, f64::MIN_POSITIVE),
    }
}

/// One set of parameters, not nested.
fn one(
    outer: &Reader,
    inside: &Reader,
    default_theta: f64,
    max_positions: usize,
    dims: usize,
) -> Result<Rope, ConfigError> {
    if let Some(value) = inside.get("partial_rotary_factor")
        && value.as_f64() != Some(1.0)
    {
        return Err(inside.unsupported("partial_rotary_factor", value, "; it rotates whole heads"));
    }
    let key = if inside.has("rope_type") { "rope_type" } else { "type" };
    let name = match inside.get(key) {
        None => "default",
        Some(Value::String(name)) => name,
        Some(other) => return Err(inside.wrong(key, other, "a string")),
    };
    let scaling = match name {
        "default" => Scaling::Default,
        "linear" => Scaling::Linear { factor: required(inside, "factor")? },
        "llama3" => {
            let original = "original_max_position_embeddings";
            // Outside it wins, as in `standardize_rope_params`.
            let original = match (outer.get(original), inside.get(original)) {
                (Some(_), _) => required(outer, original)?,
                (None, Some(_)) => required(inside, original)?,
                (None, None) => max_positions as f32,
            };
            let (low, high) = (required(inside, "low_freq_factor")?, required(inside, "high_freq_factor")?);
            if low >= high {
                return Err(inside.contradiction(format!(
                    "the low_freq_factor of its llama3 RoPE ({low}) must be below the high_freq_factor ({high})"
                )));
            }
            Scaling::Llama3 { factor: required(inside, "factor")?, low, high, original }
        }
        _ => {
            let value = inside.get(key).unwrap_or(&Value::Null);
            return Err(inside.unsupported(key, value, "; the RoPE types it has are default, linear and llama3"));
        }
    };
    if let Some(foreign) = FOREIGN.into_iter().find(|key| inside.get(key).is_some()) {
        let value = inside.get(foreign).unwrap_or(&Value::Null);
        return Err(inside.unsupported(foreign, value, format!(" with RoPE type {name}")));
    }
    Ok(Rope { theta: theta(inside, default_theta)?, scaling, dims })
}

/// A number above zero that has no default.
fn required(reader: &Reader, key: &str) -> Result<f32, ConfigError> {
    let number = match reader.get(key) {
        None => return Err(reader.wrong(key, &Value::Null, "a number above 0")),
        Some(value) => value.as_f64().filter(|number| *number > 0.0 && *number <= f64::from(f32::MAX)),
    };
    number.map(|number| number as f32).ok_or_else(|| {
        let value = reader.get(key).unwrap_or(&Value::Null);
        reader.wrong(key, value, "a number above 0")
    })
}
