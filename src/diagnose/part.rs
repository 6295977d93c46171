//! The comparison of what two witnesses have of one activation.

use ndarray::{ArrayView1, Axis as NdAxis, CowArray, IxDyn, Slice};
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

use serde::{Deserialize, Serialize};

pub use crate::dump::RowSubset as Part;
use crate::dump::shared_rows;
use crate::engine::{Counts, Graph, Node, Site, Value};
use crate::metrics::{self, Comparison};
use crate::ops::Real;

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

impl Worst {
    /// The place of an element of a part: `row` gives the position in the sequence of one of its rows, and `first_key` is
    /// the key of its first column.
    pub(super) fn at(node: &Node, index: &[usize], row: impl Fn(usize) -> usize, first_key: usize) -> Self {
        let mut worst = Self::default();
        let last = node.axes.len() - 1;
        for ((place, axis), index) in node.axes.iter().enumerate().zip(index) {
            match axis.counts {
                Counts::Rows => worst.token = Some(row(*index)),
                Counts::Heads(_) => worst.head = Some(*index),
                Counts::Keys => worst.key = Some(first_key + index),
                Counts::Joined { width, .. } => {
                    worst.head = Some(index / width);
                    worst.channel = Some(index % width);
                }
                Counts::Channels(_) if place == last => worst.channel = Some(*index),
                // Which slot an expert has tells nothing, nor that a sequence has one row.
                Counts::Channels(_) | Counts::Sequence => {}
            }
        }
        worst
    }
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
    let rows = shared_rows(&values.rows, &expected.rows);
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
    let worst = comparison.worst.as_ref();
    let worst = worst.map_or_else(Worst::default, |index| Worst::at(node, index, |row| first + rows[row], first_key));
    Some((comparison, worst, rows))
}

/// Relative L2 distance, over the elements that are finite in both.
pub(super) fn distance<T: Real>(values: &Value<f64>, expected: &Value<T>) -> f64 {
    let row = |(a, b): (ArrayView1<f64>, ArrayView1<T>)| {
        let (mut apart, mut size) = (0.0, 0.0);
        for (a, b) in a.iter().zip(b).map(|(a, b)| (*a, b.wide())).filter(|(a, b)| a.is_finite() && b.is_finite()) {
            apart += (a - b) * (a - b);
            size += b * b;
        }
        (apart, size)
    };
    let last = NdAxis(values.ndim() - 1);
    let pairs: Vec<_> = values.lanes(last).into_iter().zip(expected.lanes(last)).collect();
    // Summed in their order, whatever the number of threads.
    let rows: Vec<(f64, f64)> = pairs.into_par_iter().with_min_len(16).map(row).collect();
    let (apart, size) = rows.into_iter().fold((0.0, 0.0), |(apart, size), row| (apart + row.0, size + row.1));
    if apart == 0.0 { 0.0 } else { (apart / size).sqrt() }
}
