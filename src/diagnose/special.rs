//! What makes a value that is not finite: it came with the inputs, it lies in the model's own weights, or it is made there,
//! and by what.

use ndarray::{ArrayViewD, Axis as NdAxis, Dimension};

use super::forced::Forced;
use super::gap::Gap;
use super::nonfinite::{F16_MAX, NonFinite, amount, by_row, listed};
use super::part::{Part, Worst};
use super::ranges::{all_ranges, ranges};
use crate::engine::{Graph, Keyed, Node, Op, Site, Value};

/// The rows of `part` in which all elements are finite, in it and in what its inputs give. Scores may be hidden.
fn finite_rows(site: Site, graph: &Graph, part: &Part, exact: &Value<f64>) -> Part {
    let node = &graph[site];
    let axis = NdAxis(node.row_axis());
    let scores = node.op.facts().keyed == Keyed::Scores;
    let fine = |value: f64| value.is_finite() || (scores && value == f64::NEG_INFINITY);
    let picked: Vec<usize> = (0..part.rows.len())
        .filter(|row| {
            part.values.index_axis(axis, *row).iter().all(|value| fine(f64::from(*value)))
                && exact.index_axis(axis, part.rows[*row]).iter().all(|value| fine(*value))
        })
        .collect();
    let values = part.values.select(axis, &picked).into_shared();
    Part { values, rows: picked.iter().map(|row| part.rows[*row]).collect(), first_key: part.first_key }
}

/// What is done about a tensor with elements that are finite in one of both only.
pub(super) enum Special {
    /// They came with the inputs: the rows that are left are judged.
    Came(Part),
    /// The model's own weights make them, which is said so.
    Ours(String, Part),
    /// They are made here.
    Made(NonFinite, Part),
}

/// Where the elements of `part` that are not finite come from; `None` where all of them are scores that a mask hides.
pub(super) fn special(healed: &Forced, site: Site, part: &Part) -> Option<Special> {
    let graph = healed.graph();
    let exact = healed.exact();
    let found = NonFinite::of(site, graph, healed.first_position(), part, exact)?;
    let rest = finite_rows(site, graph, part, exact);
    if reads_specials(healed, site) {
        return Some(Special::Came(rest));
    }
    if !found.right.is_finite() {
        let words = format!(
            "nan_weights: {} is {} by the model's own weights at {}, where the dump has {}: what they make of it is not \
             judged",
            graph.name(site),
            found.right,
            listed(&found.at),
            amount(f64::from(found.value))
        );
        return Some(Special::Ours(words, rest));
    }
    Some(Special::Made(found, rest))
}

/// Notes the first element that is not finite where that is what the dump's own inputs, all of them finite, give.
pub(super) fn note_special(healed: &Forced, site: Site, part: &Part) -> Option<String> {
    let graph = healed.graph();
    let node = &graph[site];
    let odd = part.values.indexed_iter().filter(|(_, value)| !value.is_finite());
    let odd = odd.map(|(index, value)| (index.slice().to_vec(), *value));
    let (index, value) = odd.min_by_key(|(index, _)| by_row(index, node))?;
    if node.op.facts().keyed == Keyed::Scores || reads_specials(healed, site) {
        return None;
    }
    let first = healed.first_position();
    let at = Worst::at(node, &index, |row| first + part.rows[row], part.first_key);
    let (name, place) = (graph.name(site), listed(&at));
    Some(format!("first non-finite: {name}, {place}: {value}: that is what the model's own weights give"))
}

/// Whether what `site` reads is not finite somewhere. Scores may be hidden.
fn reads_specials(healed: &Forced, site: Site) -> bool {
    let graph = healed.graph();
    graph[site].reads.iter().any(|read| {
        let scores = graph[read.site()].op.facts().keyed == Keyed::Scores;
        let odd = |value: &f64| !(value.is_finite() || scores && *value == f64::NEG_INFINITY);
        healed.exact.operand(*read).is_some_and(|value| value.iter().any(odd))
    })
}

/// A mistake that makes elements that are not finite: its id, where it is made, and in words.
pub(super) struct Made {
    pub(super) id: &'static str,
    pub(super) name: String,
    pub(super) words: String,
}

/// What makes elements that are not finite, in a forward; `gap` are the ops before, where not all inputs were dumped.
pub(super) fn accuse_special(
    (healed, gap): (&Forced, Option<&Gap>),
    (site, step): (Site, usize),
    part: &Part,
    found: &NonFinite,
) -> Made {
    let graph = healed.graph();
    let name = graph.key(site, step);
    let accused = |id: &'static str, words: String| Made { id, name: name.clone(), words };
    if found.right.abs() > F16_MAX {
        return accused("overflow_f16", format!("the right value is {}", amount(found.right)));
    }
    if let Some((at, words)) = beyond_f16(healed, gap, site) {
        return Made { name: graph.key(at, step), ..accused("overflow_f16", words) };
    }
    let rows = |whole: &dyn Fn(ArrayViewD<f32>) -> bool| -> Vec<usize> {
        let axis = NdAxis(graph[site].row_axis());
        let all = part.values.axis_iter(axis).zip(&part.rows);
        let first = healed.first_position();
        all.filter(|(values, _)| whole(values.view())).map(|(_, row)| first + row).collect()
    };
    let touched = rows(&|values| values.iter().any(|value| !value.is_finite()));
    let empty = rows(&|values| values.iter().all(|value| value.is_nan()));
    // A mask that leaves no key at all, to no query, is none.
    let some = !empty.is_empty() && empty.len() < part.rows.len();
    if softens(graph, gap, site) && some && empty == touched {
        let plural = if empty.len() == 1 { "y" } else { "ies" };
        return accused("nan_from_masked_row", format!("no key is left for quer{plural} {}", ranges(&empty)));
    }
    let channels = odd_channels(part, &graph[site]);
    if graph[site].op.has_weights() && part.rows.len() > 1 && !channels.is_empty() {
        let plural = if channels.len() == 1 { "" } else { "s" };
        let words = format!("channel{plural} {} of every token", ranges(&channels));
        return accused("nan_weights", words);
    }
    let largest = healed.exact().iter().filter(|v| v.is_finite()).fold(0.0, |most: f64, v| most.max(v.abs()));
    let what = format!(
        "no known mistake makes it: {} of {} elements are not finite, where the right ones are at most {}",
        found.count,
        found.of,
        amount(largest)
    );
    accused("unknown", what)
}

/// Whether a softmax lies in what gives `site`.
fn softens(graph: &Graph, gap: Option<&Gap>, site: Site) -> bool {
    let is = |at: Site| matches!(graph[at].op, Op::Softmax { .. } | Op::Context { .. });
    is(site) || gap.is_some_and(|gap| gap.states_until(site).iter().any(|(at, _)| is(*at)))
}

/// The first value beyond the range of f16 that enters `site`, or, where activations are missing before it, that one of
/// the ops in between gives: where, and in words.
fn beyond_f16(healed: &Forced, gap: Option<&Gap>, site: Site) -> Option<(Site, String)> {
    let graph = healed.graph();
    let first = healed.first_position();
    let large = |at: Site, value: ArrayViewD<f64>| {
        let beyond = |(_, v): &(ndarray::IxDyn, &f64)| v.is_finite() && v.abs() > F16_MAX;
        let found = value.indexed_iter().filter(beyond).map(|(index, v)| (index.slice().to_vec(), *v));
        let (index, value) = found.min_by_key(|(index, _)| by_row(index, &graph[at]))?;
        let place = listed(&Worst::at(&graph[at], &index, |row| first + row, 0));
        Some((at, format!("{} in {} at {place}", amount(value), graph.short(at))))
    };
    let inputs = || {
        let mut reads = graph[site].reads.iter().map(|read| read.site());
        reads.find_map(|at| large(at, healed.exact.get(at)?.view()))
    };
    let Some(gap) = gap else { return inputs().map(|(_, words)| (site, format!("it reads {words}"))) };
    let states = gap.states_until(site);
    let mut given = states.windows(2).filter_map(|pair| Some((pair[0].0, pair[1].1.get(pair[0].0)?.view())));
    given.find_map(|(at, value)| large(at, value)).or_else(inputs)
}
/// The channels that are not finite in any row, where all others are finite in all of them.
fn odd_channels(part: &Part, node: &Node) -> Vec<usize> {
    let last = NdAxis(part.values.ndim() - 1);
    if node.has_keys() || part.values.ndim() != 2 {
        return Vec::new();
    }
    let odd = |channel: &usize| part.values.index_axis(last, *channel).iter().filter(|v| !v.is_finite()).count();
    let all: Vec<(usize, usize)> = (0..part.values.len_of(last)).map(|channel| (channel, odd(&channel))).collect();
    let whole = |(_, count): &(usize, usize)| *count == part.rows.len();
    let sharp = all.iter().all(|one| one.1 == 0 || whole(one));
    let odd: Vec<usize> = all.iter().filter(|one| whole(one)).map(|(channel, _)| *channel).collect();
    if sharp && odd.len() < all.len() { odd } else { Vec::new() }
}

/// Which keys a query of a dump sees where its mask is not the model's: `query 4 sees keys 0-0 instead of 0-4`.
pub(super) fn other_mask(site: Site, graph: &Graph, first: usize, part: &Part) -> Option<String> {
    const HIDDEN: f32 = -9e3;
    let node = &graph[site];
    if node.op.facts().keyed != Keyed::Scores {
        return None;
    }
    let mask = graph.mask(site, first);
    let axis = NdAxis(node.row_axis());
    let mut others = Vec::new();
    let mut said = None;
    for (values, row) in part.values.axis_iter(axis).zip(&part.rows) {
        let keys = values.len_of(NdAxis(values.ndim() - 1));
        let columns: Vec<usize> = (0..keys).map(|column| column + part.first_key).collect();
        // Heads may have masks of their own: the first that differs is told.
        let planes = values.rows().into_iter();
        let right: Vec<usize> = columns.iter().copied().filter(|key| mask.allows(*row, *key)).collect();
        let seen = planes.map(|scores| {
            let seen = columns.iter().zip(scores).filter(|(_, score)| score.is_nan() || **score > HIDDEN);
            seen.map(|(key, _)| *key).collect::<Vec<usize>>()
        });
        if let Some(seen) = seen.into_iter().find(|seen| *seen != right) {
            others.push(first + row);
            let keys = |keys: &[usize]| match keys {
                [] => "no key".to_string(),
                [one] => format!("key {one}"),
                _ => format!("keys {}", all_ranges(keys)),
            };
            said.get_or_insert_with(|| {
                let right = keys(&right);
                let right = right.strip_prefix("keys ").map_or_else(|| right.clone(), str::to_string);
                format!("query {} sees {} instead of {right}", first + row, keys(&seen))
            });
        }
    }
    let more = match others.len() {
        0 | 1 => String::new(),
        more => format!("; the masks of {more} queries differ"),
    };
    said.map(|said| said + &more)
}
