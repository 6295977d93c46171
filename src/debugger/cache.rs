//! The cache page: what each layer holds for each position, and whether a dump wrote the same.

use ndarray::{Array2, ArrayView3, Axis, s};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::attention::others;
use super::state::Debugger;
use super::view::{CacheHead, CacheLayer, CachePage, CacheRequest, Half, Witness};
use crate::engine::{Activation, Site};
use crate::metrics::{compare, middle_range, norms, pool};

impl Debugger {
    /// The KV cache as `request` asks for it. There is always one; before the first layer it is empty.
    pub fn cache(&self, request: &CacheRequest) -> CachePage {
        self.look_at_cache();
        let config = &self.session.model.config;
        let new = self.run.first_position()..self.run.first_position() + self.run.forward_ids().len();
        let cache = self.run.cache();
        let held: Vec<ArrayView3<f32>> = (0..config.num_hidden_layers)
            .map(|layer| match request.half {
                Half::Keys => cache.keys(layer),
                Half::Values => cache.values(layer),
            })
            .collect();
        let filled = held.iter().take_while(|held| held.len_of(Axis(0)) == new.end).count();

        let by_layer: Vec<Vec<f32>> = held.clone().into_par_iter().map(norms).collect();
        let mut all = Array2::from_elem((held.len(), new.end), f32::NEG_INFINITY);
        for (mut row, norms) in all.rows_mut().into_iter().zip(&by_layer) {
            row.iter_mut().zip(norms).for_each(|(cell, norm)| *cell = *norm);
        }
        let (pooled, grid) = pool(all.view(), request.cells);

        let dumps = others(Witness::Engine);
        let against = dumps.into_iter().find(|witness| self.has(*witness));
        let layer = |(layer, held): (usize, &ArrayView3<f32>)| CacheLayer {
            positions: held.len_of(Axis(0)),
            window: config.sliding_window[layer],
            error: against.filter(|_| layer < filled).and_then(|against| {
                self.error_of_new(request.half, layer, held.slice(s![new.start.., .., ..]), against)
            }),
        };
        let words: usize = (0..held.len()).map(|layer| cache.keys(layer).len() + cache.values(layer).len()).sum();
        CachePage {
            positions: new.end,
            filled,
            kv_heads: config.num_key_value_heads,
            head_dim: config.head_dim,
            bytes: words * size_of::<f32>(),
            range: middle_range(grid.concat().iter()),
            grid,
            pooled,
            layers: held.iter().enumerate().map(layer).collect(),
            against,
            head: request.head.and_then(|(layer, head)| {
                let kv_head = head.min(config.num_key_value_heads - 1);
                let plane = held.get(layer)?.index_axis(Axis(1), kv_head);
                let (pooled, grid) = pool(plane, request.head_cells);
                let group = config.num_attention_heads / config.num_key_value_heads;
                let readers = kv_head * group..(kv_head + 1) * group;
                Some(CacheHead { layer, kv_head, readers, grid, pooled, range: middle_range(plane.iter()) })
            }),
            new,
        }
    }

    /// How far what the cache was given in this forward, `[token, kv_head, head_dim]`, lies from what a dump has.
    fn error_of_new(&self, half: Half, layer: usize, held: ArrayView3<f32>, against: Witness) -> Option<f64> {
        let site = Site::new(layer, if half == Half::Keys { Activation::KRope } else { Activation::VProj });
        let key = (
            self.origin(self.run.forward(), site, Witness::Engine),
            Some(self.origin(self.run.forward(), site, against)),
        );
        if let Some(error) = self.kept.errors.get(&key) {
            return Some(error);
        }
        let against = self.whole(site, against).ok()?;
        let expected = against.values.view();
        let held = match half {
            Half::Keys => held.permuted_axes([1, 0, 2]).to_owned().into_dyn(),
            Half::Values => held.to_owned().into_shape_with_order(expected.raw_dim()).ok()?,
        };
        let error = compare(held.view(), expected, |row, _| against.rows.binary_search(&row).is_ok()).error;
        self.kept.errors.keep(key, error);
        Some(error)
    }
}
