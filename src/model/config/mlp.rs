//! The MLP of each layer, as config.json describes it.

use std::ops::RangeInclusive;

use serde_json::Value;

use super::factors::Factors;
use super::read::Reader;
use super::{ConfigError, MOST_LAYERS, MOST_WIDE};
use crate::model::families::{
    BlockPart, ExpertsRow, Family, GroupsRow, ScoreRow, SharedRow, SharedWidth, SparseLayers,
};
use crate::model::spec::{Beside, Clamp, Experts, Feed, Mlp, Norm, Router, Shared};
use crate::ops::{Activation, Groups, Score};

/// The MLP of each layer.
pub(super) struct Mlps {
    dense: Mlp,
    sparse: Option<Mlp>,
    beside: Option<Beside>,
    layers: Sparse,
}

/// Which layers have experts: every so many, of a range, but for some.
struct Sparse {
    step: usize,
    range: RangeInclusive<usize>,
    dense: Vec<u64>,
}

impl Mlps {
    pub(super) fn read(
        reader: &Reader,
        family: &Family,
        hidden: usize,
        layers: usize,
        blocks: Option<&[BlockPart]>,
        norm: Norm,
    ) -> Result<Self, ConfigError> {
        let (keys, defaults) = (family.keys, family.defaults);
        let width = match defaults.intermediate_size {
            Some(default) => adjusted(reader, family, reader.size(width_key(reader, family), default, MOST_WIDE)?)?,
            None => reader.nullable_size(keys.intermediate_size, MOST_WIDE)?.unwrap_or(4 * hidden),
        };
        let (key, usual) = (keys.act.unwrap_or_default(), defaults.act);
        let named = reader.get(key).and_then(Value::as_str).or((!reader.has(key)).then_some(usual));
        let xielu = family.xielu && named == Some("xielu");
        let feed = Feed {
            width,
            act: if xielu { Activation::Identity } else { reader.activation(key, usual, family.acts)? },
            xielu,
            bias: reader.on(family.mlp_bias)?,
            fused: family.fused_mlp,
            clamp: None,
            factors: Factors::read(reader, family)?.mlp,
        };
        let feed = match &family.experts {
            Some(row) if has_none(reader, row) => alone(reader, row, feed)?,
            _ => feed,
        };
        let dense = if family.gated { Mlp::Gated(feed) } else { Mlp::Plain(feed) };
        let mut mlps = Self { dense, sparse: None, beside: None, layers: Sparse::ALL };
        let Some(row) = family.experts.as_ref().filter(|row| !has_none(reader, row)) else { return Ok(mlps) };
        if reader.on(row.at)? {
            let experts = Experts { gated: family.gated, ..experts(reader, row, feed, norm)? };
            mlps.layers = Sparse::read(reader, row.layers, layers, blocks.unwrap_or_default())?;
            if row.beside {
                mlps.beside = Some(Beside { experts, norm });
            } else {
                mlps.sparse = Some(Mlp::Experts(experts));
            }
        }
        Ok(mlps)
    }

    /// The experts beside it.
    pub(super) fn beside(&self, layer: usize) -> Option<Beside> {
        self.beside.clone().filter(|_| self.layers.has(layer))
    }

    pub(super) fn of(&self, layer: usize) -> Mlp {
        self.sparse.as_ref().filter(|_| self.layers.has(layer)).unwrap_or(&self.dense).clone()
    }
}

/// The key of the width: another name wins where it is there.
fn width_key(reader: &Reader, family: &Family) -> &'static str {
    let own = family.keys.intermediate_size;
    family.others.iter().find(|(key, other)| *key == own && reader.has(other)).map_or(own, |(_, other)| other)
}

/// The width that is made of the key's: two thirds of it, times a factor, up to a multiple. `Lfm2MLP` of transformers.
fn adjusted(reader: &Reader, family: &Family, width: usize) -> Result<usize, ConfigError> {
    if !family.adjusts_width || !reader.flag("block_auto_adjust_ff_dim", true)? {
        return Ok(width);
    }
    let width = 2 * width / 3;
    let factor = match reader.get("block_ffn_dim_multiplier") {
        None if reader.has("block_ffn_dim_multiplier") => return Ok(width),
        _ => reader.number("block_ffn_dim_multiplier", 1.0, f64::MIN_POSITIVE)?,
    };
    let of = reader.size("block_multiple_of", 256, MOST_WIDE)?;
    Ok(((factor * width as f64) as usize).clamp(1, MOST_WIDE).div_ceil(of) * of)
}

impl Sparse {
    const ALL: Self = Self { step: 1, range: 0..=usize::MAX, dense: Vec::new() };

    fn read(reader: &Reader, which: SparseLayers, layers: usize, blocks: &[BlockPart]) -> Result<Self, ConfigError> {
        Ok(match which {
            SparseLayers::Blocks => {
                let others = (0..).zip(blocks).filter(|(_, part)| **part != BlockPart::Experts);
                Self { dense: others.map(|(layer, _)| layer).collect(), ..Self::ALL }
            }
            SparseLayers::All => Self::ALL,
            SparseLayers::Stepped => Self {
                step: reader.size("decoder_sparse_step", 1, MOST_LAYERS)?,
                dense: reader.integers("mlp_only_layers")?,
                ..Self::ALL
            },
            SparseLayers::From { key, default } => {
                Self { range: reader.count(key, default, MOST_LAYERS)?..=usize::MAX, ..Self::ALL }
            }
            SparseLayers::Listed => Self { dense: dense_of(reader, layers)?, ..Self::ALL },
            SparseLayers::Numbered => match reader.get("moe_layers") {
                Some(_) => {
                    let sparse = reader.integers("moe_layers")?;
                    let dense = (0..layers as u64).filter(|layer| !sparse.contains(layer));
                    Self { dense: dense.collect(), ..Self::ALL }
                }
                None => Self { step: reader.size("interleave_moe_layer_step", 1, MOST_LAYERS)?, ..Self::ALL },
            },
            SparseLayers::Between => {
                let first = reader.count("moe_layer_start_index", 1, MOST_LAYERS)?;
                let last = match reader.get("moe_layer_end_index").filter(|last| last.as_i64() != Some(-1)) {
                    Some(_) => reader.count("moe_layer_end_index", 0, MOST_LAYERS)?,
                    None => usize::MAX,
                };
                let step = reader.size("moe_layer_interval", 1, MOST_LAYERS)?;
                Self { step, range: first..=last, ..Self::ALL }
            }
        })
    }

    fn has(&self, layer: usize) -> bool {
        self.range.contains(&layer) && (layer + 1).is_multiple_of(self.step) && !self.dense.contains(&(layer as u64))
    }
}

/// The layers that `mlp_layer_types` calls dense.
fn dense_of(reader: &Reader, layers: usize) -> Result<Vec<u64>, ConfigError> {
    const KEY: &str = "mlp_layer_types";
    let Some(value) = reader.get(KEY) else { return Ok(vec![0]) };
    let wrong = || reader.wrong(KEY, value, format!("a list of {layers} words, dense or sparse"));
    let words = value.as_array().filter(|words| words.len() == layers).ok_or_else(wrong)?;
    let mut dense = Vec::new();
    for (layer, word) in (0..).zip(words) {
        match word.as_str() {
            Some("dense") => dense.push(layer),
            Some("sparse") => {}
            _ => return Err(wrong()),
        }
    }
    Ok(dense)
}

/// The key that a number stands under: the first that is there.
fn named(reader: &Reader, keys: &'static [&'static str]) -> &'static str {
    keys.iter().copied().find(|key| reader.has(key)).unwrap_or(keys[0])
}

/// Whether there are 0 experts.
fn has_none(reader: &Reader, row: &ExpertsRow) -> bool {
    row.may_be_none && reader.get(named(reader, row.count.0)).is_some_and(|count| *count == 0)
}

/// The expert that every token has, where there is no other.
fn alone(reader: &Reader, row: &ExpertsRow, feed: Feed) -> Result<Feed, ConfigError> {
    match row.shared {
        Some(SharedRow { width: SharedWidth::Own(key, default), .. }) => {
            Ok(Feed { width: reader.size(key, default, MOST_WIDE)?, ..feed })
        }
        _ => Ok(feed),
    }
}

/// The experts; `feed` is what the MLP would be without them.
fn experts(reader: &Reader, row: &ExpertsRow, feed: Feed, norm: Norm) -> Result<Experts, ConfigError> {
    let (key, key_of_chosen) = (named(reader, row.count.0), named(reader, row.top_k.0));
    let count = reader.alike(key, row.count.1, MOST_LAYERS)?;
    let top_k = reader.alike(key_of_chosen, row.top_k.1, MOST_LAYERS)?;
    if top_k > count {
        return Err(reader.contradiction(format!("{key_of_chosen} ({top_k}) is more than {key} ({count})")));
    }
    let score = match row.score {
        ScoreRow::Softmax => Score::Softmax,
        ScoreRow::Sigmoid => Score::Sigmoid,
        // The class chooses two, whatever the key says.
        ScoreRow::Mixer(..) if top_k != 2 => {
            return Err(reader.unsupported(key_of_chosen, &top_k.into(), "; its router chooses 2"));
        }
        ScoreRow::Mixer(key, default) => Score::Mixer { jitter: reader.number(key, default, 0.0)? },
    };
    let width = reader.size(row.width.0, row.width.1, MOST_WIDE)?;
    let shared = match row.shared {
        None => None,
        Some(SharedRow { width: own, weighed }) => {
            let width = match own {
                SharedWidth::Own(key, default) => reader.size(key, default, MOST_WIDE)?,
                SharedWidth::Times(key, default) => width * reader.count(key, default, MOST_LAYERS)?,
            };
            (width > 0).then_some(Shared { feed: Feed { width, ..feed }, weighed })
        }
    };
    let clamp = row.clamp.map(|[alpha, limit]| {
        let number = |(key, default)| reader.number(key, default, f64::MIN_POSITIVE);
        Ok::<_, ConfigError>(Clamp { alpha: number(alpha)?, limit: number(limit)? })
    });
    let router = Router {
        score,
        softmax_after: row.softmax_after,
        groups: row.groups.map(|groups| of_groups(reader, groups, count, top_k)).transpose()?.flatten(),
        renormalise: reader.on(row.renormalise)?,
        eps: row.renormalise_eps,
        factor: row.factor.map_or(Ok(1.0), |(key, default)| reader.number(key, default, f64::MIN_POSITIVE))?,
        rounded: row.rounded,
        ..Router::new(top_k)
    };
    let ExpertsRow { router_bias, choice_bias, fine, bias, weighs_input, scaled, .. } = *row;
    let router_norm = row.router_norm.then_some(Norm { weight: false, bias: false, ..norm });
    let fused = row.fused.unwrap_or(feed.fused);
    let feed = Feed { width, bias, fused, clamp: clamp.transpose()?, ..feed };
    Ok(Experts {
        feed,
        gated: true,
        count,
        router,
        router_bias,
        choice_bias,
        fine,
        shared,
        weighs_input,
        router_norm,
        scaled,
    })
}

/// Groups of experts; one is none.
fn of_groups(reader: &Reader, row: GroupsRow, experts: usize, top_k: usize) -> Result<Option<Groups>, ConfigError> {
    let there = row.only.is_none_or(|(key, word)| reader.get(key).and_then(|value| value.as_str()) == Some(word));
    let number = |(key, default)| reader.nullable_size(key, MOST_LAYERS).map(|found| found.unwrap_or(default));
    let (count, kept) = (number(row.count)?, number(row.kept)?);
    if count == 1 || !there {
        return Ok(None);
    }
    let size = experts / count;
    if !experts.is_multiple_of(count) || size < row.best || kept > count || kept * size < top_k {
        return Err(reader.contradiction(format!(
            "{experts} experts do not fall into {count} groups ({}) of which {kept} are kept ({}), of at least {} each, \
             so that a token can choose {top_k}",
            row.count.0, row.kept.0, row.best
        )));
    }
    Ok(Some(Groups { count, kept, best: row.best }))
}
