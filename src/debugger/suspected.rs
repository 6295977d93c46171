//! What our own engine does wrong, so that it can be looked at, and the op that was diagnosed last.

use crate::diagnose::suspects::search::Accused;
use crate::diagnose::suspects::switch::place;
use crate::engine::{Alteration, Graph, Site};

/// A mistake that our own engine makes, to be looked at.
#[derive(Clone, Debug)]
pub struct Switched {
    /// The suspect's id.
    pub id: &'static str,
    /// What is computed instead of what.
    pub words: String,
    /// The ops that are computed otherwise.
    pub alterations: Vec<Alteration>,
}

impl Switched {
    /// `with rope_interleaved in layers 0-3`
    pub fn describe(&self, graph: &Graph) -> String {
        format!("with {} in {}", self.id, place(&self.alterations, graph))
    }

    fn covers(&self, sites: &[Site]) -> bool {
        sites.iter().all(|site| self.alterations.iter().any(|alteration| alteration.sites.contains(site)))
    }
}

/// An op, and the mistakes that make its tensor.
#[derive(Clone, Debug)]
pub(super) struct Diagnosed {
    pub(super) row: usize,
    pub(super) forward: usize,
    pub(super) accused: Vec<Accused>,
}

/// What our own engine does wrong, so that it can be looked at, and the op that was diagnosed last.
#[derive(Debug, Default)]
pub(super) struct Suspected {
    /// The mistake that it makes, if it is to make one, and the one that it makes from the start.
    pub(super) on: Option<Switched>,
    pub(super) at_start: Option<Switched>,
    pub(super) diagnosed: Option<Diagnosed>,
}

impl Suspected {
    /// The ops that are computed otherwise.
    pub(super) fn alterations(&self) -> Vec<Alteration> {
        self.on.as_ref().map(|switched| switched.alterations.clone()).unwrap_or_default()
    }

    /// As it was at the start.
    pub(super) fn reset(&mut self) {
        (self.on, self.diagnosed) = (self.at_start.clone(), None);
    }

    pub(super) fn is_on(&self, accused: &Accused) -> bool {
        self.on.as_ref().is_some_and(|switched| switched.id == accused.id && switched.covers(&accused.sites))
    }
}
