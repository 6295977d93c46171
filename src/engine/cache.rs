//! The KV cache of one run: for each layer, the rotated keys and the values of every position so far.

use std::sync::Arc;

use ndarray::{ArrayView2, ArrayView3};

use crate::ops::Real;

/// Rows `[position, kv_head * head_dim]`, one `Vec` per layer. Shared between clones of a run until one of them appends.
#[derive(Clone, Debug)]
pub struct KvCache<T = f32> {
    keys: Vec<Arc<Vec<T>>>,
    values: Vec<Arc<Vec<T>>>,
    kv_heads: usize,
    head_dim: usize,
}

impl<T: Real> KvCache<T> {
    /// An empty cache.
    pub fn new(layers: usize, kv_heads: usize, head_dim: usize) -> Self {
        Self { keys: vec![Arc::default(); layers], values: vec![Arc::default(); layers], kv_heads, head_dim }
    }

    /// Appends the keys of the current forward, `[kv_head, token, head_dim]`.
    pub fn append_keys(&mut self, layer: usize, keys: ArrayView3<T>) {
        let rows = Arc::make_mut(&mut self.keys[layer]);
        rows.extend(keys.permuted_axes([1, 0, 2]).iter());
    }

    /// Appends the values of the current forward, `[token, kv_head * head_dim]`.
    pub fn append_values(&mut self, layer: usize, values: ArrayView2<T>) {
        Arc::make_mut(&mut self.values[layer]).extend(values.iter());
    }

    /// The keys of a layer, `[position, kv_head, head_dim]`.
    pub fn keys(&self, layer: usize) -> ArrayView3<'_, T> {
        self.view(&self.keys[layer])
    }

    /// The values of a layer, `[position, kv_head, head_dim]`.
    pub fn values(&self, layer: usize) -> ArrayView3<'_, T> {
        self.view(&self.values[layer])
    }

    /// Puts the channels of every key of a layer in another order: channel `c` becomes what channel `order[c]` was.
    pub fn reorder_keys(&mut self, layer: usize, order: &[usize]) {
        let before = Arc::clone(&self.keys[layer]);
        let heads = before.chunks_exact(self.head_dim);
        self.keys[layer] = Arc::new(heads.flat_map(|head| order.iter().map(|channel| head[*channel])).collect());
    }

    /// Forgets every position of `layer` from `positions` on.
    pub fn truncate(&mut self, layer: usize, positions: usize) {
        let length = positions * self.kv_heads * self.head_dim;
        for rows in [&mut self.keys[layer], &mut self.values[layer]] {
            if rows.len() > length {
                Arc::make_mut(rows).truncate(length);
            }
        }
    }

    fn view<'a>(&self, rows: &'a [T]) -> ArrayView3<'a, T> {
        let positions = rows.len() / (self.kv_heads * self.head_dim);
        ArrayView3::from_shape((positions, self.kv_heads, self.head_dim), rows).expect("only whole rows are appended")
    }
}
