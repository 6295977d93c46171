//! What stands in the place of attention in each layer, as config.json describes it.

use serde_json::Value;

use super::read::Reader;
use super::{ConfigError, MOST_LAYERS, MOST_WIDE};
use crate::model::families::{Family, MixerKind, MixerLayers, MixerRow};
use crate::model::row::DELTA;
use crate::model::spec::{Delta, Mixer, Norm, ShortConvolution};

/// `l2norm` of transformers has it in no key.
const LENGTH_EPS: f64 = 1e-6;

/// What stands in the place of attention in each layer; `norm` is that of the model.
pub(super) fn per_layer(
    reader: &Reader,
    family: &Family,
    layers: usize,
    norm: Norm,
) -> Result<Vec<Option<Mixer>>, ConfigError> {
    let Some(row) = &family.mixer else { return Ok(vec![None; layers]) };
    let mixer = mixer(reader, family, row.kind, norm)?;
    Ok(places(reader, row, layers)?.into_iter().map(|has| has.then_some(mixer)).collect())
}

/// Which layers have it.
fn places(reader: &Reader, row: &MixerRow, layers: usize) -> Result<Vec<bool>, ConfigError> {
    if let Some(types) = reader.get("layer_types").and_then(Value::as_array) {
        return Ok(types.iter().map(|name| name.as_str() == Some(row.word)).collect());
    }
    Ok(match row.layers {
        MixerLayers::AllButListed(key) if reader.get(key).is_some() => {
            let others = reader.integers(key)?;
            (0..layers).map(|layer| !others.contains(&(layer as u64))).collect()
        }
        MixerLayers::AllButListed(_) => vec![false; layers],
        MixerLayers::AllButEvery(key, every) => {
            let every = reader.size(key, every, MOST_LAYERS)?;
            (1..=layers).map(|number| !number.is_multiple_of(every)).collect()
        }
    })
}

fn mixer(reader: &Reader, family: &Family, kind: MixerKind, norm: Norm) -> Result<Mixer, ConfigError> {
    match kind {
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
