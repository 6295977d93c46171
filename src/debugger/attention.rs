//! The attention page: patterns pooled to what a pane shows, and the numbers of each head.

use std::ops::Range;
use std::sync::Arc;

use ndarray::{ArrayView2, Axis, CowArray, Ix2, s};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::full::{difference, witnesses};
use super::memo::{Differences, Queries, SmallMaps};
use super::page::Request;
use super::state::Debugger;
use super::view::{AttentionPage, AttentionRequest, HeadLine, KeyLine, Quantity, Witness};
use crate::dump::shared_rows;
use crate::engine::{Graph, Op, Role};
use crate::metrics::{HeadNumbers, Softmax, head_numbers, largest_difference, middle_range, pool, top};
use crate::model::op::Scoring;
use crate::ops::Mask;

/// Cells, rows by columns.
type Cells = Vec<Vec<f32>>;

impl Request for AttentionRequest {
    type Page = AttentionPage;

    fn page(&self, debugger: &Debugger) -> Result<AttentionPage, String> {
        let (graph, layer) = (debugger.graph(), self.layer);
        if layer >= graph.layers() {
            return Err(format!("there is no layer {layer}: they are 0 to {}", graph.layers() - 1));
        }
        let (site, scoring) = graph
            .in_layer(layer, self.quantity.role())
            .zip(scoring(graph, layer))
            .ok_or_else(|| format!("layer {layer} has no attention"))?;
        let (witness, minus) = witnesses(self.shown);
        let of = Queries::of(debugger, site, witness)?;
        let minus = minus.map(|witness| Queries::of(debugger, site, witness)).transpose()?;
        let beside = || others(witness).into_iter().find_map(|other| Queries::of(debugger, site, other).ok());
        let against = minus.clone().or_else(beside);
        // What is compared goes as far back as both do.
        let from = of.from.max(against.as_ref().map_or(0, |against| against.from));
        let of = of.since(from, debugger);
        let against = against.map(|against| against.since(from, debugger));
        let minus = against.as_ref().filter(|_| minus.is_some());
        let first = debugger.pass.fed.feed(from).first;
        let patterns = Patterns { of: &of, minus, mask: graph.mask(site, first) };

        let (heads, rows, columns) = patterns.dim();
        let head = self.head.min(heads.saturating_sub(1));
        let query = self.query.saturating_sub(first).min(rows.saturating_sub(1));
        let asked = (self.queries.0.saturating_sub(first), self.queries.1);
        let (queries, keys) = (inside(asked, rows), inside(self.keys, columns));
        let shown = patterns.plane(head, queries.clone(), keys.clone());
        let (pooled, mut heatmap) = pool(shown.view(), self.heatmap);
        patterns.empty(&mut heatmap, pooled, &queries, &keys);

        let small = small_maps(debugger, &patterns, self.small);
        let cells: Vec<f32> = small.1.iter().flatten().flatten().copied().collect();
        let numbers = numbers(debugger, layer, witness, from);
        let differences = against.as_ref().map(|against| differences(debugger, &of, against));
        let line = |head: usize| HeadLine {
            numbers: numbers.as_ref().ok().and_then(|numbers| numbers.get(head).copied()),
            difference: differences.as_ref().and_then(|all| all.get(head).copied().flatten()),
        };
        let mut notes = of.full.notes.clone();
        notes.extend(minus.iter().flat_map(|minus| minus.full.notes.clone()));
        notes.extend(numbers.as_ref().err().cloned());
        Ok(AttentionPage {
            name: graph.name(site).to_string(),
            head,
            kv_head: scoring.groups.get(head).copied().unwrap_or_default(),
            kv_heads: scoring.groups.last().map_or(0, |last| last + 1),
            first_position: first,
            query_count: rows,
            key_count: columns,
            window: scoring.window,
            queries: (queries.start, queries.len()),
            keys: (keys.start, keys.len()),
            heatmap,
            pooled,
            range: middle_range(shown.iter()),
            small: small.1.clone(),
            small_pooled: small.0,
            small_range: middle_range(cells.iter()),
            lines: (0..heads).map(line).collect(),
            against: against.as_ref().map(|against| against.full.origin.witness),
            query,
            top: patterns.keys(self, head, query, against.as_ref()),
            notes,
        })
    }
}

fn numbers(debugger: &Debugger, layer: usize, witness: Witness, from: usize) -> Result<Arc<Vec<HeadNumbers>>, String> {
    let site = debugger.graph().in_layer(layer, Role::Probs);
    let site = site.ok_or_else(|| format!("layer {layer} has no attention"))?;
    let probs = Queries::of(debugger, site, witness)?.since(from, debugger);
    let mask = debugger.graph().mask(site, debugger.pass.fed.feed(probs.from).first);
    let ids = debugger.pass.fed.ids();
    Ok(debugger.memos.heads.get_or(probs.made_of.clone(), || {
        let of = |head| head_numbers(plane(&probs, head), &probs.full.rows, mask, ids);
        Arc::new((0..probs.full.values.shape()[0]).into_par_iter().map(of).collect())
    }))
}

fn differences(debugger: &Debugger, of: &Queries, against: &Queries) -> Differences {
    let key = (of.made_of.clone(), against.made_of.clone());
    debugger.memos.differences.get_or(key, || {
        let rows = shared_rows(&of.full.rows, &against.full.rows);
        let of = |head| largest_difference(plane(of, head), plane(against, head), &rows);
        Arc::new((0..against.full.values.shape()[0]).into_par_iter().map(of).collect())
    })
}

fn small_maps(debugger: &Debugger, patterns: &Patterns, cells: (usize, usize)) -> SmallMaps {
    let minus = patterns.minus.map_or_else(Vec::new, |minus| minus.made_of.clone());
    let parts = (patterns.of.made_of.clone(), minus);
    debugger.memos.small_maps.get_or((parts, cells), || {
        let (heads, rows, columns) = patterns.dim();
        if cells.0 == 0 || cells.1 == 0 {
            return Arc::new(((1, 1), Vec::new()));
        }
        let map = |head| {
            let (pooled, mut map) = pool(patterns.plane(head, 0..rows, 0..columns).view(), cells);
            patterns.empty(&mut map, pooled, &(0..rows), &(0..columns));
            (pooled, map)
        };
        let maps: Vec<((usize, usize), Cells)> = (0..heads).into_par_iter().map(map).collect();
        let pooled = maps.first().map_or((1, 1), |(pooled, _)| *pooled);
        Arc::new((pooled, maps.into_iter().map(|(_, map)| map).collect()))
    })
}

/// The tensor that is shown, or the two whose difference is.
struct Patterns<'a> {
    of: &'a Queries,
    minus: Option<&'a Queries>,
    mask: Mask,
}

impl Patterns<'_> {
    /// Heads, queries, keys.
    fn dim(&self) -> (usize, usize, usize) {
        let shape = self.of.full.values.shape();
        (shape[0], shape[1], shape[2])
    }

    /// A part of one head.
    fn plane(&self, head: usize, queries: Range<usize>, keys: Range<usize>) -> CowArray<'_, f32, Ix2> {
        let part = s![queries, keys];
        let of = plane(self.of, head).slice_move(part);
        match self.minus {
            None => of.into(),
            Some(minus) => difference(of, plane(minus, head).slice_move(part)).into(),
        }
    }

    /// Empties the cells in which the mask hides every key, and nothing is: so that they are not taken for small numbers.
    fn empty(&self, cells: &mut Cells, per_cell: (usize, usize), queries: &Range<usize>, keys: &Range<usize>) {
        for (row, cells) in cells.iter_mut().enumerate() {
            let first = queries.start + row * per_cell.0;
            let last = (first + per_cell.0).min(queries.end) - 1;
            // What one query after the other sees moves on by one key: together they see all from the first to the last.
            let seen = self.mask.seen(first, keys.end).start..self.mask.seen(last, keys.end).end;
            for (column, cell) in cells.iter_mut().enumerate() {
                let first = keys.start + column * per_cell.1;
                if *cell == 0.0 && (first >= seen.end || first + per_cell.1 <= seen.start) {
                    *cell = f32::NEG_INFINITY;
                }
            }
        }
    }

    /// The keys of a query that matter most.
    fn keys(&self, request: &AttentionRequest, head: usize, query: usize, against: Option<&Queries>) -> Vec<KeyLine> {
        let (heads, queries, keys) = self.dim();
        if head >= heads || query >= queries {
            return Vec::new();
        }
        let scores = request.quantity == Quantity::Scores;
        let values = |of: &Queries| plane(of, head).row(query).to_vec();
        let probabilities = |of: &Queries| match values(of) {
            values if scores => Softmax::of(&values).probabilities(&values),
            values => values.into_iter().map(f64::from).collect(),
        };
        let (own, other) = (probabilities(self.of), against.map(probabilities));
        let seen = self.mask.seen(query, keys);
        let weight = |key: usize| match (&other, self.minus) {
            (Some(other), Some(_)) => (own[key] - other[key]).abs(),
            _ => own[key],
        };
        // What is not a number is passed over: so are hidden keys, unless something is there.
        let weights =
            (0..keys).map(|key| if weight(key) != 0.0 || seen.contains(&key) { weight(key) } else { f64::NAN });
        let weights: Vec<f32> = weights.map(|weight| weight as f32).collect();
        let scored = scores.then(|| values(self.of));
        let line = |key: usize| KeyLine {
            key,
            probability: own[key],
            score: scored.as_ref().map(|scored| f64::from(scored[key])),
            against: other.as_ref().map(|other| other[key]),
        };
        top(&weights, request.top).into_iter().map(line).collect()
    }
}

/// The witnesses beside one, first the one that it is to be compared with.
pub(super) fn others(witness: Witness) -> [Witness; 2] {
    match witness {
        Witness::Engine => [Witness::Reference, Witness::Candidate],
        Witness::Reference => [Witness::Candidate, Witness::Engine],
        Witness::Candidate => [Witness::Reference, Witness::Engine],
    }
}

/// One head of a pattern.
fn plane(whole: &Queries, head: usize) -> ArrayView2<'_, f32> {
    let head = whole.full.values.index_axis(Axis(0), head);
    head.into_dimensionality().expect("a pattern has three axes")
}

/// A first and how many, cut at the edges.
fn inside((first, count): (usize, usize), length: usize) -> Range<usize> {
    first.min(length)..first.saturating_add(count).min(length)
}

/// How a layer scores keys, if it does.
pub(super) fn scoring(graph: &Graph, layer: usize) -> Option<&Scoring> {
    match &graph[graph.in_layer(layer, Role::Scores)?].op {
        Op::Scores(scoring) => Some(scoring),
        _ => None,
    }
}

impl Quantity {
    fn role(self) -> Role {
        match self {
            Self::Probs => Role::Probs,
            Self::Scores => Role::Scores,
        }
    }
}
