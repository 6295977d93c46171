//! How far a dumped tensor lies from the exact result on the dump's own inputs, measured in the noise that a correct
//! program of the same precision makes there.
//!
//! There is no tolerance: the noise is that of the same ops, emulated. It is looked at in groups of elements (each row,
//! each head, each head of each row), so that a mistake in one of them is not diluted by the others; and elements a
//! hundred times the median ("massive activations", Sun et al., arXiv 2402.17762) form a group of their own, so that
//! they dominate neither error nor noise.

use ndarray::{ArrayView1, ArrayView3, ArrayViewD, Axis as NdAxis};
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

use super::part::Part;
use super::precision::Precision;
use crate::engine::{Graph, Keyed, Node, Site, Value};
use crate::metrics::squared_distances;
use crate::ops::{self, Mask, Real};

/// What the op gives on the dump's own inputs.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// In f64.
    pub exact: &'a Value<f64>,
    /// As correct programs of the dump's precision compute it.
    pub draws: &'a [Value<f32>],
    /// More draws, of which the mean counts: on values that its inputs may have had before they were stored in fewer bits, or
    /// where few elements make noise that is small by luck. Empty where that is known to be no matter.
    pub more: &'a [Value<f32>],
}

/// How strict to be, and how small noise can be.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// A group whose error exceeds its noise so many times is out of order, if it is a large group.
    pub limit: f64,
    /// The same for the tensor as a whole, from what the same op shows in other layers.
    pub kin: Option<f64>,
    /// The least noise: relative error of a correct result, however lucky the draws.
    pub least: f64,
    /// The same of each element, absolute: formats have no number between 0 and their least one.
    pub least_element: f64,
}

impl Terms {
    /// For a node whose value has `shape`, computed in `precision`.
    pub fn new(limit: f64, precision: Precision, node: &Node, shape: &[usize]) -> Self {
        let (least, least_element) = (precision.least(node, shape), precision.least_half_unit());
        Self { limit, kin: None, least, least_element }
    }
}

/// What was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Noise {
    /// Relative L2 error of the dump against the exact result, over the elements that are finite in both.
    pub local_error: f64,
    /// The same of the draws: the largest.
    pub floor: f64,
    /// The error of the group that is furthest out of order, in units of what is allowed there: in order up to 1.
    pub score: f64,
    /// The group that is furthest out of order: its relative error, and that of the draws there.
    pub group: (f64, f64),
    /// Whether all elements together are out of order.
    pub whole: bool,
    /// Whether it has so few elements that its noise may be small by luck.
    pub group_is_small: bool,
    /// Which row it is, as an index into the part's rows, and which head, if it is of one.
    pub group_at: (Option<usize>, Option<usize>),
    /// The least error of a row over its noise: near 0 if some row is far better than the noise says.
    pub quietest: f64,
    /// The first row, as an index into the part's rows, that is out of order.
    pub first_row: Option<usize>,
    /// The heads that are out of order; empty if there are no heads.
    pub heads: Vec<usize>,
    /// Rows that are out of order, as indices into the part's rows.
    pub rows: Vec<usize>,
    /// The score of the elements that are finite in both.
    pub finite_score: f64,
    /// Elements that are finite in one of the two only: one is enough to be out of order.
    pub unequal: usize,
    /// Elements that are finite in both: with none, nothing is known of the error.
    pub finite: usize,
    /// Number of massive elements.
    pub massive: usize,
    /// An element is massive above this size.
    pub massive_above: f64,
}

impl Noise {
    /// Whether everything is explained by rounding.
    pub fn is_in_order(&self) -> bool {
        self.score <= 1.0
    }

    /// Error over floor.
    pub fn ratio(&self) -> f64 {
        if self.local_error == 0.0 { 0.0 } else { self.local_error / self.floor }
    }

    /// Relative error and noise that say why it is out of order: of all elements where these are, else of the group that is.
    pub fn telling(&self) -> (f64, f64) {
        if self.finite_score <= 1.0 || self.whole { (self.local_error, self.floor) } else { self.group }
    }

    /// What is left where elements that are not finite are no fault of this op; without the rows and heads that are out of
    /// order, which these may be for.
    #[must_use]
    pub fn of_finite(self) -> Self {
        let (rows, heads) = (Vec::new(), Vec::new());
        Self { score: self.finite_score, unequal: 0, first_row: None, rows, heads, ..self }
    }
}

/// Squared sums over a group of elements.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    /// Elements that are finite in both.
    count: usize,
    /// Elements that are finite in one only.
    unequal: usize,
    /// Of dump - exact.
    error: f64,
    /// Of draw - exact: the largest of the draws is the noise. The last is the mean over those that there are more of.
    noise: [f64; DRAWS + 1],
    /// Of exact.
    size: f64,
}

/// With so many elements, the noise of a row is hardly ever small by luck.
const ENOUGH: usize = 24;

/// With so many elements, noise is the same from one layer to the next.
const MANY: usize = 200;

/// Draws that are looked at.
pub const DRAWS: usize = 2;

impl Sums {
    fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.unequal += other.unequal;
        self.error += other.error;
        self.size += other.size;
        for (noise, other) in self.noise.iter_mut().zip(other.noise) {
            *noise += other;
        }
    }

    fn floor(&self, terms: Terms) -> f64 {
        let of_elements = terms.least_element.powi(2) * self.count as f64;
        self.noise.iter().copied().fold(terms.least * terms.least * self.size + of_elements, f64::max).sqrt()
    }

    /// Relative error, and relative noise.
    fn figures(&self, terms: Terms) -> (f64, f64) {
        let size = if self.size > 0.0 { self.size.sqrt() } else { 1.0 };
        (self.error.sqrt() / size, (self.floor(terms) / size).max(f64::MIN_POSITIVE))
    }

    /// Error in units of what is allowed. Noise of a few elements can be small by luck: they are allowed more.
    fn score(&self, terms: Terms) -> f64 {
        if self.error == 0.0 || self.count == 0 {
            return 0.0;
        }
        let allowed = terms.limit * (1.0 + 4.0 / (self.count as f64).sqrt()) * self.floor(terms);
        if allowed > 0.0 { self.error.sqrt() / allowed } else { f64::INFINITY }
    }
}

/// The elements of one row and head: the ordinary ones and the massive ones.
type Cell = [Sums; 2];

/// Measures `part` against what is expected. `first` is the position of the forward's first token.
pub fn measure(site: Site, graph: &Graph, first: usize, part: &Part, expected: Expected, terms: Terms) -> Noise {
    measure_under(graph.mask(site, first), site, graph, part, expected, terms)
}

/// The same under another mask than the model's.
pub fn measure_under(mask: Mask, site: Site, graph: &Graph, part: &Part, expected: Expected, terms: Terms) -> Noise {
    let node = &graph[site];
    // What the mask hides has no score; its probability is zero, and is compared.
    let masked = node.op.facts().keyed == Keyed::Scores;
    let (values, exact) = (by_head(part.values.view(), node), by_head(expected.exact.view(), node));
    let draws: Vec<ArrayView3<f32>> = expected.draws.iter().map(|draw| by_head(draw.view(), node)).collect();
    let more: Vec<ArrayView3<f32>> = expected.more.iter().map(|draw| by_head(draw.view(), node)).collect();
    let heads = values.len_of(NdAxis(0));
    let limit = massive_limit(exact);
    let rows = part.rows.len();
    let cells: Vec<Cell> = (0..heads * rows)
        .into_par_iter()
        .with_min_len(16)
        .map(|cell| {
            let (head, row) = (cell / rows, cell % rows);
            let at = part.rows[row];
            let y = values.index_axis(NdAxis(0), head).index_axis_move(NdAxis(0), row);
            let o = exact.index_axis(NdAxis(0), head).index_axis_move(NdAxis(0), at);
            let draws: Vec<_> =
                draws.iter().map(|draw| draw.index_axis(NdAxis(0), head).index_axis_move(NdAxis(0), at)).collect();
            let more: Vec<_> =
                more.iter().map(|draw| draw.index_axis(NdAxis(0), head).index_axis_move(NdAxis(0), at)).collect();
            let mut sums = Cell::default();
            if !masked
                && more.is_empty()
                && let Some(ordinary) = plain(y, o, &draws, part.first_key, limit)
            {
                sums[0] = ordinary;
                return sums;
            }
            for (column, y) in y.iter().enumerate() {
                let column = column + part.first_key;
                if masked && !mask.allows(at, column) {
                    continue;
                }
                let (y, o) = (f64::from(*y), o[column]);
                let sums = &mut sums[usize::from(o.abs() > limit)];
                if !(y.is_finite() && o.is_finite()) || (masked && is_hidden(y, o)) {
                    sums.unequal += usize::from(y.is_finite() != o.is_finite() || (masked && is_hidden(y, o)));
                    continue;
                }
                sums.count += 1;
                sums.error += (y - o) * (y - o);
                sums.size += o * o;
                let squared = |draw: &ArrayView1<f32>| {
                    let difference = f64::from(draw[column]) - o;
                    if difference.is_finite() { difference * difference } else { 0.0 }
                };
                for (noise, draw) in sums.noise.iter_mut().zip(&draws) {
                    *noise += squared(draw);
                }
                if !more.is_empty() {
                    let sum: f64 = more.iter().map(squared).sum();
                    sums.noise[DRAWS] += sum / more.len() as f64;
                }
            }
            sums
        })
        .collect();
    let noise = summarise(&cells, heads, rows, terms);
    // The slots of experts are looked at one by one, but are no heads.
    let heads = if node.heads().is_some() { noise.heads } else { Vec::new() };
    Noise { massive_above: limit, heads, ..noise }
}

/// Whether a score is that of a key that a mask of the dump hides, where the right one is `o`: programs add -inf, the
/// least number of their format, or -10000.
pub(super) fn is_hidden(y: f64, o: f64) -> bool {
    const HIDDEN: f64 = -9e3;
    const SEEN: f64 = -1e3;
    y <= HIDDEN && o >= SEEN
}

/// The sums of a row without massive elements, in which all numbers are finite.
fn plain(
    y: ArrayView1<f32>,
    o: ArrayView1<f64>,
    draws: &[ArrayView1<f32>],
    first: usize,
    massive: f64,
) -> Option<Sums> {
    let columns = first..first + y.len();
    let (y, o) = (y.to_slice()?, o.to_slice()?.get(columns.clone())?);
    let [a, b] = draws else { return None };
    let others = [y, a.to_slice()?.get(columns.clone())?, b.to_slice()?.get(columns)?];
    let ([error, a, b], size) = squared_distances(o, others);
    let finite = size + error + a + b < f64::INFINITY;
    let noise = [a, b, 0.0];
    (finite && o.iter().all(|o| o.abs() <= massive)).then_some(Sums { count: o.len(), unequal: 0, error, noise, size })
}

fn summarise(cells: &[Cell], heads: usize, rows: usize, terms: Terms) -> Noise {
    let (mut all, mut ordinary, mut massive) = (Sums::default(), Sums::default(), Sums::default());
    let (mut by_row, mut by_head) = (vec![Sums::default(); rows], vec![Sums::default(); heads]);
    for (index, [common, large]) in cells.iter().enumerate() {
        for sums in [&mut by_row[index % rows], &mut by_head[index / rows], &mut ordinary, &mut all] {
            sums.add(common);
        }
        massive.add(large);
        all.add(large);
    }
    let cell_score = |head: usize, row: usize| cells[head * rows + row][0].score(terms);
    let row_score = |row: usize| (0..heads).map(|head| cell_score(head, row)).fold(by_row[row].score(terms), f64::max);
    let head_score =
        |head: usize| (0..rows).map(|row| cell_score(head, row)).fold(by_head[head].score(terms), f64::max);
    let row_scores: Vec<f64> = (0..rows).map(row_score).collect();
    let score = row_scores.iter().copied().fold(ordinary.score(terms).max(massive.score(terms)), f64::max);
    let score = (0..heads).map(|head| by_head[head].score(terms)).fold(score, f64::max);
    let kin = terms.kin.filter(|_| ordinary.count >= MANY);
    let score = kin.map_or(score, |kin| score.max(ordinary.error.sqrt() / (kin * ordinary.floor(terms))));
    let out_of_order: Vec<usize> = (0..rows).filter(|row| row_scores[*row] > 1.0 || by_row[*row].unequal > 0).collect();
    let bad_head = |head: usize| {
        head_score(head) > 1.0 || (0..rows).any(|row| cells[head * rows + row].iter().any(|sums| sums.unequal > 0))
    };
    let of_cells =
        (0..heads * rows).map(|cell| (&cells[cell][0], (Some(cell % rows), (heads > 1).then(|| cell / rows))));
    let of_rows = by_row.iter().enumerate().map(|(row, sums)| (sums, (Some(row), None)));
    let of_heads = by_head.iter().enumerate().map(|(head, sums)| (sums, (None, (heads > 1).then_some(head))));
    let groups = [(&ordinary, (None, None)), (&massive, (None, None))].into_iter().chain(of_rows).chain(of_heads);
    let furthest = groups.chain(of_cells).max_by(|a, b| a.0.score(terms).total_cmp(&b.0.score(terms)));
    let (sums, group_at) = furthest.map_or_else(Default::default, |(sums, at)| (*sums, at));
    let group = if sums.count > 0 { sums.figures(terms) } else { (0.0, 0.0) };
    let quiet = |row: &Sums| row.error.sqrt() / row.floor(terms).max(f64::MIN_POSITIVE);
    let quietest = by_row.iter().filter(|row| row.count >= ENOUGH).map(quiet).fold(f64::INFINITY, f64::min);
    let size = all.size.sqrt();
    let relative = |squared: f64| if squared == 0.0 { 0.0 } else { squared.sqrt() / size };
    Noise {
        local_error: relative(all.error),
        floor: (all.floor(terms) / if size > 0.0 { size } else { 1.0 }).max(f64::MIN_POSITIVE),
        score: if all.unequal > 0 { f64::INFINITY } else { score },
        group,
        group_is_small: sums.count < ENOUGH,
        whole: all.score(terms) > 1.0,
        group_at,
        quietest,
        first_row: out_of_order.first().copied(),
        heads: if heads == 1 { Vec::new() } else { (0..heads).filter(|head| bad_head(*head)).collect() },
        rows: out_of_order,
        finite_score: score,
        unequal: all.unequal,
        finite: all.count,
        massive: massive.count,
        massive_above: f64::INFINITY,
    }
}

/// A view `[head, row, column]` of an activation: `[head, row, column]` as it is, `[row, head * head_dim]` split, `[row,
/// column]` as one head, and `[row, slot, column]` with slots for heads.
fn by_head<'a, T: Real>(mut x: ArrayViewD<'a, T>, node: &Node) -> ArrayView3<'a, T> {
    if x.ndim() == 3 {
        x.swap_axes(1, node.row_axis());
        return x.into_dimensionality().expect("three axes");
    }
    let width = node.heads().map_or(x.shape()[1], |(_, width)| width);
    ops::by_head(x, width).expect("an activation is contiguous")
}

/// An element is massive above this size: a hundred times the median of a sample of them.
fn massive_limit(exact: ArrayView3<f64>) -> f64 {
    const SAMPLE: usize = 4096;
    let every = exact.len().div_ceil(SAMPLE).max(1);
    // A step that shares no factor with the sizes of models, so that no channel is sampled over and over.
    let every = if every > 1 { every | 1 } else { 1 };
    let mut sizes: Vec<f64> =
        exact.iter().step_by(every).map(|v| v.abs()).filter(|v| v.is_finite() && *v > 0.0).collect();
    if sizes.len() < 16 {
        return f64::INFINITY;
    }
    let middle = sizes.len() / 2;
    let (_, median, _) = sizes.select_nth_unstable_by(middle, f64::total_cmp);
    100.0 * *median
}
