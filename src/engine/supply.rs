//! A run whose results are supplied, not computed: a recorded forward pass is gone through without its weights.

use std::fmt;
use std::sync::Arc;

use ndarray::ArrayD;

use super::Value;
use super::run::Run;
use crate::model::graph::Site;
use crate::ops::Real;

/// Where the results of a run come from instead.
pub trait Supply<T>: fmt::Debug + Send + Sync {
    /// The activation of a forward, in the shape of the graph; `None` where it is not known.
    fn value(&self, forward: usize, site: Site) -> Option<Value<T>>;
}

impl<T: Real> Run<T> {
    /// Takes the results of the ops that follow from `supply`; patches and alterations have been made there. Where it knows
    /// none, the run holds NaN, and whoever shows values has to ask the supply whether there is one.
    pub fn supplied_by(&mut self, supply: Arc<dyn Supply<T>>) {
        self.supply = Some(supply);
    }

    /// What is supplied for the op at `site`, the next one; `None` for a run that computes.
    pub(super) fn supplied(&self, site: Site) -> Option<Value<T>> {
        let value = self.supply.as_ref()?.value(self.forward(), site);
        Some(value.unwrap_or_else(|| {
            let span = self.span();
            let shape = self.graph()[site].shape(span.ids.len(), span.first + span.ids.len());
            ArrayD::from_elem(shape, T::from_f64(f64::NAN)).into_shared()
        }))
    }
}
