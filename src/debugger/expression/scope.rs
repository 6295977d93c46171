//! The debugger as a source of activations.

use super::condition::Condition;
use super::{Error, Expression, Source, Tensor, Value};
use crate::debugger::state::Debugger;
use crate::debugger::view::{LayerErrors, Witness};
use crate::engine::{Graph, Keyed, Site};

use super::value::Elements;

/// A debugger, and the op that `$` is about.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    debugger: &'a Debugger,
    /// Row of the listing.
    row: Option<usize>,
    /// The forward that the row is of.
    forward: usize,
}

impl Debugger {
    /// What expressions see of it: `$` is the activation at `row` of the listing, or else of the op computed last.
    pub fn scope(&self, row: Option<usize>) -> Scope<'_> {
        let row = row.or_else(|| self.run.counter().checked_sub(1));
        Scope { debugger: self, row, forward: self.run.forward() }
    }

    /// The same for an op of an earlier forward.
    pub(in crate::debugger) fn scope_in(&self, forward: usize, row: usize) -> Scope<'_> {
        Scope { debugger: self, row: Some(row), forward }
    }

    /// The value of an expression at a row of the listing, or else at the op computed last.
    ///
    /// # Errors
    /// One sentence, and where in the text.
    pub fn evaluate(&self, text: &str, row: Option<usize>) -> Result<Value, Error> {
        let scope = self.scope(row);
        let expression = Expression::parse(text, &scope)?;
        expression.check(&scope)?;
        expression.evaluate(&scope)
    }

    /// Reads a condition that can hold in this session.
    ///
    /// # Errors
    /// One sentence, and where in the text.
    pub fn condition(&self, text: &str) -> Result<Condition, Error> {
        let scope = self.scope(None);
        let condition = Condition::parse(text, &scope)?;
        condition.check(&scope)?;
        Ok(condition)
    }
}

impl Source for Scope<'_> {
    fn graph(&self) -> &Graph {
        self.debugger.run.graph()
    }

    fn here(&self) -> Result<Site, String> {
        let row = self.row.ok_or("no op is computed yet, so there is no $: s steps")?;
        self.graph().site(row).ok_or_else(|| "there is no such op".into())
    }

    fn activation(&self, witness: Witness, site: Site, forward: Option<usize>) -> Result<Tensor, String> {
        let Debugger { run, trace, session, .. } = self.debugger;
        let current = run.forward();
        let forward = forward.unwrap_or(self.forward);
        if forward > current {
            let forwards = session.steps.len();
            let hint = if forward < forwards { "c and n go there" } else { "there is no such forward" };
            return Err(format!("forward {forward} of {forwards} is not computed yet: {hint}"));
        }
        let node = &self.graph()[site];
        let axes: Vec<&'static str> = node.axes.iter().map(|axis| axis.name).collect();
        // Our own values are shared, not copied; only a suspect's scores are masked in another way.
        let scores = node.op.facts().keyed == Keyed::Scores;
        if witness == Witness::Engine && (!scores || !self.debugger.is_switched()) {
            let record = trace.forward(forward).get(site.index());
            let held = || run.get(site).filter(|_| forward == current && !self.debugger.is_taped());
            if let Some(value) = record.and_then(|record| record.value.as_ref().or_else(held)) {
                self.debugger.look_at_ours(forward, site, value);
                return Ok(Tensor { elements: Elements::Single(value.clone()), axes });
            }
        }
        let values = self.debugger.whole_in(forward, site, witness)?.values;
        Ok(Tensor { elements: Elements::Single(values), axes })
    }

    fn errors(&self) -> Result<LayerErrors, String> {
        self.compares()?;
        let first = self.forward * self.graph().len();
        let rows = self.debugger.rows();
        let rows = &rows[..rows.len().min(self.debugger.ops_done())];
        let row = self.row.and_then(|row| rows.get(first + row));
        row.map(LayerErrors::of).ok_or_else(|| "the op here is not compared yet".into())
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
