//! The cache of one run: of each node that some op reads from it, the rows of every position so far.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use ndarray::{ArrayView3, ArrayViewD, Axis};

use crate::model::graph::{Graph, Node, Site};
use crate::ops::Real;

/// Rows `[position, head * channel]` by node. Shared between clones of a run until one of them appends.
#[derive(Clone, Debug)]
pub struct Cache<T = f32> {
    kept: BTreeMap<Site, Kept<T>>,
    /// Nodes that the model does not read from it: alterations do.
    beside: Vec<Site>,
}

#[derive(Clone, Debug)]
struct Kept<T> {
    rows: Arc<Vec<T>>,
    /// Which axis of the node counts its rows.
    row_axis: usize,
    heads: usize,
    width: usize,
}

impl<T> Kept<T> {
    fn of(node: &Node) -> Self {
        let (heads, width) = node.heads().unwrap_or_else(|| (1, node.shape(1, 1).iter().product()));
        Self { rows: Arc::default(), row_axis: node.row_axis(), heads, width }
    }
}

impl<T: Real> Cache<T> {
    /// An empty cache of the nodes that `graph` reads from it.
    pub fn new(graph: &Graph) -> Self {
        Self { kept: graph.cached().map(|site| (site, Kept::of(&graph[site]))).collect(), beside: Vec::new() }
    }

    /// Keeps what a node gives as well, from here on.
    pub fn keep(&mut self, site: Site, graph: &Graph) {
        if let Entry::Vacant(place) = self.kept.entry(site) {
            place.insert(Kept::of(&graph[site]));
            self.beside.push(site);
        }
    }

    /// Nodes that are kept though the model does not read them.
    pub fn beside(&self) -> &[Site] {
        &self.beside
    }

    /// Appends what a node gives in the current forward.
    pub fn append(&mut self, site: Site, value: ArrayViewD<T>) {
        let Some(kept) = self.kept.get_mut(&site) else { return };
        let rows = Arc::make_mut(&mut kept.rows);
        for row in value.axis_iter(Axis(kept.row_axis)) {
            // By lanes, which are contiguous: an iterator over any number of axes is ten times slower.
            for lane in row.rows() {
                rows.extend(lane.iter());
            }
        }
    }

    /// What is kept of a node, `[position, head, channel]`.
    pub fn rows(&self, site: Site) -> Option<ArrayView3<'_, T>> {
        let Kept { rows, heads, width, .. } = self.kept.get(&site)?;
        let positions = rows.len() / (heads * width);
        Some(ArrayView3::from_shape((positions, *heads, *width), rows).expect("only whole rows are appended"))
    }

    /// Puts the channels of every head of a node in another order: channel `c` becomes what channel `order[c]` was.
    pub fn reorder(&mut self, site: Site, order: &[usize]) {
        let Some(kept) = self.kept.get_mut(&site) else { return };
        let before = Arc::clone(&kept.rows);
        let heads = before.chunks_exact(kept.width);
        kept.rows = Arc::new(heads.flat_map(|head| order.iter().map(|channel| head[*channel])).collect());
    }

    /// Puts other values, `[position, head, channel]`, in the place of all that is kept of a node.
    ///
    /// # Panics
    /// When the node is not kept, or its shape is another.
    pub fn replace(&mut self, site: Site, values: ArrayViewD<T>) {
        let kept = self.kept.get_mut(&site).expect("only what the cache keeps is replaced");
        assert_eq!(values.len(), kept.rows.len(), "the cache keeps as many positions as before");
        kept.rows = Arc::new(values.iter().copied().collect());
    }

    /// Forgets every position of a node from `positions` on.
    pub fn truncate(&mut self, site: Site, positions: usize) {
        let Some(kept) = self.kept.get_mut(&site) else { return };
        let length = positions * kept.heads * kept.width;
        if kept.rows.len() > length {
            Arc::make_mut(&mut kept.rows).truncate(length);
        }
    }
}
