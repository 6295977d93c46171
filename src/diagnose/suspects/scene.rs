//! Where a suspect is tried: an op, the inputs that the dump has for it, and what the dump has for its output.

use std::sync::Arc;

use ndarray::{ArrayD, ArrayViewD};

use super::over_span::Stretch;
use crate::diagnose::forced::Forced;
use crate::diagnose::noise::Terms;
use crate::diagnose::part::Part;
use crate::diagnose::precision::Precision;
use crate::engine::{Activation, Site};
use crate::model::{Config, Model};

/// An op of a dump that is not what its inputs give.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The model.
    pub model: Arc<Model>,
    /// The runs on the dump's own inputs; the op was computed last. None where nothing was dumped.
    pub forced: Option<Forced>,
    /// Which op.
    pub site: Site,
    /// Which forward.
    pub step: usize,
    /// Position of the forward's first token.
    pub first: usize,
    /// In the forwards before, it was right up to this position, which is not one of them.
    pub right_until: usize,
    /// What the dump has; none for an op inside a span of which the dump has only the end.
    pub part: Option<Part>,
    /// The ops before, where not all inputs were dumped.
    pub stretch: Option<Stretch>,
    /// What the dump was computed in.
    pub precision: Precision,
    /// How exact a correct program is.
    pub terms: Terms,
    /// Whether the dump is the reference.
    pub is_reference: bool,
}

impl Scene {
    /// An op without a dump: for suspects that are switched on, not searched for.
    pub fn without_dump(model: &Arc<Model>, site: Site) -> Self {
        let terms = Terms { limit: 0.0, kin: None, least: 0.0 };
        Self {
            model: Arc::clone(model),
            forced: None,
            site,
            step: 0,
            first: 0,
            right_until: 0,
            part: None,
            stretch: None,
            precision: Precision::F32,
            terms,
            is_reference: true,
        }
    }

    /// The numbers of the model.
    pub fn config(&self) -> &Config {
        &self.model.config
    }

    /// Which activation.
    pub fn activation(&self) -> Activation {
        self.site.activation
    }

    /// What the dump has, in f64, where it has all of it.
    pub fn dumped(&self) -> Option<ArrayD<f64>> {
        let (part, exact) = (self.part.as_ref()?, self.exact()?);
        (part.values.shape() == exact.shape()).then(|| part.values.mapv(f64::from))
    }

    /// What the model gives on the dump's inputs.
    pub fn exact(&self) -> Option<ArrayViewD<'_, f64>> {
        Some(self.forced.as_ref()?.exact().view())
    }

    /// What the op reads, by its place among its inputs.
    pub fn input(&self, index: usize) -> Option<ArrayViewD<'_, f64>> {
        self.forced.as_ref()?.input(index)
    }
}
