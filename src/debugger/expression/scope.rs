//! The debugger as a source of activations.

use ndarray::{Axis, Ix1};

use super::{Source, Tensor};
use crate::debugger::memo::Full;
use crate::debugger::state::Debugger;
use crate::debugger::view::{LayerErrors, Witness};
use crate::diagnose::ActivationRow;
use crate::engine::{Graph, Keyed, Op, Site};
use crate::ops;

use super::value::Elements;

/// A debugger, and the op that `$` is about.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    pub(in crate::debugger) debugger: &'a Debugger,
    /// Row of the listing.
    pub(in crate::debugger) row: Option<usize>,
    /// The forward that the row is of.
    pub(in crate::debugger) forward: usize,
}

impl Source for Scope<'_> {
    fn graph(&self) -> &Graph {
        self.debugger.graph()
    }

    fn here(&self) -> Result<Site, String> {
        let row = self.row.ok_or("no op is computed yet, so there is no $: s steps")?;
        self.graph().site(row).ok_or_else(|| "there is no such op".into())
    }

    fn activation(&self, witness: Witness, site: Site, forward: Option<usize>) -> Result<Tensor, String> {
        let debugger = self.debugger;
        let (fed, current) = (&debugger.pass.fed, debugger.pass.run.forward());
        let forward = forward.unwrap_or(self.forward);
        if forward > current {
            let forwards = fed.forwards();
            let hint = if forward < forwards { "c and n go there" } else { "there is no such forward" };
            return Err(format!("forward {forward} of {forwards} is not computed yet: {hint}"));
        }
        let node = &self.graph()[site];
        let axes: Vec<&'static str> = node.axes.iter().map(|axis| axis.name).collect();
        // Our own values are shared, not copied; only a suspect's scores are masked in another way.
        let scores = node.op.facts().keyed == Keyed::Scores;
        if witness == Witness::Engine
            && (!scores || !debugger.is_switched())
            && let Some(value) = debugger.pass.held(forward, site)
        {
            debugger.captured.look_at_ours(forward, site, fed.feed(forward).tokens, value);
            return Ok(Tensor { elements: Elements::Single(value.clone()), axes });
        }
        let values = debugger.full_in(forward, site, witness)?.values;
        Ok(Tensor { elements: Elements::Single(values), axes })
    }

    fn everywhere(&self, site: Site) -> Result<Vec<Tensor>, String> {
        let mut all = vec![self.activation(Witness::Engine, site, None)?];
        for witness in self.debugger.witnesses().into_iter().filter(|witness| *witness != Witness::Engine) {
            let seen = self.debugger.seen(self.forward, site, witness).ok();
            let axes: Vec<&'static str> = self.graph()[site].axes.iter().map(|axis| axis.name).collect();
            all.extend(seen.map(|seen| Tensor { elements: Elements::Single(seen.part.values), axes }));
        }
        Ok(all)
    }

    fn rerouted(&self) -> Result<usize, String> {
        self.compares()?;
        let (site, debugger) = (self.here()?, self.debugger);
        let Op::Route { .. } = self.graph()[site].op else { return Err("no experts are chosen here".into()) };
        let full = |witness: Witness| debugger.full_in(self.forward, site, witness);
        let own = full(Witness::Engine)?;
        let experts = |of: &Full, row: usize| {
            let weights = of.values.index_axis(Axis(0), row).into_dimensionality::<Ix1>();
            weights.map(|weights| ops::chosen(weights, weights.len())).unwrap_or_default()
        };
        let differ = |witness: Witness| {
            let theirs = full(witness).ok()?;
            Some(theirs.rows.iter().filter(|row| experts(&own, **row) != experts(&theirs, **row)).count())
        };
        let dumps = debugger.witnesses().into_iter().filter(|witness| *witness != Witness::Engine);
        dumps.filter_map(differ).max().ok_or_else(|| "no dump has the experts that are chosen here".into())
    }

    fn errors(&self) -> Result<LayerErrors, String> {
        self.compares()?;
        let first = self.forward * self.graph().len();
        let rows = self.debugger.compared();
        let rows = &rows[..rows.len().min(self.debugger.pass.ops())];
        let row = self.row.and_then(|row| rows.get(first + row));
        // So that a condition on the error holds where an element is not finite.
        let strict =
            |row: &ActivationRow| LayerErrors { error: row.compared().map(|_| row.strict()), ..LayerErrors::of(row) };
        row.map(strict).ok_or_else(|| "the op here is not compared yet".into())
    }

    fn knows(&self, witness: Witness) -> Result<(), String> {
        if self.debugger.has(witness) {
            Ok(())
        } else {
            Err(format!("there is no {}: give its dump as --{0}", witness.name()))
        }
    }

    fn compares(&self) -> Result<(), String> {
        if self.debugger.has_dumps() {
            Ok(())
        } else {
            Err("there is no dump to compare with: --reference gives one".into())
        }
    }
}
