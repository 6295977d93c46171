//! Values that are not a number, or infinite: where the first of a tensor is, what it should be, and what makes it.
//!
//! One of them spoils every sum that it enters, so the first is what matters: those behind it only follow. The finite rest
//! of its tensor is judged by itself.

use ndarray::{ArrayViewD, Axis as NdAxis, Dimension};

use super::finding::{all_ranges, ranges};
use super::part::{Part, Worst};
use super::suspects::search::Accused;
use super::trail::Trail;
use crate::engine::{Graph, Keyed, Node, Op, Site, Value};

/// The largest number of f16.
pub(super) const F16_MAX: f64 = 65504.0;

/// The first element that is finite in a dump or in what its inputs give, but not in both.
#[derive(Clone, Debug, PartialEq)]
pub struct NonFinite {
    /// Where it is.
    pub at: Worst,
    /// What the dump has there.
    pub value: f32,
    /// What the op gives there on the dump's own inputs.
    pub right: f64,
    /// How many such elements there are.
    pub count: usize,
    /// How many elements were compared.
    pub of: usize,
    /// Whether the finite rest is what its inputs give.
    pub rest_is_right: bool,
}

/// One element that differs in being finite: its index in the dump's part, and both values.
type Element = (Vec<usize>, f32, f64);

impl NonFinite {
    /// Of `part`, beside what its inputs give; `first` is the position of the forward's first token. What a mask hides is
    /// infinite by right. `None` where all that is seen is finite in both, or in neither.
    pub(super) fn of(site: Site, graph: &Graph, first: usize, part: &Part, exact: &Value<f64>) -> Option<Self> {
        let node = &graph[site];
        let elements = elements(site, graph, first, part, exact);
        let (index, value, right) = elements.iter().min_by_key(|(index, ..)| by_row(index, node))?;
        let at = Worst::at(node, index, |row| first + part.rows[row], part.first_key);
        let (count, of) = (elements.len(), part.values.len());
        Some(Self { at, value: *value, right: *right, count, of, rest_is_right: true })
    }

    /// `inf`, `-inf` or `NaN`.
    pub fn word(&self) -> String {
        self.value.to_string()
    }

    /// `1.down_proj, token 6, channel 507: inf; the right value is 71,300, beyond f16's 65,504`.
    pub(super) fn describe(&self, name: &str) -> String {
        let place = self.at.to_string();
        let place = if place.is_empty() { place } else { format!(", {}", listed(&self.at)) };
        let beyond = if self.right.abs() > F16_MAX { ", beyond f16's 65,504" } else { "" };
        format!("{name}{place}: {}; the right value is {}{beyond}", self.word(), amount(self.right))
    }
}

/// `token 6, channel 507`.
pub(super) fn listed(at: &Worst) -> String {
    let words = at.to_string();
    let words: Vec<&str> = words.split(' ').collect();
    words.chunks(2).map(|pair| pair.join(" ")).collect::<Vec<String>>().join(", ")
}

/// A number as people write it: `71,300`, `0.0123`, `1.6e38`.
pub fn amount(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if !value.is_finite() || value == 0.0 => value.to_string(),
        1000.0..1e9 => {
            let digits = format!("{size:.0}");
            let groups: Vec<String> = digits
                .as_bytes()
                .rchunks(3)
                .rev()
                .map(|group| group.iter().map(|digit| char::from(*digit)).collect())
                .collect();
            format!("{}{}", if value < 0.0 { "-" } else { "" }, groups.join(","))
        }
        1e-3..1000.0 => {
            let digits = (2 - size.log10().floor() as i32).clamp(0, 6) as usize;
            format!("{value:.digits$}")
        }
        _ => format!("{value:.1e}"),
    }
}

/// Elements are first in the first row.
fn by_row(index: &[usize], node: &Node) -> (usize, Vec<usize>) {
    (index[node.row_axis()], index.to_vec())
}

/// Every element that is finite in one of both only; scores that a mask hides are not looked at.
fn elements(site: Site, graph: &Graph, first: usize, part: &Part, exact: &Value<f64>) -> Vec<Element> {
    let node = &graph[site];
    let (row_axis, last) = (node.row_axis(), node.axes.len() - 1);
    let scores = node.op.facts().keyed == Keyed::Scores;
    let mask = graph.mask(site, first);
    let element = |(index, value): (ndarray::IxDyn, &f32)| {
        let mut there: Vec<usize> = index.slice().to_vec();
        let row = part.rows[there[row_axis]];
        there[row_axis] = row;
        if node.has_keys() {
            there[last] += part.first_key;
        }
        if scores && (*value == f32::NEG_INFINITY || !mask.allows(row, there[last])) {
            return None;
        }
        let right = *exact.get(&there[..])?;
        (value.is_finite() != right.is_finite()).then(|| (index.slice().to_vec(), *value, right))
    };
    part.values.indexed_iter().filter_map(element).collect()
}

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
    /// They came with the inputs, or from the model's own weights: the rows that are left are judged.
    Came(Part),
    /// They are made here.
    Made(NonFinite, Part),
}

impl Trail {
    /// Where the elements of `part` that are not finite come from; `None` where all of them are scores that a mask hides.
    pub(super) fn special(&mut self, site: Site, part: &Part) -> Option<Special> {
        let graph = &self.model.graph;
        let exact = self.healed.exact();
        let found = NonFinite::of(site, graph, self.healed.first_position(), part, exact)?;
        let rest = finite_rows(site, graph, part, exact);
        if self.reads_specials(site) {
            return Some(Special::Came(rest));
        }
        if !found.right.is_finite() {
            let name = graph.short(site);
            self.specials.get_or_insert_with(|| {
                format!(
                    "nan_weights: {name} is {} by the model's own weights at {}, where the dump has {}: what the weights \
                     make of it is not judged",
                    found.right,
                    listed(&found.at),
                    amount(f64::from(found.value))
                )
            });
            return Some(Special::Came(rest));
        }
        Some(Special::Made(found, rest))
    }

    /// Notes the first element that is not finite where that is what the dump's own inputs, all of them finite, give.
    pub(super) fn note_special(&mut self, site: Site, part: &Part) {
        let graph = &self.model.graph;
        let node = &graph[site];
        if self.specials.is_some() || node.op.facts().keyed == Keyed::Scores || self.reads_specials(site) {
            return;
        }
        let odd = part.values.indexed_iter().filter(|(_, value)| !value.is_finite());
        let odd = odd.map(|(index, value)| (index.slice().to_vec(), *value));
        if let Some((index, value)) = odd.min_by_key(|(index, _)| by_row(index, node)) {
            let first = self.healed.first_position();
            let at = Worst::at(node, &index, |row| first + part.rows[row], part.first_key);
            let (name, place) = (graph.short(site), listed(&at));
            self.specials =
                Some(format!("first non-finite: {name}, {place}: {value}: that is what the model's own weights give"));
        }
    }

    /// Whether what `site` reads is not finite somewhere. Scores may be hidden.
    fn reads_specials(&self, site: Site) -> bool {
        let graph = &self.model.graph;
        graph[site].reads.iter().any(|read| {
            let scores = graph[read.site()].op.facts().keyed == Keyed::Scores;
            let odd = |value: &f64| !value.is_finite() && !(scores && *value == f64::NEG_INFINITY);
            self.healed.exact.operand(*read).is_some_and(|value| value.iter().any(odd))
        })
    }

    /// What makes elements that are not finite.
    pub(super) fn accuse_special(&self, site: Site, part: &Part, found: &NonFinite) -> Accused {
        let graph = &self.model.graph;
        let name = graph.key(site, self.spans.forward());
        let accused = |id: &'static str, words: String| {
            let share = found.count as f64 / found.of as f64;
            Accused { explained: 0.0, residual: share, ..Accused::of_label(id, &name, words) }
        };
        if found.right.abs() > F16_MAX {
            return accused("overflow_f16", format!("the right value is {}", amount(found.right)));
        }
        if let Some((at, words)) = self.beyond_f16(site) {
            return Accused { name: graph.key(at, self.spans.forward()), ..accused("overflow_f16", words) };
        }
        let rows = |whole: &dyn Fn(ArrayViewD<f32>) -> bool| -> Vec<usize> {
            let axis = NdAxis(graph[site].row_axis());
            let all = part.values.axis_iter(axis).zip(&part.rows);
            let first = self.healed.first_position();
            all.filter(|(values, _)| whole(values.view())).map(|(_, row)| first + row).collect()
        };
        let touched = rows(&|values| values.iter().any(|value| !value.is_finite()));
        let empty = rows(&|values| values.iter().all(|value| value.is_nan()));
        if self.softens(site) && !empty.is_empty() && empty == touched {
            let plural = if empty.len() == 1 { "y" } else { "ies" };
            return accused("nan_from_masked_row", format!("no key is left for quer{plural} {}", ranges(&empty)));
        }
        let channels = odd_channels(part, &graph[site]);
        if graph[site].op.has_weights() && part.rows.len() > 1 && !channels.is_empty() {
            let plural = if channels.len() == 1 { "" } else { "s" };
            let words = format!("channel{plural} {} of every token", ranges(&channels));
            return accused("nan_weights", words);
        }
        let largest = self.healed.exact().iter().filter(|v| v.is_finite()).fold(0.0, |most: f64, v| most.max(v.abs()));
        let what = format!(
            "no known mistake makes it: {} of {} elements are not finite, where the right ones are at most {}",
            found.count,
            found.of,
            amount(largest)
        );
        accused("unknown", what)
    }

    /// Whether a softmax lies in what gives `site`.
    fn softens(&self, site: Site) -> bool {
        let graph = &self.model.graph;
        let is = |at: Site| matches!(graph[at].op, Op::Softmax | Op::Context { .. });
        is(site) || (self.is_over_span(site) && self.gap.states_until(site).iter().any(|(at, _)| is(*at)))
    }

    /// The first value beyond the range of f16 that enters `site`, or, where activations are missing before it, that one of
    /// the ops in between gives: where, and in words.
    fn beyond_f16(&self, site: Site) -> Option<(Site, String)> {
        let graph = &self.model.graph;
        let first = self.healed.first_position();
        let large = |at: Site, value: ArrayViewD<f64>| {
            let beyond = |(_, v): &(ndarray::IxDyn, &f64)| v.is_finite() && v.abs() > F16_MAX;
            let found = value.indexed_iter().filter(beyond).map(|(index, v)| (index.slice().to_vec(), *v));
            let (index, value) = found.min_by_key(|(index, _)| by_row(index, &graph[at]))?;
            let place = listed(&Worst::at(&graph[at], &index, |row| first + row, 0));
            Some((at, format!("{} in {} at {place}", amount(value), graph.short(at))))
        };
        let inputs = || {
            let reads = graph[site].reads.iter().map(|read| read.site());
            reads.filter_map(|at| large(at, self.healed.exact.get(at)?.view())).next()
        };
        if !self.is_over_span(site) {
            return inputs().map(|(_, words)| (site, format!("it reads {words}")));
        }
        let states = self.gap.states_until(site);
        let given = states.windows(2).filter_map(|pair| Some((pair[0].0, pair[1].1.get(pair[0].0)?.view())));
        given.filter_map(|(at, value)| large(at, value)).next().or_else(inputs)
    }
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
            let seen = columns.iter().zip(scores).filter(|(_, score)| !(**score <= HIDDEN));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_people_write_them() {
        let all = [71_300.4, -65_504.0, 999.6, 12.345, 0.001_23, 1e-9, 3.2e12, 0.0, f64::INFINITY, 1_234_567.0];
        let words = all.map(amount);
        let right = ["71,300", "-65,504", "1000", "12.3", "0.00123", "1.0e-9", "3.2e12", "0", "inf", "1,234,567"];
        assert_eq!(words, right);
    }
}
