//! Where a suspect is tried: an op, the inputs that the dump has for it, and what the dump has for its output.

use std::sync::Arc;

use ndarray::{ArrayD, ArrayViewD};

use crate::diagnose::forced::Forced;
use crate::diagnose::noise::Terms;
use crate::diagnose::part::Part;
use crate::diagnose::precision::Precision;
use crate::engine::{Activation, Axis, Site};
use crate::model::{Config, Model};

/// An op of a dump that is not what its inputs give.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The model.
    pub model: Arc<Model>,
    /// The runs on the dump's own inputs; the op was computed last.
    pub forced: Forced,
    /// Which op.
    pub site: Site,
    /// Which forward.
    pub step: usize,
    /// What the dump has; none for an op inside a span of which the dump has only the end.
    pub part: Option<Part>,
    /// What the dump was computed in.
    pub precision: Precision,
    /// How exact a correct program is.
    pub terms: Terms,
    /// Whether the dump is the reference.
    pub is_reference: bool,
}

impl Scene {
    /// The numbers of the model.
    pub fn config(&self) -> &Config {
        &self.model.config
    }

    /// Which activation.
    pub fn activation(&self) -> Activation {
        self.site.activation
    }

    /// Position of the forward's first token.
    pub fn first_position(&self) -> usize {
        self.forced.first_position()
    }

    /// What the dump has, in f64, where it has all of it.
    pub fn dumped(&self) -> Option<ArrayD<f64>> {
        let part = self.part.as_ref()?;
        (part.values.shape() == self.exact().shape()).then(|| part.values.mapv(f64::from))
    }

    /// What the model gives on the dump's inputs.
    pub fn exact(&self) -> ArrayViewD<'_, f64> {
        self.forced.exact().view()
    }

    /// What the op reads, by its place among its inputs.
    pub fn input(&self, index: usize) -> Option<ArrayViewD<'_, f64>> {
        self.forced.input(self.site, index)
    }

    /// Number of rows of the forward.
    pub fn tokens(&self) -> usize {
        let axes = self.site.activation.row().axes;
        let at = axes.iter().position(|axis| matches!(axis, Axis::Token | Axis::Query)).expect("a row axis");
        self.exact().shape()[at]
    }
}
