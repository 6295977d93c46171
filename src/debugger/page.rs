//! What panes ask for and get; and one page of an activation: the numbers a pane shows, pooled and cut to its size.

use ndarray::{ArrayView2, Axis as NdAxis, Ix2, s};

use super::kept::Origin;
use super::state::Debugger;
use super::view::{
    AttentionPage, AttentionRequest, CachePage, CacheRequest, ComparisonLine, HistogramPage, HistogramRequest,
    LensPage, LensRequest, Shown, TensorPage, TensorRequest, Witness,
};
use super::whole::MASKED;
use crate::diagnose::{Part, compare_parts};
use crate::engine::{Keyed, Site};
use crate::metrics::{middle_range, pool, summarise};

/// A page that a pane wants.
#[derive(Clone, Debug, PartialEq)]
pub enum PageRequest {
    /// Of an activation.
    Tensor(TensorRequest),
    /// How an activation is distributed.
    Histogram(HistogramRequest),
    /// Of a layer's attention.
    Attention(AttentionRequest),
    /// Of the logit lens.
    Lens(LensRequest),
    /// Of the KV cache.
    Cache(CacheRequest),
}

/// A page.
#[derive(Clone, Debug)]
pub enum Page {
    /// Of an activation.
    Tensor(TensorPage),
    /// How an activation is distributed.
    Histogram(HistogramPage),
    /// Of a layer's attention.
    Attention(AttentionPage),
    /// Of the logit lens.
    Lens(LensPage),
    /// Of the KV cache.
    Cache(CachePage),
}

impl Debugger {
    /// The page that a pane wants.
    ///
    /// # Errors
    /// One sentence for the user, when there is nothing to show.
    pub fn page(&self, request: &PageRequest) -> Result<Page, String> {
        match request {
            PageRequest::Tensor(request) => self.tensor(request).map(Page::Tensor),
            PageRequest::Histogram(request) => self.histogram(request).map(Page::Histogram),
            PageRequest::Attention(request) => self.attention(request).map(Page::Attention),
            PageRequest::Lens(request) => self.lens(request).map(Page::Lens),
            PageRequest::Cache(request) => Ok(Page::Cache(self.cache(request))),
        }
    }

    /// The page that `request` asks for.
    ///
    /// # Errors
    /// One sentence for the user: the activation is not computed yet, or the witness does not have it.
    ///
    /// # Panics
    /// Never: every activation has two or three axes.
    pub fn tensor(&self, request: &TensorRequest) -> Result<TensorPage, String> {
        let graph = self.run.graph();
        let site = graph.site(request.row).ok_or("there is no such op")?;
        let node = &graph[site];
        let (whole, pair, mut notes) = self.shown(site, request.shown)?;
        let names = node.axes.iter().map(|axis| axis.name);
        let planes = node.plane_axis().map_or(1, |axis| whole.len_of(NdAxis(axis)));
        let plane = match node.plane_axis() {
            Some(axis) => whole.index_axis(NdAxis(axis), request.plane.min(planes.saturating_sub(1))),
            None => whole.view(),
        };
        let plane = plane.into_dimensionality::<Ix2>().expect("activations have two or three axes");
        let (heat_from, heat) = magnified(plane.view(), request);
        // Around 1, a ratio has no sign.
        let around_one = matches!(request.shown, Shown::Ratio(..)).then(|| heat.mapv(|ratio| ratio - 1.0));
        let heat = around_one.as_ref().map_or(heat, |heat| heat.view());
        let (pooled, heatmap) = pool(heat, request.heatmap);
        let (comparisons, said) = self.kept_comparisons(site);
        notes.extend(said);
        Ok(TensorPage {
            name: node.name.clone(),
            meaning: node.meaning,
            axes: names.clone().zip(whole.shape().iter().copied()).collect(),
            planes,
            plane_word: node.plane_word(),
            row_axis: (node.axes[node.row_axis()].name, plane.nrows()),
            column_axis: (node.axes.last().map_or("", |axis| axis.name), plane.ncols()),
            first_position: self.run.first_position(),
            numbers: cut(plane.view(), request.rows, request.columns),
            heatmap,
            pooled,
            heat_from,
            range: middle_range(heat.iter()),
            // A ratio is made of the same two as the difference.
            summary: match request.shown {
                Shown::Ratio(..) => summarise(whole.view()),
                _ => self.kept.summaries.get_or(pair, || summarise(whole.view())),
            },
            comparisons,
            notes,
        })
    }

    /// The comparisons, from what is kept if all witnesses are what they were.
    fn kept_comparisons(&self, site: Site) -> (Vec<ComparisonLine>, Vec<String>) {
        let witnesses = self.header().witnesses;
        if witnesses.len() == 1 {
            return Default::default();
        }
        let origins: Vec<Origin> =
            witnesses.into_iter().map(|witness| self.origin(self.run.forward(), site, witness)).collect();
        if let Some(lines) = self.kept.comparisons.get(&origins) {
            return (lines, Vec::new());
        }
        let (lines, notes) = self.comparisons(site);
        // What is missing may come back, with its file.
        if notes.is_empty() {
            self.kept.comparisons.keep(origins, lines.clone());
        }
        (lines, notes)
    }

    fn comparisons(&self, site: Site) -> (Vec<ComparisonLine>, Vec<String>) {
        let witnesses = self.header().witnesses;
        let part = |witness: Witness| self.part(site, witness).ok();
        let parts: Vec<(Witness, Part)> =
            witnesses.iter().filter_map(|witness| part(*witness).map(|(part, _)| (*witness, part))).collect();
        let graph = self.run.graph();
        let mut lines = Vec::new();
        let mut pairs = [
            (Witness::Candidate, Witness::Reference),
            (Witness::Engine, Witness::Reference),
            (Witness::Engine, Witness::Candidate),
        ];
        if self.is_switched() {
            // Whether our engine with the mistake is the candidate: that is the question.
            pairs.reverse();
        }
        for (of, against) in pairs {
            let find = |wanted| parts.iter().find(|(witness, _)| *witness == wanted).map(|(_, part)| part);
            let (Some(a), Some(b)) = (find(of), find(against)) else { continue };
            let hidden = (self.is_switched() && self.keyed(site) == Keyed::Scores).then(|| hidden_alike(a, b));
            let (a, b) = hidden.as_ref().map_or((a, b), |(a, b)| (a, b));
            if let Some((c, worst, _)) = compare_parts(site, graph, self.run.first_position(), a, b) {
                let (error, cosine, max_abs) = (c.error, c.cosine, c.max_abs);
                lines.push(ComparisonLine { of, against, error, cosine, max_abs, worst: worst.to_string() });
            }
        }
        let missing = witnesses.iter().filter(|w| **w != Witness::Engine && parts.iter().all(|(have, _)| have != *w));
        let notes = missing.map(|w| format!("the {} does not have {}", w.name(), graph.short(site))).collect();
        (lines, notes)
    }
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

/// The part of a plane that the heatmap shows, and where it begins: all of it, unless it is magnified.
fn magnified<'a>(plane: ArrayView2<'a, f32>, request: &TensorRequest) -> ((usize, usize), ArrayView2<'a, f32>) {
    let part = |first: usize, length: usize| {
        let count = length.div_ceil(request.magnify.max(1));
        let first = if request.magnify > 1 { first.min(length - count.min(length)) } else { 0 };
        first..(first + count).min(length)
    };
    let (rows, columns) = (part(request.rows.0, plane.nrows()), part(request.columns.0, plane.ncols()));
    ((rows.start, columns.start), plane.slice_move(s![rows, columns]))
}

/// The numbers of a window, cut at the edges.
fn cut(plane: ArrayView2<f32>, rows: (usize, usize), columns: (usize, usize)) -> Vec<Vec<f32>> {
    let inside =
        |(first, count): (usize, usize), length: usize| first.min(length)..first.saturating_add(count).min(length);
    let (rows, columns) = (inside(rows, plane.nrows()), inside(columns, plane.ncols()));
    rows.map(|row| columns.clone().map(|column| plane[[row, column]]).collect()).collect()
}
