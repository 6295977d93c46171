//! What a witness has of one activation, and the comparison of two such parts.

use ndarray::{Axis as NdAxis, CowArray, IxDyn, Slice};

use serde::{Deserialize, Serialize};

use crate::dump::Aligned;
use crate::engine::{Counts, Graph, Node, Site, Value};
use crate::metrics::{self, Comparison};

/// Some rows, and for attention some keys, of one activation, in the layout of the table.
#[derive(Clone, Debug)]
pub struct Part {
    /// The values.
    pub values: Value,
    /// Which rows of the forward they are, in rising order.
    pub rows: Vec<usize>,
    /// The key position of column 0, for scores and probabilities.
    pub first_key: usize,
}

impl From<Aligned> for Part {
    fn from(aligned: Aligned) -> Self {
        Self { values: aligned.values.into_shared(), rows: aligned.rows, first_key: aligned.first_key }
    }
}

impl Part {
    /// All rows of our own engine's activation. With [`crate::engine::LogitRows::Last`] only the last row is there.
    pub fn whole(values: Value, node: &Node, tokens: usize) -> Self {
        let present = values.shape()[node.row_axis()];
        Self { values, rows: (tokens - present..tokens).collect(), first_key: 0 }
    }

    /// At most `count` of its rows, spread over all of them.
    #[must_use]
    pub fn sample(&self, count: usize, node: &Node) -> Self {
        let every = self.rows.len().div_ceil(count).max(1);
        let picked: Vec<usize> =
            (0..self.rows.len()).rev().step_by(every).collect::<Vec<_>>().into_iter().rev().collect();
        let values = self.values.select(NdAxis(node.row_axis()), &picked).into_shared();
        Self { values, rows: picked.iter().map(|index| self.rows[*index]).collect(), first_key: self.first_key }
    }
}

/// Where the largest difference is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worst {
    /// Position in the sequence.
    pub token: Option<usize>,
    /// Query or key/value head.
    pub head: Option<usize>,
    /// Key position.
    pub key: Option<usize>,
    /// Channel, or id for logits.
    pub channel: Option<usize>,
}

impl std::fmt::Display for Worst {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = [("token", self.token), ("head", self.head), ("key", self.key), ("channel", self.channel)];
        let words: Vec<String> =
            parts.iter().filter_map(|(name, index)| index.map(|index| format!("{name} {index}"))).collect();
        f.write_str(&words.join(" "))
    }
}

/// The given rows of `part`, which has them, and the keys from one on; copied only where rows are left out.
fn cut<'a>(
    part: &'a Part,
    rows: &[usize],
    row_axis: NdAxis,
    keys: Option<(NdAxis, usize)>,
) -> CowArray<'a, f32, IxDyn> {
    let picked: Vec<usize> = rows.iter().filter_map(|row| part.rows.binary_search(row).ok()).collect();
    let mut cut: CowArray<f32, IxDyn> = if picked.len() == part.rows.len() {
        part.values.view().into()
    } else {
        part.values.select(row_axis, &picked).into()
    };
    if let Some((axis, first)) = keys {
        cut.slice_axis_inplace(axis, Slice::from(first - part.first_key..));
    }
    cut
}

/// Compares what two witnesses have of one activation: the rows and keys both have, positions that the mask hides left
/// out. `first` is the position of the forward's first token. `None` when they have no row in common.
pub fn compare_parts(
    site: Site,
    graph: &Graph,
    first: usize,
    values: &Part,
    expected: &Part,
) -> Option<(Comparison, Worst, Vec<usize>)> {
    let node = &graph[site];
    let (row_axis, last) = (node.row_axis(), node.axes.len() - 1);
    let key_axis = node.has_keys().then_some(last);
    let rows: Vec<usize> = values.rows.iter().copied().filter(|row| expected.rows.binary_search(row).is_ok()).collect();
    if rows.is_empty() {
        return None;
    }
    let first_key = values.first_key.max(expected.first_key);
    let keys = key_axis.map(|axis| (NdAxis(axis), first_key));
    let (mut a, mut b) = (cut(values, &rows, NdAxis(row_axis), keys), cut(expected, &rows, NdAxis(row_axis), keys));
    let mask = graph.mask(site, first);
    // Rows of experts stand before their slots; errors are counted by row.
    let before_last = last.saturating_sub(1);
    a.swap_axes(row_axis, before_last);
    b.swap_axes(row_axis, before_last);
    let mut comparison = metrics::compare(a.view(), b.view(), |row, column| {
        key_axis.is_none() || mask.allows(rows[row], column + first_key)
    });
    if let Some(worst) = &mut comparison.worst {
        worst.swap(row_axis, before_last);
    }
    let mut worst = Worst::default();
    for ((place, axis), index) in node.axes.iter().enumerate().zip(comparison.worst.iter().flatten()) {
        match axis.counts {
            Counts::Rows => worst.token = Some(first + rows[*index]),
            Counts::Heads(_) => worst.head = Some(*index),
            Counts::Keys => worst.key = Some(first_key + index),
            Counts::Joined { width, .. } => {
                worst.head = Some(index / width);
                worst.channel = Some(index % width);
            }
            Counts::Channels(_) if place == last => worst.channel = Some(*index),
            // Which slot an expert has tells nothing.
            Counts::Channels(_) => {}
        }
    }
    Some((comparison, worst, rows))
}
