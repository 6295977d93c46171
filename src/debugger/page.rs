//! How pages are made; and the page of an activation.

use std::ops::Range;

use super::full::MASKED;
use super::memo::Origin;
use super::sheet::{Sheet, apart, furthest, inside};
use super::state::Debugger;
use super::view::{ComparisonLine, Page, PageRequest, Shown, TensorPage, TensorRequest, Token, Witness};
use crate::diagnose::{Part, compare_parts};
use crate::dump::shared_rows;
use crate::engine::{Axis, Keyed, Site};
use crate::metrics::summarise;

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
            Self::Experts(request) => request.page(debugger).map(Page::Experts),
        }
    }
}

impl Request for TensorRequest {
    type Page = TensorPage;

    fn page(&self, debugger: &Debugger) -> Result<TensorPage, String> {
        let graph = debugger.graph();
        let site = graph.site(self.row).ok_or("there is no such op")?;
        let (whole, pair, mut notes) = debugger.shown(site, self.shown)?;
        let sheet = Sheet::of(&graph[site], &whole, debugger.pass.run.first_position());
        let worst = self.worst.and_then(|pair| sheet.place(&worst(debugger, site, pair)?));
        // A ratio is made of the same two as the difference.
        let summary = match self.shown {
            Shown::Ratio(..) => summarise(whole.view()),
            _ => debugger.memos.summaries.get_or(pair, || summarise(whole.view())),
        };
        let (comparisons, said) = kept_comparisons(debugger, site);
        notes.extend(said);
        let page = sheet.page(self, worst, summary);
        let columns = inside((page.place.2, self.columns.1), page.column_axis.1);
        Ok(TensorPage { vocabulary: vocabulary(debugger, site, columns), comparisons, notes, ..page })
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

/// Where a witness is furthest from another, as an index.
fn worst(debugger: &Debugger, site: Site, (of, against): (Witness, Witness)) -> Option<Vec<usize>> {
    let (a, b) = (debugger.full(site, of).ok()?, debugger.full(site, against).ok()?);
    let pair = (a.origin.clone(), Some(b.origin.clone()));
    let apart = debugger.memos.summaries.get_or(pair, || apart(&a.values, &b.values));
    let shared = shared_rows(&a.rows, &b.rows);
    let there = |row: usize| shared.binary_search(&row).is_ok();
    furthest(&a.values, &b.values, debugger.graph()[site].row_axis(), there, apart)
}

/// The tokens that columns stand for, where they are those of the vocabulary.
fn vocabulary(debugger: &Debugger, site: Site, columns: Range<usize>) -> Vec<Token> {
    let axis = debugger.graph()[site].axes.last().filter(|axis| axis.name == Axis::VOCABULARY);
    axis.map_or_else(Vec::new, |_| columns.map(|id| debugger.token(id as u32)).collect())
}
