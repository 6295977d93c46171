//! The MLP of each layer, as config.json describes it.

use super::read::Reader;
use super::spec::on;
use super::{ConfigError, MOST_LAYERS, MOST_WIDE};
use crate::model::families::{ExpertsRow, Family, ScoreRow, SparseLayers};
use crate::model::spec::{Experts, Feed, Mlp, Router, Shared};
use crate::ops::Score;

/// The MLP of each layer.
pub(super) struct Mlps {
    dense: Mlp,
    sparse: Option<Mlp>,
    step: usize,
    dense_layers: Vec<u64>,
}

impl Mlps {
    pub(super) fn read(reader: &Reader, family: &Family, hidden: usize) -> Result<Self, ConfigError> {
        let (keys, defaults) = (family.keys, family.defaults);
        let width = match defaults.intermediate_size {
            Some(default) => reader.size(keys.intermediate_size, default, MOST_WIDE)?,
            None => reader.nullable_size(keys.intermediate_size, MOST_WIDE)?.unwrap_or(4 * hidden),
        };
        let feed = Feed {
            width,
            act: reader.activation(keys.act.unwrap_or_default(), defaults.act, family.acts)?,
            bias: on(reader, family.mlp_bias)?,
            fused: family.fused_mlp,
        };
        let dense = if family.gated { Mlp::Gated(feed) } else { Mlp::Plain(feed) };
        let Some(row) = &family.experts else {
            return Ok(Self { dense, sparse: None, step: 1, dense_layers: Vec::new() });
        };
        let (step, dense_layers) = match row.layers {
            SparseLayers::All => (1, Vec::new()),
            SparseLayers::Stepped => {
                (reader.size("decoder_sparse_step", 1, MOST_LAYERS)?, reader.integers("mlp_only_layers")?)
            }
        };
        Ok(Self { dense, sparse: Some(Mlp::Experts(experts(reader, row, feed)?)), step, dense_layers })
    }

    pub(super) fn of(&self, layer: usize) -> Mlp {
        let is_dense = self.dense_layers.contains(&(layer as u64)) || !(layer + 1).is_multiple_of(self.step);
        match &self.sparse {
            Some(sparse) if !is_dense => sparse.clone(),
            _ => self.dense.clone(),
        }
    }
}

/// The experts; `feed` is what the MLP would be without them.
fn experts(reader: &Reader, row: &ExpertsRow, feed: Feed) -> Result<Experts, ConfigError> {
    let (names, default) = row.count;
    let key = names.iter().copied().find(|key| reader.has(key)).unwrap_or(names[0]);
    let count = reader.size(key, default, MOST_LAYERS)?;
    let top_k = reader.size(row.top_k.0, row.top_k.1, MOST_LAYERS)?;
    if top_k > count {
        return Err(reader.contradiction(format!("{} ({top_k}) is more than {key} ({count})", row.top_k.0)));
    }
    let score = match row.score {
        ScoreRow::Softmax => Score::Softmax,
        // The class chooses two, whatever the key says.
        ScoreRow::Mixer(..) if top_k != 2 => {
            let hint = "; its router chooses 2";
            return Err(reader.unsupported(row.top_k.0, &top_k.into(), hint));
        }
        ScoreRow::Mixer(key, default) => Score::Mixer { jitter: reader.number(key, default, 0.0)? },
    };
    let width = |(key, default)| reader.size(key, default, MOST_WIDE);
    let shared = row.shared.map(|shared| {
        let feed = Feed { width: width(shared.width)?, ..feed };
        Ok::<_, ConfigError>(Shared { feed, weighed: shared.weighed })
    });
    let router = Router {
        score,
        softmax_after: row.softmax_after,
        renormalise: on(reader, row.renormalise)?,
        rounded: row.rounded,
        ..Router::new(top_k)
    };
    Ok(Experts { feed: Feed { width: width(row.width)?, ..feed }, count, router, shared: shared.transpose()? })
}
