//! What stands in the place of attention in each layer, as config.json describes it.

use serde_json::Value;

use super::factors::Factors;
use super::read::Reader;
use super::{ConfigError, MOST_LAYERS, MOST_WIDE};
use crate::model::families::{BlockPart, Family, Mamba2Row, MixerKind, MixerLayers, MixerRow};
use crate::model::row::{DELTA, TIME_STEP_LIMIT};
use crate::model::spec::{Delta, Mamba2, Mixer, Norm, ShortConvolution};

/// `l2norm` of transformers has it in no key.
const LENGTH_EPS: f64 = 1e-6;

/// What stands in the place of attention in each layer; `hidden` is the width of the model, and `norm` its norm.
pub(super) fn per_layer(
    reader: &Reader,
    family: &Family,
    layers: usize,
    blocks: Option<&[BlockPart]>,
    hidden: usize,
    norm: Norm,
) -> Result<Vec<Option<Mixer>>, ConfigError> {
    let Some(row) = &family.mixer else { return Ok(vec![None; layers]) };
    let mixer = mixer(reader, family, row.kind, hidden, norm)?;
    let places = match blocks {
        Some(parts) => parts.iter().map(|part| *part == BlockPart::Mixer).collect(),
        None => places(reader, row, layers)?,
    };
    Ok(places.into_iter().map(|has| has.then_some(mixer)).collect())
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
        MixerKind::Mamba2(row) => mamba2(reader, family, row, hidden, norm).map(Mixer::Mamba2),
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

fn mamba2(reader: &Reader, family: &Family, row: &Mamba2Row, hidden: usize, norm: Norm) -> Result<Mamba2, ConfigError> {
    let mut sizes = [0; 4];
    for (size, (key, default)) in sizes.iter_mut().zip(row.sizes) {
        *size = reader.size(key, default, MOST_LAYERS)?;
    }
    let [heads, groups, state, taps] = sizes;
    let expanded =
        row.expand.map(|(key, default)| Ok::<_, ConfigError>((key, reader.size(key, default, MOST_LAYERS)?)));
    let expanded = expanded.transpose()?;
    let own = match row.width {
        Some((key, default)) if reader.get(key).is_some() || !reader.has(key) => {
            Some((reader.size(key, default, MOST_WIDE)?, key))
        }
        _ => None,
    };
    let width = own.map(|(width, _)| width).or(expanded.map(|(_, times)| hidden.saturating_mul(times)));
    let head_dim = match reader.get(row.head_dim.0).filter(|value| value.as_str() != Some("auto")) {
        Some(_) => reader.size(row.head_dim.0, 1, MOST_WIDE)?,
        None => row.head_dim.1.or(width.map(|width| width / heads)).unwrap_or(1),
    };
    let width = width.unwrap_or(heads.saturating_mul(head_dim));
    if heads.saturating_mul(head_dim) != width || !heads.is_multiple_of(groups) || width.max(groups * state) > MOST_WIDE
    {
        let told = match (own, expanded) {
            (Some((width, key)), _) => format!("{key} ({width})"),
            (None, Some((key, times))) => format!("{key} ({times}) times the hidden size ({hidden})"),
            (None, None) => format!("whole groups of {width} channels"),
        };
        return Err(reader.contradiction(format!(
            "{heads} heads ({}) of {head_dim} channels ({}) in {groups} groups ({}) are not {told}, or they are too wide",
            row.sizes[0].0, row.head_dim.0, row.sizes[1].0
        )));
    }
    if let Some(limit) = reader.get(TIME_STEP_LIMIT).filter(|limit| !is_no_limit(limit)) {
        // The class clamps in forwards of several tokens, and not in those of one.
        return Err(reader.unsupported(TIME_STEP_LIMIT, limit, "; it has no limit but 0 and infinity"));
    }
    let (key, default) = row.act.unwrap_or((family.keys.act.unwrap_or_default(), family.defaults.act));
    let act = reader.activation(key, default, family.acts)?;
    let least_step = row.least_step.map(|(key, default)| reader.number(key, default, 0.0)).transpose()?;
    let norm = Norm { rounded_once: row.norm_rounded_once, ..norm };
    let factors = Factors::read(reader, family)?;
    Ok(Mamba2 {
        heads,
        head_dim,
        groups,
        state,
        taps,
        taps_bias: reader.on(row.taps_bias)?,
        act,
        biases: [reader.on(row.biases[0])?, reader.on(row.biases[1])?],
        least_step: least_step.filter(|least| *least > 0.0),
        input_factor: factors.mixer[0],
        factors: factors.parts,
        norm: reader.on(row.norm)?.then_some(norm),
        norm_first: reader.on(row.norm_first)?,
    })
}

/// From 0 to infinity: what a softplus is already.
fn is_no_limit(limit: &Value) -> bool {
    limit.as_array().is_some_and(|ends| match &ends[..] {
        [least, most] => least.as_f64() == Some(0.0) && most["__float__"] == "Infinity",
        _ => false,
    })
}
