//! What a recorder asks of a debugger, beyond what a screen does.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::looked::{Look, Seen};
use super::state::Debugger;
use super::view::{Listing, Stop};
use crate::diagnose::ActivationRow;
use crate::engine::{Compute, LogitRows, Run, Site, Value};
use crate::model::Model;

impl Debugger {
    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.session.model
    }

    /// Which forward it stands in, and how many ops of it are computed.
    pub fn position(&self) -> (usize, usize) {
        (self.run.forward(), self.run.counter())
    }

    /// How often the dumps were read again.
    pub fn reads(&self) -> usize {
        self.reads
    }

    /// All that was compared so far, over all forwards.
    pub fn compared(&self) -> &[ActivationRow] {
        self.rows()
    }

    /// Our own activation, if it is computed and kept.
    pub fn ours(&self, forward: usize, site: Site) -> Option<&Value> {
        self.trace.forward(forward).get(site.index())?.value.as_ref()
    }

    /// What a dump has of an activation.
    ///
    /// # Errors
    /// One sentence: it does not have it, or cannot be read.
    pub fn dumped(&self, look: &Look) -> Result<Seen, String> {
        let (part, notes) = self.part_of(look.forward, look.site, look.witness)?;
        Ok(Seen { values: part.values, rows: part.rows, first_key: part.first_key, notes })
    }

    /// Goes to where so many ops of a forward are computed.
    ///
    /// # Errors
    /// As [`Debugger::execute`].
    pub fn go_to_position(
        &mut self,
        forward: usize,
        counter: usize,
        interrupt: &AtomicBool,
        progress: &mut dyn FnMut(Listing),
    ) -> Result<Stop, String> {
        if (forward, counter) <= self.position() {
            self.go_to(forward, counter);
            return Ok(Stop::Done);
        }
        let wanted = forward * self.run.graph().len() + counter;
        let done = self.compute_again(wanted - self.ops_done(), interrupt, progress)?;
        Ok(if done { Stop::Done } else { Stop::Interrupted })
    }

    /// The same computation, patches and suspect included, with every sum in another order: what a correct build on another
    /// processor may give.
    pub fn draw(&self, seed: u64, wanted: &BTreeSet<(usize, Site)>) -> HashMap<(usize, Site), Value> {
        let session = &self.session;
        let compute = Compute { nudge: Some(seed), ..Compute::default() };
        let mut fed = session.steps[0];
        let mut run = Run::with_compute(Arc::clone(&session.model), &session.ids[..fed], LogitRows::All, compute);
        run.alter(self.switched.as_ref().map(|switched| switched.alterations.clone()).unwrap_or_default());
        run.patch(self.patches.of_the_run());
        let mut found = HashMap::new();
        while let Some((last, _)) = wanted.last() {
            while let Some(site) = run.step() {
                if let Some(value) = run.get(site).filter(|_| wanted.contains(&(run.forward(), site))) {
                    found.insert((run.forward(), site), value.clone());
                }
            }
            let Some(tokens) = session.steps.get(run.forward() + 1).filter(|_| run.forward() < *last) else { break };
            run.begin_forward(&session.ids[fed..fed + tokens]);
            fed += tokens;
        }
        found
    }
}
