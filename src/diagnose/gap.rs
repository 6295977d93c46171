//! The ops between the last dumped residual stream and a tensor, and what was dumped on the way.

use super::forced::{Forced, overlaid};
use super::noise::DRAWS;
use super::part::Part;
use super::precision::Precision;
use crate::engine::{Alteration, Run, Site, Value};
use crate::ops::{Operands, Real};

/// A span of ops.
#[derive(Clone, Debug)]
pub struct Gap {
    /// Runs that stand behind the residual stream.
    pub anchor: Forced,
    since: Vec<(Site, Part)>,
}

impl Gap {
    /// Nothing lies behind these runs yet.
    pub fn behind(anchor: Forced) -> Self {
        Self { anchor, since: Vec::new() }
    }

    /// `part` was dumped of `site`, which lies behind all others.
    pub fn add(&mut self, site: Site, part: Part) {
        self.since.push((site, part));
    }

    /// What was dumped of an op on the way.
    pub fn dumped(&self, site: Site) -> Option<&Part> {
        self.since.iter().find(|(known, _)| *known == site).map(|(_, part)| part)
    }

    /// Puts the dump's value in the place of `at`, the op computed last, if it has one.
    fn force<T: Real>(&self, run: &mut Run<T>, at: Site) {
        if let Some(part) = self.dumped(at) {
            let value = overlaid(run, at, part, false);
            assert!(run.set(at, value), "the op computed last can be set");
        }
    }

    /// The ops through `site`, and the run in f64 before each of them.
    pub fn states_until(&self, site: Site) -> Vec<(Site, Run<f64>)> {
        let mut run = self.anchor.exact.clone();
        let mut states = Vec::new();
        while let Some(at) = run.next() {
            states.push((at, run.clone()));
            if at == site {
                break;
            }
            run.step();
            self.force(&mut run, at);
        }
        states
    }

    /// What `site` gives when `run`, which stands somewhere on the way, goes on with other ops.
    pub fn through<T: Real>(&self, mut run: Run<T>, site: Site, alterations: &[Alteration]) -> Option<Value<T>> {
        run.alter(alterations.to_vec());
        loop {
            let at = run.step()?;
            if at == site {
                return run.get(site).cloned();
            }
            self.force(&mut run, at);
        }
    }

    /// The same as programs of `precision` compute it, from the residual stream on.
    pub fn altered_draws(
        &self,
        site: Site,
        alterations: &[Alteration],
        precision: Precision,
    ) -> Option<[Value<f32>; DRAWS]> {
        let mut drawn = <[Value<f32>; DRAWS]>::default();
        for (index, (run, value)) in self.anchor.draws.iter().zip(&mut drawn).enumerate() {
            let mut run = run.clone();
            run.set_compute(Forced::compute(index, precision, Operands::Exact));
            *value = self.through(run, site, alterations)?;
        }
        Some(drawn)
    }
}
