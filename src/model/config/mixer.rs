//! What stands in the place of attention in each layer, as config.json describes it.

use serde_json::Value;

use super::read::Reader;
use super::{ConfigError, MOST_LAYERS, MOST_WIDE};
use crate::model::families::{Family, MixerKind, MixerLayers, MixerRow};
use crate::model::row::{DELTA, MAMBA2, MAMBA2_BIASES, MAMBA2_HEAD, TIME_STEP_LIMIT};
use crate::model::spec::{Delta, Mamba2, Mixer, Norm, ShortConvolution};

/// `l2norm` of transformers has it in no key.
const LENGTH_EPS: f64 = 1e-6;

/// What stands in the place of attention in each layer; `hidden` is the width of the model, and `norm` its norm.
pub(super) fn per_layer(
    reader: &Reader,
    family: &Family,
    layers: usize,
    hidden: usize,
    norm: Norm,
) -> Result<Vec<Option<Mixer>>, ConfigError> {
    let Some(row) = &family.mixer else { return Ok(vec![None; layers]) };
    let mixer = mixer(reader, family, row.kind, hidden, norm)?;
    Ok(places(reader, row, layers)?.into_iter().map(|has| has.then_some(mixer)).collect())
}

/// Which layers have it.
fn places(reader: &Reader, row: &MixerRow, layers: usize) -> Result<Vec<bool>, ConfigError> {
    if let Some(types) = reader.get("layer_types").and_then(Value::as_array) {
        return Ok(types.iter().map(|name| name.as_str().is_some_and(|name| row.words.contains(&name))).collect());
    }
    Ok(match row.layers {
        MixerLayers::All => vec![true; layers],
        MixerLayers::AllButListed { key, .. } if reader.get(key).is_some() => {
            let others = reader.integers(key)?;
            if let Some(other) = others.iter().find(|other| **other >= layers as u64) {
                return Err(reader.contradiction(format!("{key} names layer {other}, but there are {layers}")));
            }
            (0..layers).map(|layer| !others.contains(&(layer as u64))).collect()
        }
        MixerLayers::AllButListed { alone, .. } => vec![alone; layers],
        MixerLayers::AllButEvery(key, every) => {
            let every = reader.size(key, every, MOST_LAYERS)?;
            (1..=layers).map(|number| !number.is_multiple_of(every)).collect()
        }
    })
}

fn mixer(reader: &Reader, family: &Family, kind: MixerKind, hidden: usize, norm: Norm) -> Result<Mixer, ConfigError> {
    match kind {
        MixerKind::Mamba2 => mamba2(reader, family, hidden, norm).map(Mixer::Mamba2),
        MixerKind::ShortConvolution { taps: (key, default), bias } => {
            let taps = reader.size(key, default, MOST_LAYERS)?;
            Ok(Mixer::ShortConvolution(ShortConvolution { taps, bias: reader.on(bias)? }))
        }
        MixerKind::Delta { woven } => {
            let mut sizes = [0; 5];
            for (size, (key, default)) in sizes.iter_mut().zip(DELTA) {
                *size = reader.size(key, default, MOST_LAYERS)?;
            }
            let [key_heads, heads, key_dim, head_dim, taps] = sizes;
            if !heads.is_multiple_of(key_heads) || heads * head_dim > MOST_WIDE || key_heads * key_dim > MOST_WIDE {
                return Err(reader.contradiction(format!(
                    "{} ({heads}) is not a multiple of {} ({key_heads}), or they are too wide",
                    DELTA[1].0, DELTA[0].0
                )));
            }
            let act = reader.activation(family.keys.act.unwrap_or_default(), family.defaults.act, family.acts)?;
            // Its weight multiplies as it is, whatever the model's norms add to theirs.
            let norm = Norm { offset: 0.0, rounded_once: false, ..norm };
            let eps = LENGTH_EPS;
            Ok(Mixer::Delta(Delta { key_heads, heads, key_dim, head_dim, taps, act, eps, norm, woven }))
        }
    }
}

fn mamba2(reader: &Reader, family: &Family, hidden: usize, norm: Norm) -> Result<Mamba2, ConfigError> {
    let mut sizes = [0; 5];
    for (size, (key, default)) in sizes.iter_mut().zip(MAMBA2) {
        *size = reader.size(key, default, MOST_LAYERS)?;
    }
    let [heads, groups, state, taps, expand] = sizes;
    let width = hidden.saturating_mul(expand);
    let head_dim = match reader.get(MAMBA2_HEAD).filter(|value| value.as_str() != Some("auto")) {
        Some(_) => reader.size(MAMBA2_HEAD, 1, MOST_WIDE)?,
        None => width / heads,
    };
    if heads.saturating_mul(head_dim) != width || !heads.is_multiple_of(groups) || width.max(groups * state) > MOST_WIDE
    {
        return Err(reader.contradiction(format!(
            "{heads} heads ({}) of {head_dim} channels ({MAMBA2_HEAD}) in {groups} groups ({}) are not {} ({expand}) times the \
             hidden size ({hidden}), or they are too wide",
            MAMBA2[0].0, MAMBA2[1].0, MAMBA2[4].0
        )));
    }
    if let Some(limit) = reader.get(TIME_STEP_LIMIT).filter(|limit| !is_no_limit(limit)) {
        // The class clamps in forwards of several tokens, and not in those of one.
        return Err(reader.unsupported(TIME_STEP_LIMIT, limit, "; it has no limit but 0 and infinity"));
    }
    let act = reader.activation(family.keys.act.unwrap_or_default(), family.defaults.act, family.acts)?;
    let [taps_bias, bias] = MAMBA2_BIASES.map(|switch| reader.on(switch));
    let (taps_bias, bias) = (taps_bias?, bias?);
    Ok(Mamba2 { heads, head_dim, groups, state, taps, taps_bias, act, bias, norm })
}

/// From 0 to infinity: what a softplus is already.
fn is_no_limit(limit: &Value) -> bool {
    limit.as_array().is_some_and(|ends| match &ends[..] {
        [least, most] => least.as_f64() == Some(0.0) && most["__float__"] == "Infinity",
        _ => false,
    })
}
