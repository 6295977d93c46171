//! Weights of fewer bits in a format that is known: the model's own, rounded.

use std::sync::Arc;

use super::arithmetic::is_kept_fine;
use super::scheme::Scheme;
use crate::engine::{Graph, LogitRows, Op, Run, Site, Value};
use crate::model::Model;
use crate::model::op::Weight;

/// The weights that a dump's engine has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Fewer {
    pub(super) scheme: Scheme,
    /// Those of the embedding and of the head, too.
    pub(super) whole: bool,
}

impl Fewer {
    /// One sentence.
    pub(super) fn describe(self) -> String {
        let which = if self.whole { "all matrices" } else { "the matrices of the layers" };
        format!(
            "its weights are the model's in {}, {which}: it is compared with what these give",
            self.scheme.describe()
        )
    }

    /// The model with such weights in the ops up to `last`.
    pub(super) fn of(self, model: &Model, last: Option<Site>) -> Model {
        let rounded = |param: usize| {
            let tensors = model.matrices_at(param).iter().map(|tensor| self.scheme.rounded(tensor).0);
            (param, tensors.collect())
        };
        let params = matrices(&model.graph, last, self.whole && last.is_none());
        model.with_matrices(params.into_iter().map(rounded).collect())
    }

    /// What `site` gives with them in the prefill of `ids`.
    pub(super) fn gives(self, model: &Model, ids: &[u32], site: Site) -> Option<Value<f32>> {
        given(Arc::new(self.of(model, Some(site))), ids, site, self.whole.then_some(self.scheme))
    }
}

/// What `site` gives; the rows of tables rounded, where a format is given.
pub(super) fn given(model: Arc<Model>, ids: &[u32], site: Site, rows_in: Option<Scheme>) -> Option<Value<f32>> {
    let mut run: Run = Run::new(model, ids, LogitRows::All);
    loop {
        let at = run.step()?;
        if let (Op::Embed { table, factor, .. }, Some(scheme), Some(value)) =
            (&run.graph()[at].op, rows_in, run.get(at).cloned())
        {
            let mut rows = value.into_owned().into_dimensionality().ok()?;
            scheme.round_rows_of(&mut rows, run.model().matrix(table), *factor as f32);
            assert!(run.set(at, rows.into_dyn().into_shared()), "the op computed last can be set");
        }
        if at == site {
            return run.get(site).cloned();
        }
    }
}

/// The matrices of the ops up to `last`, by their places in the graph; `whole`: embedding and head, too. What chooses
/// experts, and tables of positions, are kept as they are in every format.
pub(super) fn matrices(graph: &Graph, last: Option<Site>, whole: bool) -> Vec<usize> {
    let weights = graph.sites().take_while(|site| last.is_none_or(|last| *site <= last)).filter_map(|site| {
        let fine = is_kept_fine(site, graph) && !(whole && graph.is_head(site));
        match &graph[site].op {
            Op::Linear { weight: Weight::Param(param), .. } | Op::Experts { weights: Weight::Param(param), .. }
                if !fine =>
            {
                Some(param.index())
            }
            Op::Embed { table: Weight::Param(param), .. } if whole => Some(param.index()),
            _ => None,
        }
    });
    let mut found: Vec<usize> = weights.collect();
    found.sort_unstable();
    found.dedup();
    found
}
