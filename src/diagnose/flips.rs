//! Tokens that two sides give other experts though nothing is wrong: each chooses as its own logits say, and these lie so near
//! that rounding decides.

use ndarray::Array2;

use super::harmless::{and_more, tied};
use super::part::Part;
use super::tie::{Tie, experts, rows};
use crate::engine::{Graph, Site};

/// All that were seen, op by op.
#[derive(Clone, Debug, Default)]
pub(super) struct Flips(Vec<(Site, Vec<Tie>)>);

impl Flips {
    /// Looks at an op that chooses: what the two sides have of it, and what each compares experts by, `[token, expert]`.
    /// Returns the positions of the tokens that they give other experts.
    pub(super) fn look(&mut self, site: Site, first: usize, parts: [&Part; 2], keys: [&Array2<f64>; 2]) -> Vec<usize> {
        let ties = flips(parts, keys, first);
        let tokens = ties.iter().map(|tie| tie.token).collect();
        if !ties.is_empty() {
            self.0.push((site, ties));
        }
        tokens
    }

    /// How many tokens, in all layers and forwards.
    pub(super) fn count(&self) -> usize {
        self.0.iter().map(|(_, ties)| ties.len()).sum()
    }

    /// The first of them in words, and how many more there are.
    pub(super) fn describe(&self, graph: &Graph) -> Option<String> {
        let (site, ties) = self.0.first()?;
        let tie = ties.first()?;
        let more = and_more(self.count() - 1);
        Some(format!("{}, the logits of both sides up to {:.1e}{more}", tied(graph, *site, tie), tie.noise))
    }
}

/// Rows of a choice in which two sides, each of which chooses as its own logits say, choose other experts: the first side's
/// expert, the other's, how far these lie apart by the second side's `keys`, and how far the keys of both do in that row.
fn flips(parts: [&Part; 2], keys: [&Array2<f64>; 2], first: usize) -> Vec<Tie> {
    let ([own, other], [of_own, of_other]) = (parts, keys);
    let (Some(chosen), Some(others)) = (rows(&own.values), rows(&other.values)) else { return Vec::new() };
    let flip = |(index, row): (usize, &usize)| {
        let beside = other.rows.binary_search(row).ok()?;
        let (found, wanted) = (experts(chosen.row(index)), experts(others.row(beside)));
        let key = |expert: &&usize| of_other[[*row, **expert]];
        let by_key = |a: &&usize, b: &&usize| key(a).total_cmp(&key(b));
        let taken = found.iter().filter(|expert| !wanted.contains(expert)).max_by(by_key)?;
        let lost = wanted.iter().filter(|expert| !found.contains(expert)).min_by(by_key)?;
        let differ = (&of_own.row(*row) - &of_other.row(*row)).fold(0.0f64, |most, apart| most.max(apart.abs()));
        let (apart, noise) = ((key(&lost) - key(&taken)).abs(), differ);
        Some(Tie { token: first + row, experts: [*taken, *lost], apart, noise })
    };
    own.rows.iter().enumerate().filter_map(flip).collect()
}
