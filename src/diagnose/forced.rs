//! A run that is given a dump's own values as it goes ("teacher forcing"): what it computes next is what the dump's
//! engine should have computed from what it really had.
//!
//! Where every input of an op was dumped, that is the op on its own inputs: the local error. Where activations are
//! missing from the dump, it is the whole span since the last ones that are there.

use std::sync::Arc;

use ndarray::Axis as NdAxis;

use super::noise::{DRAWS, Expected};
use super::part::Part;
use super::precision::Precision;
use crate::engine::{Axis, Compute, LogitRows, Run, Site, Value};
use crate::model::Model;
use crate::ops::{Mask, Real};

/// The same pass in f64, and twice in the dump's precision.
#[derive(Clone, Debug)]
pub struct Forced {
    exact: Run<f64>,
    draws: [Run<f32>; DRAWS],
    /// The activations computed last, one of each run.
    expected: (Option<Value<f64>>, [Value<f32>; DRAWS]),
}

impl Forced {
    /// Stands before the first op of the prefill of `ids`.
    pub fn new(model: &Arc<Model>, ids: &[u32]) -> Self {
        let run = || Run::new(Arc::clone(model), ids, LogitRows::All);
        let exact = Run::with_compute(Arc::clone(model), ids, LogitRows::All, Compute::default());
        Self { exact, draws: [run(), run()], expected: (None, Default::default()) }
    }

    /// Begins a decode step.
    pub fn begin_forward(&mut self, ids: &[u32]) {
        self.exact.begin_forward(ids);
        for draw in &mut self.draws {
            draw.begin_forward(ids);
        }
    }

    /// Position of the current forward's first token.
    pub fn first_position(&self) -> usize {
        self.exact.first_position()
    }

    /// The next op, in f64. [`Forced::step_draws`] has to follow.
    pub fn step_exact(&mut self) -> Option<Site> {
        let site = self.exact.step()?;
        self.expected.0 = self.exact.get(site).cloned();
        Some(site)
    }

    /// The same op, as programs of `precision` compute it.
    pub fn step_draws(&mut self, precision: Precision) {
        for (index, draw) in self.draws.iter_mut().enumerate() {
            // The first draw is our own engine, the others are nudged.
            let nudge = (index > 0).then_some(index as u64);
            draw.set_compute(Compute { rounding: precision.rounding(), nudge });
            if let Some(site) = draw.step() {
                self.expected.1[index] = draw.get(site).cloned().unwrap_or_default();
            }
        }
    }

    /// What the last op gives in f64.
    pub fn exact(&self) -> &Value<f64> {
        self.expected.0.as_ref().expect("an op has been computed")
    }

    /// What the last op gives.
    pub fn expected(&self) -> Expected<'_> {
        Expected { exact: self.exact(), draws: &self.expected.1 }
    }

    /// Puts the dump's rows of `site`, the op computed last, in the place of what was computed. What the mask hides stays
    /// hidden, whatever the dump has there.
    pub fn force(&mut self, site: Site, part: &Part) {
        let exact = overlaid(&self.exact, site, part);
        assert!(self.exact.set(site, exact), "the op computed last can be set");
        for draw in &mut self.draws {
            let value = overlaid(draw, site, part);
            assert!(draw.set(site, value), "the op computed last can be set");
        }
    }
}

/// The run's own value of `site` with the rows and keys that `part` has.
fn overlaid<T: Real>(run: &Run<T>, site: Site, part: &Part) -> Value<T> {
    let mut value = run.get(site).expect("the op was just computed").clone();
    let axes = site.activation.row().axes;
    let row_axis = axes.iter().position(|axis| matches!(axis, Axis::Token | Axis::Query)).expect("a row axis");
    let keyed = axes.contains(&Axis::Key);
    let mask = Mask { first: run.first_position(), window: run.model().config.sliding_window[site.layer] };
    for (index, row) in part.rows.iter().enumerate() {
        let mut into = value.index_axis_mut(NdAxis(row_axis), *row);
        let from = part.values.index_axis(NdAxis(row_axis), index);
        if !keyed {
            into.zip_mut_with(&from, |into, from| *into = T::of(*from));
            continue;
        }
        for (mut into, from) in into.rows_mut().into_iter().zip(from.rows()) {
            for (column, from) in from.iter().enumerate() {
                let key = column + part.first_key;
                if mask.allows(*row, key) {
                    into[key] = T::of(*from);
                }
            }
        }
    }
    value
}
