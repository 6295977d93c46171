//! Values that are not a number, or infinite: where the first of a tensor is, what it should be, and what makes it.
//!
//! One of them spoils every sum that it enters, so the first is what matters: those behind it only follow. The finite rest
//! of its tensor is judged by itself.

use ndarray::Dimension;

use super::part::{Part, Worst};
use crate::engine::{Graph, Keyed, Node, Site, Value};

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

    /// `model.layers.1.mlp.down_proj, token 6, channel 507: inf; the right value is 71,300, beyond f16's 65,504`.
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
pub(super) fn by_row(index: &[usize], node: &Node) -> (usize, Vec<usize>) {
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
