//! Layouts that differ and mean the same: queries and keys whose channels are permuted alike, so that scores are equal.
//!
//! GGUF files of Llama models keep the pairs that RoPE turns side by side, `(2i, 2i + 1)`; Hugging Face keeps them half a
//! head apart, `(i, i + d/2)`.

use ndarray::Axis as NdAxis;

use super::part::Part;
use crate::engine::{Graph, Keyed, Node, Op, Role, Site};

/// An order of the channels of each head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairs {
    /// `(2i, 2i + 1)`, where Hugging Face has `(i, i + d/2)`.
    SideBySide,
    /// The other way round: permuted from half to interleaved twice the wrong way.
    HalfApart,
    /// The channels that are rotated before the others, where the model has them behind.
    TurnedFirst,
    /// The same, and those side by side, where the model has them half a part apart.
    TurnedFirstSideBySide,
}

impl Pairs {
    /// Those of heads of which nothing is known.
    pub const ALL: [Self; 2] = [Self::SideBySide, Self::HalfApart];

    /// All that a node's heads may have.
    fn of(node: &Node) -> impl Iterator<Item = Self> {
        let apart = matches!(node.op, Op::Beside { .. });
        let first = [Self::TurnedFirst, Self::TurnedFirstSideBySide].into_iter().filter(move |_| apart);
        Self::ALL.into_iter().chain(first)
    }

    /// For people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::SideBySide => "channels 2i and 2i+1 of each head are Hugging Face's i and i+d/2",
            Self::HalfApart => "channels i and i+d/2 of each head are Hugging Face's 2i and 2i+1",
            Self::TurnedFirst => "the rotated channels of each head stand before the others",
            Self::TurnedFirstSideBySide => {
                "the rotated channels of each head stand before the others, 2i and 2i+1 being Hugging Face's i and i+d/2"
            }
        }
    }

    /// Which of Hugging Face's channels each stored channel of a head holds.
    pub fn held(self, node: &Node, width: usize) -> Vec<usize> {
        let mut held = vec![0; width];
        (0..width).for_each(|channel| held[self.of_head(channel, node, width)] = channel);
        held
    }

    /// The stored channel of a head that holds Hugging Face's channel `i`: where only the last ones are rotated, the others
    /// stay where they are.
    fn of_head(self, i: usize, node: &Node, width: usize) -> usize {
        let own = if let Op::Beside { own, .. } = node.op { own } else { 0 };
        match self {
            Self::TurnedFirst | Self::TurnedFirstSideBySide if i < own => width - own + i,
            Self::TurnedFirst => i - own,
            Self::TurnedFirstSideBySide => Self::SideBySide.stored(i - own, width - own),
            _ if i < own => i,
            _ => own + self.stored(i - own, width - own),
        }
    }

    /// The stored channel that holds Hugging Face's channel `i`.
    pub fn stored(self, i: usize, width: usize) -> usize {
        let half = width / 2;
        match self {
            Self::SideBySide => 2 * (i % half) + i / half,
            Self::HalfApart => i / 2 + (i % 2) * half,
            Self::TurnedFirst | Self::TurnedFirstSideBySide => i,
        }
    }
}

/// Whether `site` is one whose channels may be permuted: a query or key.
pub fn is_query_or_key(site: Site, graph: &Graph) -> bool {
    graph[site].role.and_then(Role::partner).is_some()
}

/// `part`, stored with `pairs`, in Hugging Face's order of channels.
pub fn reordered(part: &Part, node: &Node, pairs: Pairs) -> Part {
    let last = NdAxis(part.values.ndim() - 1);
    let columns = part.values.len_of(last);
    let d = node.heads().map_or(columns, |(_, width)| width);
    let order: Vec<usize> = (0..columns).map(|c| c / d * d + pairs.of_head(c % d, node, d)).collect();
    let values = part.values.select(last, &order).as_standard_layout().into_owned().into_shared();
    Part { values, rows: part.rows.clone(), first_key: part.first_key }
}

/// What `found` tells of a query or key whose channels are taken in another order, if it tells something of one.
pub(super) fn in_other_order<T>(
    site: Site,
    graph: &Graph,
    part: &Part,
    mut found: impl FnMut(&Part) -> Option<T>,
) -> Option<(Pairs, T)> {
    let mut orders = Pairs::of(&graph[site]).filter(|_| is_query_or_key(site, graph));
    orders.find_map(|pairs| Some((pairs, found(&reordered(part, &graph[site], pairs))?)))
}

/// Whether scores of a forward whose first token stands at `first` have ordinary numbers where the mask hides: those of
/// before the mask, or the mask is missing.
pub(super) fn is_unmasked(site: Site, graph: &Graph, first: usize, part: &Part) -> bool {
    const HIDDEN: f32 = -9e3;
    let mask = graph.mask(site, first);
    graph[site].op.facts().keyed == Keyed::Scores
        && part.values.outer_iter().any(|head| {
            head.outer_iter().zip(&part.rows).any(|(keys, row)| {
                let seen =
                    |(column, value): (usize, &f32)| *value > HIDDEN && !mask.allows(*row, column + part.first_key);
                keys.iter().enumerate().any(seen)
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_orders_are_permutations_of_a_head_and_inverse() {
        for d in [2, 8, 64] {
            for i in 0..d {
                assert_eq!(Pairs::HalfApart.stored(Pairs::SideBySide.stored(i, d), d), i);
            }
        }
        assert_eq!((0..4).map(|i| Pairs::SideBySide.stored(i, 4)).collect::<Vec<_>>(), [0, 2, 1, 3]);
    }
}
