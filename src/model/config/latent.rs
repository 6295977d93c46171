//! Multi-head latent attention as config.json describes it: `DeepseekV2Config`, `DeepseekV3Config` and those made of them.

use serde_json::Value;

use super::read::Reader;
use super::{ConfigError, MOST_WIDE};
use crate::model::families::{Family, LatentRow};
use crate::model::spec::{Latent, Norm};

/// How queries, keys and values are made of narrow rows, if they are.
pub(super) fn read(reader: &Reader, family: &Family, heads: usize, norm: Norm) -> Result<Option<Latent>, ConfigError> {
    let Some(LatentRow { query, width, own, turned, value, eps }) = family.latent else { return Ok(None) };
    let size = |key, default| reader.size(key, default, MOST_WIDE);
    let query = if reader.has("q_lora_rank") { reader.nullable_size("q_lora_rank", MOST_WIDE)? } else { query };
    let (own, turned) = (size("qk_nope_head_dim", own)?, size("qk_rope_head_dim", turned)?);
    let latent = Latent {
        query,
        width: size("kv_lora_rank", width)?,
        own,
        turned,
        value: size("v_head_dim", value)?,
        norm: Norm { eps, ..norm },
    };
    if !turned.is_multiple_of(2) || heads.saturating_mul(own + turned + latent.value) > MOST_WIDE {
        return Err(reader.contradiction(format!(
            "qk_rope_head_dim ({turned}) has to be even, and the channels of {heads} heads at most {MOST_WIDE}"
        )));
    }
    for (key, meant) in [("head_dim", turned), ("qk_head_dim", own + turned)] {
        if let Some(value) = reader.get(key).filter(|value| value.as_u64() != Some(meant as u64)) {
            return Err(reader.unsupported(
                key,
                value,
                format!("; beside the widths of its parts it has to be {meant}"),
            ));
        }
    }
    if let Some(count) = reader.get("num_key_value_heads").filter(|count| count.as_u64() != Some(heads as u64)) {
        return Err(reader.unsupported("num_key_value_heads", count, format!("; each of {heads} heads has a key")));
    }
    Ok(Some(latent))
}

/// What scores are multiplied by beside the root of a head's width: `yarn_apply_mscale` of transformers.
pub(super) fn score_factor(reader: &Reader) -> Result<f64, ConfigError> {
    let objects =
        ["rope_scaling", "rope_parameters"].into_iter().filter_map(|key| Some((key, reader.get(key)?.as_object()?)));
    let Some((key, keys)) = { objects }.find(|(_, keys)| !keys.is_empty()) else { return Ok(1.0) };
    let inside = reader.inside(key, keys);
    let kind = inside.get("rope_type").or_else(|| inside.get("type")).and_then(Value::as_str);
    if kind.is_none_or(|kind| kind == "default") || inside.get("mscale_all_dim").is_none() {
        return Ok(1.0);
    }
    let (all_dims, factor) =
        (inside.number("mscale_all_dim", 0.0, 0.0)?, inside.number("factor", 1.0, f64::MIN_POSITIVE)?);
    let longer = if factor <= 1.0 { 1.0 } else { 0.1 * all_dims * factor.ln() + 1.0 };
    Ok(longer * longer)
}
