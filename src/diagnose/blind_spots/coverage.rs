//! What was there to compare: which activations of which forwards, and how many rows of each.

use std::collections::BTreeMap;

use crate::dump::Dump;
use crate::engine::{Graph, Site};

/// The activations that a dump holds, or that two dumps have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Rows of each, by forward.
    pub(super) rows: BTreeMap<(usize, Site), usize>,
    /// Whether values are kept in bf16 or f16. Set it, too, when the bits of f32 values tell so.
    pub coarse: bool,
    /// Whether the candidate lacks what the reference has: then it is the candidate that wants a better dump.
    pub(super) candidate_lacks: bool,
}

impl Coverage {
    /// What a dump holds; it must be bound to its ids.
    pub fn of(dump: &Dump) -> Self {
        let planned = dump.all_planned();
        let rows = planned.iter().map(|planned| ((planned.forward, planned.site), planned.rows().unwrap_or(0)));
        // Rows of a table have the bits of the table.
        let coarse = |site: Site, dtype| !dump.graph().is_copy(site) && ["bf16", "f16"].contains(&dtype);
        Self {
            rows: rows.collect(),
            coarse: planned.iter().any(|planned| coarse(planned.site, planned.dtype.name())),
            candidate_lacks: false,
        }
    }

    /// What the dumps that were compared have in common; with one dump, all that it holds.
    pub fn between(reference: Option<&Dump>, candidate: Option<&Dump>) -> Self {
        match (reference.map(Self::of), candidate.map(Self::of)) {
            (Some(reference), Some(candidate)) => reference.and(&candidate),
            (Some(reference), None) => reference,
            (None, Some(candidate)) => Self { candidate_lacks: true, ..candidate },
            (None, None) => Self::default(),
        }
    }

    /// What is in both.
    fn and(self, candidate: &Self) -> Self {
        let candidate_lacks =
            self.rows.iter().any(|(key, rows)| candidate.rows.get(key).is_none_or(|other| other < rows));
        let both = |(key, rows): (_, usize)| candidate.rows.get(&key).map(|other| (key, rows.min(*other)));
        Self {
            rows: self.rows.into_iter().filter_map(both).collect(),
            coarse: self.coarse || candidate.coarse,
            candidate_lacks,
        }
    }

    /// Forwards up to the last one that is there.
    pub(super) fn forwards(&self) -> usize {
        self.rows.keys().map(|(forward, _)| forward + 1).max().unwrap_or(0)
    }

    /// Rows of the first forward, when no activation before the end of the layers has as many as were fed. The last layers of
    /// some engines compute the last row only, so what follows tells nothing about the others.
    pub(super) fn partial_rows(&self, fed: usize, graph: &Graph) -> Option<usize> {
        let end = |site: Site| graph.tail().is_some_and(|tail| site.index() >= tail);
        let first = || self.rows.iter().filter(|((forward, _), _)| *forward == 0);
        let most = |ends: bool| first().filter(|((_, site), _)| end(*site) == ends).map(|(_, rows)| *rows).max();
        most(false).or_else(|| most(true)).filter(|rows| *rows < fed)
    }
}
