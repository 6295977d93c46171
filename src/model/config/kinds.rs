//! What layers of one kind have of their own, and what layers give each other: `Gemma4TextConfig` of transformers.

use serde_json::Value;

use super::read::Reader;
use super::{ConfigError, MOST_LAYERS, MOST_WIDE};
use crate::model::families::Family;
use crate::model::spec::{Attn, Feed, Mlp, PerLayer};

const BY_LAYER: &str = "per_layer_config";

/// The heads of a kind of layers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Kind {
    kv_heads: usize,
    pub(super) head_dim: usize,
    values_are_keys: bool,
}

/// Layers with a window and without, and those that read from others.
pub(super) struct Kinds {
    usual: Kind,
    /// Of layers without a window.
    pub(super) global: Kind,
    is_global: Vec<bool>,
    /// The layer that each reads keys and values of, where that is not itself.
    from: Vec<Option<usize>>,
    /// Whether the MLP of those that do is twice as wide.
    wide: bool,
}

impl Kinds {
    pub(super) fn read(
        reader: &Reader,
        family: &Family,
        windows: &[Option<usize>],
        (heads, kv_heads, head_dim): (usize, usize, usize),
    ) -> Result<Self, ConfigError> {
        let usual = Kind { kv_heads, head_dim, values_are_keys: false };
        let is_global: Vec<bool> = windows.iter().map(Option::is_none).collect();
        let global = match family.global {
            None => usual,
            Some(row) if reader.get(BY_LAYER).is_some() => {
                let values_are_keys = reader.flag(row.values_are_keys, false)?;
                by_layer(reader, &is_global, Kind { values_are_keys, ..usual })?
            }
            Some(row) => {
                let values_are_keys = reader.flag(row.values_are_keys, false)?;
                let own = reader.nullable_size(row.key_heads, MOST_WIDE)?.filter(|_| values_are_keys);
                let head_dim = reader.size(row.head_dim.0, row.head_dim.1, MOST_WIDE)?;
                Kind { kv_heads: own.unwrap_or(kv_heads), head_dim, values_are_keys }
            }
        };
        let Kind { kv_heads, head_dim, .. } = global;
        let fits =
            heads.is_multiple_of(kv_heads) && head_dim.is_multiple_of(2) && heads.saturating_mul(head_dim) <= MOST_WIDE;
        if family.global.is_some() && !fits {
            return Err(reader.contradiction(format!(
                "layers without a window have {kv_heads} key heads of {head_dim} channels for {heads} query heads"
            )));
        }
        let (mut from, mut wide) = (vec![None; windows.len()], false);
        if let Some(row) = family.sharing {
            wide = reader.flag(row.wide, false)?;
            let count = if reader.get(row.layers).is_some() { reader.count(row.layers, 0, MOST_LAYERS)? } else { 0 };
            let first = windows.len().saturating_sub(count);
            for layer in first..windows.len() {
                let alike = (0..first).rev().find(|own| is_global[*own] == is_global[layer]);
                from[layer] = Some(alike.ok_or_else(|| {
                    reader.contradiction(format!("{} ({count}) leaves layer {layer} no keys to read", row.layers))
                })?);
            }
        }
        Ok(Self { usual, global, is_global, from, wide })
    }

    pub(super) fn attn(&self, layer: usize, attn: Attn) -> Attn {
        let Kind { kv_heads, head_dim, values_are_keys } = if self.is_global[layer] { self.global } else { self.usual };
        Attn { kv_heads, head_dim, values_are_keys, from: self.from[layer], ..attn }
    }

    pub(super) fn mlp(&self, layer: usize, mlp: Mlp) -> Mlp {
        match mlp {
            Mlp::Gated(feed) if self.wide && self.from[layer].is_some() => {
                Mlp::Gated(Feed { width: 2 * feed.width, ..feed })
            }
            other => other,
        }
    }
}

/// Heads of layers without a window as transformers 5 writes them: `{"5": {"head_dim": 512}}`.
fn by_layer(reader: &Reader, is_global: &[bool], usual: Kind) -> Result<Kind, ConfigError> {
    let value = reader.get(BY_LAYER).unwrap_or(&Value::Null);
    let refused = || reader.unsupported(BY_LAYER, value, "; it has one kind of heads for layers without a window");
    let layers = value.as_object().ok_or_else(|| reader.wrong(BY_LAYER, value, "an object"))?;
    let of = |layer: usize| -> Result<Kind, ConfigError> {
        let Some(own) = layers.get(&layer.to_string()).and_then(Value::as_object) else { return Ok(usual) };
        if own.keys().any(|key| !["head_dim", "num_key_value_heads"].contains(&&key[..])) {
            return Err(refused());
        }
        let own = reader.inside(BY_LAYER, own);
        Ok(Kind {
            head_dim: own.size("head_dim", usual.head_dim, MOST_WIDE)?,
            kv_heads: own.size("num_key_value_heads", usual.kv_heads, MOST_WIDE)?,
            ..usual
        })
    };
    let mut global = None;
    for (layer, is_global) in is_global.iter().enumerate() {
        let own = of(layer)?;
        if own != *if *is_global { global.get_or_insert(own) } else { &usual } {
            return Err(refused());
        }
    }
    Ok(global.unwrap_or(usual))
}

/// Inputs of each layer.
pub(super) fn per_layer(reader: &Reader, family: &Family) -> Result<Option<PerLayer>, ConfigError> {
    let Some(row) = family.per_layer else { return Ok(None) };
    let (key, default) = row.width;
    let is_null = reader.has(key) && reader.get(key).is_none();
    let width = if is_null { 0 } else { reader.count(key, default, MOST_WIDE)? };
    if width == 0 {
        return Ok(None);
    }
    let act = reader.activation(family.keys.act.unwrap_or_default(), family.defaults.act, family.acts)?;
    Ok(Some(PerLayer { width, vocab: reader.size(row.vocab.0, row.vocab.1, MOST_WIDE)?, act }))
}
