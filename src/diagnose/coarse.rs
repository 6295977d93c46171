//! Weights of fewer bits than the model's, as in a quantised file: every product with them is off by a little, in no
//! pattern. One such product may as well be a mistake of that size; it is presumed, and what follows confirms or refutes
//! it: with quantised weights all products are off, and none by far more than the others.

use std::collections::{BTreeMap, BTreeSet};

use ndarray::{Array2, ArrayD, ArrayView1, ArrayViewD, Axis as NdAxis};

use super::arithmetic::{is_kept_fine, is_projection};
use super::forced::Forced;
use super::part::Part;
use crate::engine::{Graph, Site};
use crate::model::graph::Class;
use crate::ops::Operands;

/// What speaks for weights of fewer bits, and against them.
#[derive(Debug, Default)]
pub(super) struct Coarse {
    /// The finding that stands or falls with it: the first product that was off.
    pub(super) finding: Option<usize>,
    /// The products that are off, and their relative errors.
    products: Vec<(Class, f64)>,
    /// A product was exact.
    refuted: bool,
}

/// The least relative error of a product with weights of 8 bits, and with hardly any bits at all.
const SIZES: std::ops::RangeInclusive<f64> = 1e-3..=0.35;

/// Files have weights of 2 to 8 bits side by side, but hardly of more different ones: errors 16 times as large as others.
const APART: f64 = 16.0;

/// Errors of rows, over the size of their inputs, are alike within this factor: 0.45 to 1.8 times the median among those
/// of llama.cpp with SmolLM2 in 4 to 8 bits.
const SPREAD: f64 = 4.0;

/// Errors of channels, over their size, are not further below the median, but for a tenth of them: there 0.14 of it.
const CHANNELS: f64 = 12.0;

/// The cosine between error and result is less, in the middle row: there up to 0.67. It is 1 for a wrong scale.
const ALONG: f64 = 0.9;

/// What is left of a row's error without the mean of all rows is more: there 0.34. It is 0 for a wrong bias.
const OWN: f64 = 0.2;

/// Products that must be off: fewer could as well hold a mistake.
const ENOUGH: usize = 3;

impl Coarse {
    /// Whether `site`, of which all inputs were dumped, is off as weights of fewer bits make it, and nothing else explains
    /// what the products of this dump are.
    pub(super) fn explains(&self, healed: &Forced, site: Site, part: &Part, size: f64) -> bool {
        let graph = healed.graph();
        let largest = self.products.iter().map(|(_, size)| *size).reduce(f64::max);
        !self.refuted
            && is_projection(&graph[site].op)
            && healed.arithmetic.of(graph.class(site)) == Operands::Exact
            && !(is_kept_fine(site, graph) && self.products.is_empty())
            && SIZES.contains(&size)
            && largest.is_none_or(|largest| size <= APART * largest)
            && is_unstructured(healed, part)
    }

    /// One more product of which that is so.
    pub(super) fn add(&mut self, class: Class, size: f64) {
        self.products.push((class, size));
    }

    /// A product that was in order with exact operands has the model's own weights, unless its noise hides the error.
    /// Returns the finding that is wrong then.
    pub(super) fn weigh(&mut self, site: Site, graph: &Graph, error: f64) -> Option<usize> {
        let least = self.products.iter().map(|(_, size)| *size).reduce(f64::min);
        let is_fine = !is_projection(&graph[site].op) || is_kept_fine(site, graph);
        if is_fine || least.is_some_and(|least| error >= 0.5 * least) {
            return None;
        }
        self.refuted = true;
        self.finding.take()
    }

    /// Whether enough products speak for it.
    pub(super) fn is_sure(&self) -> bool {
        self.products.len() >= ENOUGH
    }

    /// One sentence, if the weights are taken for coarser than the model's.
    pub(super) fn describe(&self, graph: &Graph) -> Option<String> {
        self.finding.filter(|_| self.is_sure())?;
        let sizes = sorted(self.products.iter().map(|(_, size)| *size));
        let ops: BTreeSet<Class> = self.products.iter().map(|(op, _)| *op).collect();
        let ops: Vec<&str> = ops.into_iter().map(|op| graph.class_label(op)).collect();
        let (least, middle, largest) = (sizes[0], sizes[sizes.len() / 2], sizes[sizes.len() - 1]);
        Some(format!(
            "weights of about {} bits in {}: error {middle:.1e} of each product ({least:.1e} to {largest:.1e})",
            bits(middle),
            ops.join(", ")
        ))
    }

    /// The layers by the error of their products, the largest first; `of_layers` are the errors of each product.
    pub(super) fn ranked(&self, of_layers: impl Iterator<Item = (usize, f64)>) -> Option<String> {
        const TOLD: usize = 5;
        self.finding.filter(|_| self.is_sure())?;
        let mut layers: BTreeMap<usize, (f64, usize)> = BTreeMap::new();
        for (layer, error) in of_layers {
            let (sum, count) = layers.entry(layer).or_default();
            *sum += error * error;
            *count += 1;
        }
        let mut errors: Vec<(usize, f64)> =
            layers.into_iter().map(|(layer, (sum, count))| (layer, (sum / count as f64).sqrt())).collect();
        errors.sort_by(|a, b| b.1.total_cmp(&a.1));
        let told: Vec<String> =
            errors.iter().take(TOLD).map(|(layer, error)| format!("{layer} ({error:.1e})")).collect();
        (errors.len() > 1).then(|| format!("layers by the error of their products: {}", told.join(", ")))
    }
}

/// The bits of weights that make products of this relative error: rounded to a step of the largest of their block, those of
/// 8 bits make about this much, and each bit less twice as much.
fn bits(error: f64) -> usize {
    const OF_EIGHT: f64 = 5.5e-3;
    (8.0 - (error / OF_EIGHT).log2()).round().clamp(1.0, 8.0) as usize
}

/// Whether the error of `part` has no pattern: it is in all rows, as large as their inputs say, and in all channels;
/// it is neither a multiple of the result nor the same in all rows.
fn is_unstructured(healed: &Forced, part: &Part) -> bool {
    let Some(input) = healed.input(0) else { return false };
    let of_rows = |x: ArrayViewD<f64>| flat(x.select(NdAxis(0), &part.rows));
    let (exact, input) = (of_rows(healed.exact().view()), of_rows(input));
    let error = flat(part.values.mapv(f64::from)) - &exact;
    // Several experts may read one row.
    let readers = exact.nrows() / input.nrows();
    let norm = |row: ArrayView1<f64>| row.dot(&row).sqrt();
    let of_inputs = error.rows().into_iter().enumerate().map(|(at, row)| norm(row) / norm(input.row(at / readers)));
    let of_channels = error.columns().into_iter().zip(exact.columns()).map(|(e, y)| norm(e) / norm(y));
    let along = error.rows().into_iter().zip(exact.rows()).map(|(e, y)| e.dot(&y).abs() / (norm(e) * norm(y)));
    let middle = error.mean_axis(NdAxis(0)).unwrap_or_default();
    let own = error.rows().into_iter().map(|row| norm((&row - &middle).view()) / norm(row));
    let (rows, channels) = (sorted(of_inputs), sorted(of_channels));
    let at = |sorted: &[f64], share: f64| sorted[((sorted.len() - 1) as f64 * share) as usize];
    let alike = at(&rows, 0.0) * SPREAD >= at(&rows, 0.5)
        && at(&rows, 1.0) <= SPREAD * at(&rows, 0.5)
        && at(&channels, 0.1) * CHANNELS >= at(&channels, 0.5);
    alike && at(&sorted(along), 0.5) < ALONG && (part.rows.len() < 2 || at(&sorted(own), 0.5) > OWN)
}

/// Rows of what may have slots as well.
fn flat(x: ArrayD<f64>) -> Array2<f64> {
    let width = x.shape()[x.ndim() - 1];
    let rows = x.len() / width;
    let x = if x.is_standard_layout() { x } else { x.as_standard_layout().into_owned() };
    x.into_shape_with_order((rows, width)).expect("as many numbers")
}

fn sorted(numbers: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut sorted: Vec<f64> = numbers.map(|number| if number.is_finite() { number } else { 0.0 }).collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}
