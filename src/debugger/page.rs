//! How pages are made; and one page of an activation: the numbers a pane shows, pooled and cut to its size.

use std::ops::Range;

use ndarray::{ArrayView2, Axis as NdAxis, Dimension, Ix2, s};

use super::full::{MASKED, difference};
use super::memo::Origin;
use super::state::Debugger;
use super::view::{ComparisonLine, Page, PageRequest, Shown, TensorPage, TensorRequest, Token, Witness};
use crate::diagnose::{Part, compare_parts};
use crate::dump::shared_rows;
use crate::engine::{Axis, Keyed, Site};
use crate::metrics::{middle_range, pool, summarise};

/// What a pane asks for.
pub trait Request {
    /// What it gets.
    type Page;

    /// The page, made from a debugger as it stands.
    ///
    /// # Errors
    /// One sentence for the user, when there is nothing to show.
    fn page(&self, debugger: &Debugger) -> Result<Self::Page, String>;
}

impl Request for PageRequest {
    type Page = Page;

    fn page(&self, debugger: &Debugger) -> Result<Page, String> {
        match self {
            Self::Tensor(request) => request.page(debugger).map(Page::Tensor),
            Self::Histogram(request) => request.page(debugger).map(Page::Histogram),
            Self::Attention(request) => request.page(debugger).map(Page::Attention),
            Self::Lens(request) => request.page(debugger).map(Page::Lens),
            Self::Cache(request) => request.page(debugger).map(Page::Cache),
        }
    }
}

impl Request for TensorRequest {
    type Page = TensorPage;

    fn page(&self, debugger: &Debugger) -> Result<TensorPage, String> {
        let graph = debugger.graph();
        let site = graph.site(self.row).ok_or("there is no such op")?;
        let node = &graph[site];
        let (whole, pair, mut notes) = debugger.shown(site, self.shown)?;
        let names = node.axes.iter().map(|axis| axis.name);
        let planes = node.plane_axis().map_or(1, |axis| whole.len_of(NdAxis(axis)));
        let worst = self.worst.and_then(|pair| worst(debugger, site, pair));
        let (shown, row, column) = worst.unwrap_or((self.plane, self.rows.0, self.columns.0));
        let shown = shown.min(planes.saturating_sub(1));
        let plane = match node.plane_axis() {
            Some(axis) => whole.index_axis(NdAxis(axis), shown),
            None => whole.view(),
        };
        let plane = plane.into_dimensionality::<Ix2>().expect("activations have two or three axes");
        let (mut rows, mut columns) = ((row, self.rows.1), (column, self.columns.1));
        if worst.is_some() {
            // As many as there is room for.
            rows.0 = row.min(plane.nrows().saturating_sub(rows.1));
            columns.0 = column.min(plane.ncols().saturating_sub(columns.1));
        }
        let (heat_from, heat) = magnified(plane.view(), (rows.0, columns.0), self.magnify);
        // Around 1, a ratio has no sign.
        let around_one = matches!(self.shown, Shown::Ratio(..)).then(|| heat.mapv(|ratio| ratio - 1.0));
        let heat = around_one.as_ref().map_or(heat, |heat| heat.view());
        let (pooled, heatmap) = pool(heat, self.heatmap);
        let (comparisons, said) = kept_comparisons(debugger, site);
        notes.extend(said);
        Ok(TensorPage {
            name: node.name.clone(),
            meaning: node.meaning,
            axes: names.clone().zip(whole.shape().iter().copied()).collect(),
            planes,
            place: (shown, rows.0, columns.0),
            plane_word: node.plane_word(),
            row_axis: (node.axes[node.row_axis()].name, plane.nrows()),
            column_axis: (node.axes.last().map_or("", |axis| axis.name), plane.ncols()),
            first_position: debugger.pass.run.first_position(),
            vocabulary: vocabulary(debugger, site, inside(columns, plane.ncols())),
            numbers: cut(plane.view(), rows, columns),
            heatmap,
            pooled,
            heat_from,
            range: middle_range(heat.iter()),
            // A ratio is made of the same two as the difference.
            summary: match self.shown {
                Shown::Ratio(..) => summarise(whole.view()),
                _ => debugger.memos.summaries.get_or(pair, || summarise(whole.view())),
            },
            comparisons,
            notes,
        })
    }
}

/// The comparisons, from what is kept if all witnesses are what they were.
fn kept_comparisons(debugger: &Debugger, site: Site) -> (Vec<ComparisonLine>, Vec<String>) {
    let witnesses = debugger.witnesses();
    if witnesses.len() == 1 {
        return Default::default();
    }
    let origins: Vec<Origin> =
        witnesses.into_iter().map(|witness| debugger.origin(debugger.pass.run.forward(), site, witness)).collect();
    if let Some(lines) = debugger.memos.comparisons.get(&origins) {
        return (lines, Vec::new());
    }
    let (lines, notes) = comparisons(debugger, site);
    // What is missing may come back, with its file.
    if notes.is_empty() {
        debugger.memos.comparisons.keep(origins, lines.clone());
    }
    (lines, notes)
}

fn comparisons(debugger: &Debugger, site: Site) -> (Vec<ComparisonLine>, Vec<String>) {
    let witnesses = debugger.witnesses();
    let part = |witness: Witness| debugger.seen(debugger.pass.run.forward(), site, witness).ok();
    let parts: Vec<(Witness, Part)> =
        witnesses.iter().filter_map(|witness| part(*witness).map(|seen| (*witness, seen.part))).collect();
    let graph = debugger.graph();
    let mut lines = Vec::new();
    let mut pairs = [
        (Witness::Candidate, Witness::Reference),
        (Witness::Engine, Witness::Reference),
        (Witness::Engine, Witness::Candidate),
    ];
    if debugger.is_switched() {
        // Whether our engine with the mistake is the candidate: that is the question.
        pairs.reverse();
    }
    for (of, against) in pairs {
        let find = |wanted| parts.iter().find(|(witness, _)| *witness == wanted).map(|(_, part)| part);
        let (Some(a), Some(b)) = (find(of), find(against)) else { continue };
        let hidden = (debugger.is_switched() && debugger.keyed(site) == Keyed::Scores).then(|| hidden_alike(a, b));
        let (a, b) = hidden.as_ref().map_or((a, b), |(a, b)| (a, b));
        if let Some((c, worst, _)) = compare_parts(site, graph, debugger.pass.run.first_position(), a, b) {
            let (error, cosine, max_abs, nonfinite) = (c.finite_error, c.cosine, c.max_abs, c.unequal_specials);
            lines.push(ComparisonLine { of, against, error, nonfinite, cosine, max_abs, worst: worst.to_string() });
        }
    }
    let missing = witnesses.iter().filter(|w| **w != Witness::Engine && parts.iter().all(|(have, _)| have != *w));
    let notes = missing.map(|w| format!("the {} does not have {}", w.name(), graph.short(site))).collect();
    (lines, notes)
}

/// Scores that both have hidden, whatever they put there, are the same.
fn hidden_alike(a: &Part, b: &Part) -> (Part, Part) {
    let (mut a, mut b) = (a.clone(), b.clone());
    if a.values.shape() == b.values.shape() {
        ndarray::Zip::from(&mut a.values).and(&mut b.values).for_each(|a, b| {
            if *a <= MASKED && *b <= MASKED {
                (*a, *b) = (0.0, 0.0);
            }
        });
    }
    (a, b)
}

/// Where a witness is furthest from another, as plane, row and column; where one of them is not finite and the other is,
/// before all.
fn worst(debugger: &Debugger, site: Site, (of, against): (Witness, Witness)) -> Option<(usize, usize, usize)> {
    let node = &debugger.graph()[site];
    let (a, b) = (debugger.full(site, of).ok()?, debugger.full(site, against).ok()?);
    let axis = node.row_axis();
    let odd = || {
        // A row that one of them lacks is NaN there.
        let mut there = vec![false; a.values.shape()[axis]];
        for row in shared_rows(&a.rows, &b.rows) {
            there[row] = true;
        }
        let odd = |a: &f32, b: &f32| a.is_finite() != b.is_finite() || a.is_nan() != b.is_nan();
        let mut pairs = a.values.indexed_iter().zip(&b.values);
        pairs.find_map(|((index, a), b)| (odd(a, b) && there[index[axis]]).then(|| index.slice().to_vec()))
    };
    let pair = (a.origin.clone(), Some(b.origin.clone()));
    let apart =
        debugger.memos.summaries.get_or(pair, || summarise(difference(a.values.view(), b.values.view()).view()));
    // Only where something is not finite is that to be looked for.
    let index = if apart.finite < apart.count { odd() } else { None }.or(apart.absmax.map(|(_, index)| index))?;
    let plane = node.plane_axis().map_or(0, |axis| index[axis]);
    Some((plane, index[axis], *index.last()?))
}

/// The part of a plane that the heatmap shows, and where it begins: all of it, unless it is magnified.
fn magnified(plane: ArrayView2<f32>, (row, column): (usize, usize), times: usize) -> ((usize, usize), ArrayView2<f32>) {
    let part = |first: usize, length: usize| {
        let count = length.div_ceil(times.max(1));
        let first = if times > 1 { first.min(length - count.min(length)) } else { 0 };
        first..(first + count).min(length)
    };
    let (rows, columns) = (part(row, plane.nrows()), part(column, plane.ncols()));
    ((rows.start, columns.start), plane.slice_move(s![rows, columns]))
}

/// A first and how many, cut at the edge.
fn inside((first, count): (usize, usize), length: usize) -> Range<usize> {
    first.min(length)..first.saturating_add(count).min(length)
}

/// The tokens that columns stand for, where they are those of the vocabulary.
fn vocabulary(debugger: &Debugger, site: Site, columns: Range<usize>) -> Vec<Token> {
    let axis = debugger.graph()[site].axes.last().filter(|axis| axis.name == Axis::VOCABULARY);
    axis.map_or_else(Vec::new, |_| columns.map(|id| debugger.token(id as u32)).collect())
}

/// The numbers of a window, cut at the edges.
fn cut(plane: ArrayView2<f32>, rows: (usize, usize), columns: (usize, usize)) -> Vec<Vec<f32>> {
    let (rows, columns) = (inside(rows, plane.nrows()), inside(columns, plane.ncols()));
    rows.map(|row| columns.clone().map(|column| plane[[row, column]]).collect()).collect()
}
