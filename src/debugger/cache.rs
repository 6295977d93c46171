//! The cache page: what each layer holds for each position, and whether a dump wrote the same.

use ndarray::{Array2, Array3, ArrayView3, Axis, s};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::attention::{others, scoring};
use super::page::Request;
use super::state::Debugger;
use super::view::{CacheHead, CacheLayer, CachePage, CacheRequest, Half, Witness};
use crate::engine::{Graph, Op, Read, Role, Site};
use crate::metrics::{compare, middle_range, norms, pool};
use crate::model::op::{Scoring, Weight};

impl Request for CacheRequest {
    type Page = CachePage;

    /// There is always one but of an encoder; before the first layer it is empty.
    fn page(&self, debugger: &Debugger) -> Result<CachePage, String> {
        look(debugger);
        let graph = debugger.graph();
        if !graph.is_causal() {
            return Err("the model has no cache: it is an encoder, which has one forward".into());
        }
        let new = debugger.pass.run.first_position()
            ..debugger.pass.run.first_position() + debugger.pass.run.forward_ids().len();
        let cache = debugger.pass.run.cache();
        let sites: Vec<Option<Site>> = (0..graph.layers()).map(|layer| kept(graph, layer, self.half)).collect();
        // A layer without attention holds nothing.
        let nothing = Array3::zeros((0, 0, 0));
        let rows = |site: &Option<Site>| site.and_then(|site| cache.rows(site)).unwrap_or_else(|| nothing.view());
        let held: Vec<ArrayView3<f32>> = sites.iter().map(rows).collect();
        let complete =
            |(site, held): &(&Option<Site>, &ArrayView3<f32>)| site.is_none() || held.len_of(Axis(0)) == new.end;
        let filled = sites.iter().zip(&held).take_while(complete).count();

        let by_layer: Vec<Vec<f32>> = held.clone().into_par_iter().map(norms).collect();
        let mut all = Array2::from_elem((held.len(), new.end), f32::NEG_INFINITY);
        for (mut row, norms) in all.rows_mut().into_iter().zip(&by_layer) {
            row.iter_mut().zip(norms).for_each(|(cell, norm)| *cell = *norm);
        }
        let (pooled, grid) = pool(all.view(), self.cells);

        let dumps = others(Witness::Engine);
        let against = dumps.into_iter().find(|witness| debugger.has(*witness));
        let layer = |(layer, held): (usize, &ArrayView3<f32>)| CacheLayer {
            positions: held.len_of(Axis(0)),
            window: window(graph, layer),
            error: against
                .filter(|_| layer < filled)
                .zip(sites[layer])
                .and_then(|(against, site)| error_of_new(debugger, site, held.slice(s![new.start.., .., ..]), against)),
        };
        let words: usize = graph.cached().filter_map(|site| cache.rows(site)).map(|rows| rows.len()).sum();
        let (kv_heads, head_dim) = sites.iter().flatten().find_map(|site| graph[*site].heads()).unwrap_or_default();
        Ok(CachePage {
            positions: new.end,
            filled,
            kv_heads,
            head_dim,
            bytes: words * size_of::<f32>(),
            range: middle_range(grid.concat().iter()),
            grid,
            pooled,
            layers: held.iter().enumerate().map(layer).collect(),
            against,
            head: self.head.and_then(|(layer, head)| {
                let held = held.get(layer)?;
                let kv_head = head.min(held.len_of(Axis(1)).checked_sub(1)?);
                let plane = held.index_axis(Axis(1), kv_head);
                let (pooled, grid) = pool(plane, self.head_cells);
                let readers = match scoring(graph, layer) {
                    Some(Scoring { groups, .. }) => {
                        let read = |group: &usize| *group == kv_head;
                        groups.iter().position(read)?..groups.iter().rposition(read)? + 1
                    }
                    None => kv_head..kv_head + 1,
                };
                Some(CacheHead { layer, kv_head, readers, grid, pooled, range: middle_range(plane.iter()) })
            }),
            new,
        })
    }
}

/// How many positions back a layer sees.
fn window(graph: &Graph, layer: usize) -> Option<usize> {
    let filters = graph.in_layer(layer, Role::ConvOut).filter(|_| graph.in_layer(layer, Role::StateOut).is_none());
    match filters.map(|site| &graph[site].op) {
        Some(Op::Convolve { weight: Weight::Param(taps), .. }) => graph.params()[taps.index()].shape.last().copied(),
        _ => scoring(graph, layer)?.window,
    }
}

/// The page shows what every layer has written to the cache.
fn look(debugger: &Debugger) {
    for feed in debugger.pass.fed.feeds().take(debugger.pass.run.forward() + 1) {
        for site in debugger.graph().cached() {
            if let Some(values) = debugger.ours(feed.forward, site) {
                debugger.captured.look_at_ours(feed.forward, site, feed.tokens, values);
            }
        }
    }
}

/// How far what the cache was given in this forward, `[token, kv_head, head_dim]`, lies from what a dump has.
fn error_of_new(debugger: &Debugger, site: Site, held: ArrayView3<f32>, against: Witness) -> Option<f64> {
    let key = (
        debugger.origin(debugger.pass.run.forward(), site, Witness::Engine),
        Some(debugger.origin(debugger.pass.run.forward(), site, against)),
    );
    if let Some(error) = debugger.memos.errors.get(&key) {
        return Some(error);
    }
    let against = debugger.full(site, against).ok()?;
    let expected = against.values.view();
    // Heads stand side by side, or as planes.
    let held = match debugger.graph()[site].plane_axis() {
        Some(_) => held.permuted_axes([1, 0, 2]).to_owned().into_dyn(),
        None => held.to_owned().into_shape_with_order(expected.raw_dim()).ok()?,
    };
    let error = compare(held.view(), expected, |row, _| against.rows.binary_search(&row).is_ok()).error;
    debugger.memos.errors.keep(key, error);
    Some(error)
}

/// What the cache keeps of a layer's keys: what its scores read from there; of its values, what their sums by the pattern do.
/// Where something else stands in the place of attention, it is what the convolution is over, and what is written to the state.
fn kept(graph: &Graph, layer: usize, half: Half) -> Option<Site> {
    // A convolution alone has one thing that is kept.
    let (roles, place): (&[Role], _) = match half {
        Half::Keys => (&[Role::Scores, Role::ConvOut], 0),
        Half::Values => (&[Role::Context, Role::StateOut, Role::ConvOut], 1),
    };
    let reader = roles.iter().find_map(|role| graph.in_layer(layer, *role))?;
    let kept: Vec<Site> = graph[reader]
        .reads
        .iter()
        .filter_map(|read| match read {
            Read::Past(kept) => Some(*kept),
            _ => None,
        })
        .collect();
    kept.get(place).or(kept.first()).copied()
}
