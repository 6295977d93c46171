//! Why an op is wrong: the known mistakes that make its tensor, and any of them switched on in our own engine.

use std::mem::replace;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::state::Debugger;
use super::view::{Diagnosis, Listing, Stop, SuspectLine};
use crate::diagnose::Status;
use crate::diagnose::suspects::named;
use crate::diagnose::suspects::search::Accused;
use crate::diagnose::suspects::switch::{place, spread};
use crate::engine::{Alteration, Graph, LogitRows, Product, Role, Run, Site};

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
    row: usize,
    forward: usize,
    accused: Vec<Accused>,
}

impl Debugger {
    /// Lets our own engine make a mistake, from the first op on. The comparison of the dumps is not changed by it.
    pub fn switch_on(&mut self, switched: Switched) {
        self.at_start = Some(switched.clone());
        self.switched = Some(switched);
        self.begin_again();
    }

    /// Tries every known mistake on an op that is wrong by itself.
    pub(super) fn diagnose(
        &mut self,
        name: &str,
        interrupt: &AtomicBool,
        progress: &mut dyn FnMut(Listing),
    ) -> Result<Stop, String> {
        let row = self.row_of(name)?;
        let (site, graph) = (Site::at(row), self.run.graph());
        let short = graph.short(site);
        let bad = |status| status == Status::Bad;
        let compared = self.current_rows().get(row);
        if compared.is_none() && self.has_dumps() {
            return Err(format!("{short} is not computed yet: s steps, g goes there"));
        }
        if !compared.is_some_and(|row| bad(row.status)) {
            let first = self.first_divergence().map(|row| graph.short(Site::at(row)));
            let hint = first.map_or_else(String::new, |first| format!("; the first divergence is {first}"));
            return Err(format!("{short} does not diverge by itself: there is nothing to diagnose{hint}"));
        }
        progress(self.listing());
        let forward = self.run.forward();
        let key = graph.key(site, forward);
        let accused = self.walk.as_ref().map(|walk| walk.suspects(&key, interrupt)).unwrap_or_default();
        if interrupt.load(Ordering::Relaxed) {
            return Ok(Stop::Interrupted);
        }
        self.diagnosed = Some(Diagnosed { row, forward, accused });
        Ok(Stop::Diagnosed(self.diagnosis()?))
    }

    /// Switches a mistake of the last diagnosis on where it was found, or off, and computes up to where the run stands.
    pub(super) fn switch(
        &mut self,
        index: usize,
        interrupt: &AtomicBool,
        progress: &mut dyn FnMut(Listing),
    ) -> Result<Stop, String> {
        let diagnosed = self.diagnosed.as_ref().ok_or("nothing is diagnosed yet: diagnose ACTIVATION does that")?;
        let accused = diagnosed.accused.get(index).ok_or("there is no such suspect")?;
        let site = Site::at(diagnosed.row);
        let on = self.is_on(accused);
        let switched = if on {
            None
        } else {
            let alterations = spread(&self.session.model, accused, &self.elsewhere(site, &accused.sites));
            if alterations.is_empty() {
                return Err(format!("{} cannot be switched on: it is not a change of one op", accused.id));
            }
            Some(Switched { id: accused.id, words: accused.summary.clone(), alterations })
        };
        let ops = self.ops_done();
        let before = (replace(&mut self.switched, switched), self.run.clone(), self.trace.clone());
        self.begin_again();
        let outcome = self.compute_again(ops, interrupt, progress);
        if outcome == Ok(true) {
            return Ok(Stop::Diagnosed(self.diagnosis()?));
        }
        (self.switched, self.run, self.trace) = before;
        outcome.map(|_| Stop::Interrupted)
    }

    /// Our own run, before its first op, as it is to be computed.
    pub(super) fn begin_again(&mut self) {
        let prefill = &self.session.ids[..self.session.steps[0]];
        self.run = Run::new(Arc::clone(&self.session.model), prefill, LogitRows::All);
        self.run.alter(self.switched.as_ref().map(|switched| switched.alterations.clone()).unwrap_or_default());
        self.run.patch(self.patches.of_the_run());
        self.thread_tape();
        self.unpatched = None;
        self.trace.clear();
        self.trace.begin_forward();
    }

    fn is_on(&self, accused: &Accused) -> bool {
        self.switched.as_ref().is_some_and(|switched| switched.id == accused.id && switched.covers(&accused.sites))
    }

    /// Where else a mistake at `made`, which makes `site` wrong, is made: in every layer in which the same op, or its twin
    /// for the keys, is known to be wrong by itself.
    fn elsewhere(&self, site: Site, made: &[Site]) -> Vec<Site> {
        let graph = self.run.graph();
        // Where no weights are multiplied, engines have one code for queries and keys.
        let twin = |site: Site| match graph[site].op.facts().product {
            Product::No => graph[site].role.map(Role::of_queries),
            _ => graph[site].role,
        };
        let wrong = |other: Site| {
            let rows = self.rows().iter().enumerate().filter(|(_, row)| row.status == Status::Bad);
            rows.map(|(row, _)| row % graph.len()).any(|bad| bad == other.index())
        };
        let same = |other: Site| twin(site).is_some() && twin(other) == twin(site);
        let others = graph.sites().filter(|other| *other != site && same(*other) && wrong(*other));
        if made == [site] {
            return others.collect();
        }
        // Over a span the mistake lies as far before the other tensor as before this one.
        let moved = |made: Site, other: Site| {
            let layer = |site: Site| graph[site].layer;
            graph.twin(made, (layer(made)? + layer(other)?).checked_sub(layer(site)?)?)
        };
        others.flat_map(|other| made.iter().filter_map(move |made| moved(*made, other))).collect()
    }

    fn diagnosis(&self) -> Result<Diagnosis, String> {
        let Diagnosed { row, forward, accused } = self.diagnosed.as_ref().ok_or("nothing is diagnosed yet")?;
        let graph = self.run.graph();
        let line = |accused: &Accused| SuspectLine {
            id: accused.id.into(),
            explained: accused.explained,
            residual: accused.residual,
            summary: accused.summary.clone(),
            fix: accused.fix.into(),
            symptom: named(accused.id).map_or("", |suspect| suspect.symptom).into(),
            can_be_switched: accused.edit.is_some(),
            on: self.is_on(accused),
        };
        Ok(Diagnosis {
            row: *row,
            forward: *forward,
            name: graph.short(Site::at(*row)).to_string(),
            local: self.rows().get(forward * graph.len() + row).and_then(|row| row.local),
            suspects: accused.iter().map(line).collect(),
        })
    }
}
