//! Several runs of one model, a step at a time: their rows meet the weights in one product, so that weights are read and
//! widened once for all of them.

use ndarray::{ArrayViewD, Axis, Slice, concatenate};

use super::Value;
use super::compute::Compute;
use super::run::Run;
use super::step::evaluate;
use crate::model::graph::Site;
use crate::model::op::Product;
use crate::ops::Real;

impl<T: Real> Run<T> {
    /// Steps `runs`, which stand before the same op of the same model; `None` when they are complete. Logits, which no op
    /// reads, are computed in `rows` only, where some are given: the others are zero.
    pub fn step_in_rows(runs: &mut [Self], rows: Option<&[usize]>) -> Option<Site> {
        let site = runs.first()?.next()?;
        assert!(runs.iter().all(|run| run.next() == Some(site)), "runs stand before the same op");
        for run in &mut *runs {
            run.enter(site);
        }
        let computes: Vec<Compute> = runs.iter().map(Self::compute).collect();
        let values = match rows.filter(|_| runs[0].graph().is_head(site)) {
            None => evaluate_together(runs, site, &computes),
            Some(rows) => runs.iter().map(|run| run.in_rows(site, run.compute(), rows)).collect(),
        };
        for (run, value) in runs.iter_mut().zip(values) {
            run.leave(site, value);
        }
        Some(site)
    }

    /// What the op computed last gives when each of `runs`, which stand behind it, computes as its entry of `computes`
    /// says; the runs stay as they are. Empty before the first op.
    pub fn again_together(runs: &[Self], computes: &[Compute]) -> Vec<Value<T>> {
        let Some(site) = runs.first().and_then(Self::last) else { return Vec::new() };
        assert!(runs.iter().all(|run| run.last() == Some(site)), "runs stand behind the same op");
        evaluate_together(runs, site, computes)
    }

    /// What the op computed last gives in `rows` when it is computed as `compute` says: the other rows are zero where
    /// that costs less.
    pub fn again_in_rows(&self, compute: Compute, rows: &[usize]) -> Option<Value<T>> {
        Some(self.in_rows(self.last()?, compute, rows))
    }

    /// Whether the op multiplies each row by weights: then it makes no difference to a row which others stand beside it.
    fn meets_weights(&self, site: Site) -> bool {
        self.graph()[site].op.facts().product == Product::Weights
    }

    fn in_rows(&self, site: Site, compute: Compute, rows: &[usize]) -> Value<T> {
        if !self.meets_weights(site) || self.is_altered() {
            return self.evaluate(site, compute);
        }
        let x = self.operands(site);
        if rows.len() >= x[0].len_of(Axis(0)) {
            return self.evaluate(site, compute);
        }
        let picked = x[0].select(Axis(0), rows);
        let found = evaluate(self.model(), site, self.span(), &[picked.view()], compute);
        let mut all = Value::zeros(vec![x[0].len_of(Axis(0)), found.len_of(Axis(1))]);
        for (row, found) in rows.iter().zip(found.outer_iter()) {
            all.index_axis_mut(Axis(0), *row).assign(&found);
        }
        all
    }
}

/// The op at `site` in each of `runs`, computed as `computes` say.
fn evaluate_together<T: Real>(runs: &[Run<T>], site: Site, computes: &[Compute]) -> Vec<Value<T>> {
    let alike = |compute: &Compute| Compute { nudge: computes[0].nudge, ..*compute } == computes[0];
    if !runs[0].meets_weights(site) || !computes.iter().all(alike) || runs.iter().any(Run::is_altered) {
        return runs.iter().zip(computes).map(|(run, compute)| run.evaluate(site, *compute)).collect();
    }
    let operands: Vec<_> = runs.iter().map(|run| run.operands(site)).collect();
    let (facts, salt) = (runs[0].graph()[site].op.facts(), runs[0].graph()[site].salt());
    let moved: Vec<_> = operands.iter().zip(computes).map(|(x, c)| c.operand(facts, salt, 0, x[0].view())).collect();
    let views: Vec<ArrayViewD<T>> = moved.iter().map(|x| x.view()).collect();
    let stacked = concatenate(Axis(0), &views).expect("inputs of one op differ in rows only");
    // The nudge has been given already.
    let compute = Compute { nudge: None, ..computes[0] };
    let all = evaluate(runs[0].model(), site, runs[0].span(), &[stacked.view()], compute);
    let mut first = 0;
    let rows = views.iter().map(|view| {
        let own = Slice::from(first..first + view.len_of(Axis(0)));
        first += view.len_of(Axis(0));
        // A view of its own rows: nothing is copied.
        let mut value = all.clone();
        value.slice_axis_inplace(Axis(0), own);
        value
    });
    debug_assert_eq!(runs[0].graph()[site].row_axis(), 0, "rows of a product are tokens");
    rows.collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::engine::LogitRows;
    use crate::model::Model;

    #[test]
    fn runs_that_step_together_compute_what_they_compute_alone() {
        let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("reference/demo/model");
        let model = Arc::new(Model::load(&demo).expect("the demo model"));
        let run = |nudge| {
            let mut run = Run::<f32>::new(Arc::clone(&model), &[1, 5, 9, 2, 7, 3], LogitRows::All);
            run.set_compute(Compute { nudge, ..Compute::default() });
            run
        };
        let mut alone = [run(None), run(Some(1))];
        let mut together = alone.clone();
        while let Some(site) = Run::step_in_rows(&mut together, None) {
            for (alone, together) in alone.iter_mut().zip(&together) {
                assert_eq!(alone.step(), Some(site));
                let (a, b) = (&alone.get(site).expect("just computed"), &together.get(site).expect("just computed"));
                let apart =
                    a.iter().zip(b.iter()).map(|(a, b)| (a - b).abs()).filter(|d| !d.is_nan()).fold(0.0, f32::max);
                assert!(a.shape() == b.shape() && apart < 1e-4, "{}: {apart}", model.graph.name(site));
            }
        }
        assert!(alone.iter().all(Run::is_complete));
    }
}
