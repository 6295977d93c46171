//! The dumps that are compared, and what is said of them.

use std::sync::Arc;

use super::arithmetic::is_projection;
use super::fewer::Fewer;
use super::harmless::harmless;
use super::precision::Precision;
use super::report::{ActivationRow, Source, bare};
use super::trail::Trail;
use crate::dump::Dump;
use crate::engine::Graph;
use crate::model::Model;

/// The dumps to compare; at least one.
#[derive(Clone, Debug, Default)]
pub struct Witnesses {
    /// PyTorch's.
    pub reference: Option<Arc<Dump>>,
    /// The engine under suspicion.
    pub candidate: Option<Arc<Dump>>,
}

/// Index of a trail.
pub(super) const REFERENCE: usize = 0;
pub(super) const CANDIDATE: usize = 1;

/// The names of both.
pub(super) const ROLES: [&str; 2] = ["reference", "candidate"];

impl Witnesses {
    /// Both, with their roles.
    pub fn named(&self) -> [(&'static str, Option<&Dump>); 2] {
        let [reference, candidate] = ROLES;
        [(reference, self.reference.as_deref()), (candidate, self.candidate.as_deref())]
    }
}

/// What the user should know of the dumps.
pub(super) fn notes(
    witnesses: &Witnesses,
    trails: &[Option<Trail>; 2],
    rows: &[ActivationRow],
    graph: &Graph,
) -> Vec<String> {
    let products = rows.iter().filter_map(|row| {
        let site = graph.parse(bare(&row.name).0).filter(|site| is_projection(&graph[*site].op))?;
        Some((graph[site].layer?, row.local?.error))
    });
    let products: Vec<(usize, f64)> = products.collect();
    let mut notes = Vec::new();
    for ((role, dump), trail) in witnesses.named().into_iter().zip(trails) {
        let learnt = trail.iter().flat_map(|trail| {
            let learnt = trail.arithmetic().describe(graph).into_iter().chain(trail.coarse.describe(graph));
            let ranked = trail.coarse.ranked(products.iter().copied());
            let learnt = learnt.chain(ranked).chain(trail.coarser_than_others());
            let weights = trail.fewer.map(Fewer::describe);
            trail.specials.iter().cloned().chain(weights).chain(learnt).chain(harmless(trail.findings(), graph))
        });
        notes.extend(dump.into_iter().flat_map(Dump::notes).chain(learnt).map(|note| format!("{role}: {note}")));
    }
    notes
}

/// Who was compared.
pub(super) fn sources(
    model: &Model,
    ids: &[u32],
    witnesses: &Witnesses,
    precisions: [Option<Precision>; 2],
) -> Vec<Source> {
    let mut sources = vec![Source::engine(&model.name, ids)];
    for ((role, dump), precision) in witnesses.named().into_iter().zip(precisions) {
        sources.extend(dump.zip(precision).map(|(dump, precision)| Source::dump(role, dump, precision.name())));
    }
    sources
}
