//! The ops between the last dumped residual stream and a tensor, and what was dumped on the way.

use std::collections::HashSet;

use super::forced::{Forced, overlaid};
use super::noise::DRAWS;
use super::part::Part;
use super::precision::Precision;
use super::unrounded::{self, Random, unrounded};
use crate::engine::{Alteration, Read, Run, Site, Value};
use crate::ops::Real;

/// A span of ops.
#[derive(Clone, Debug)]
pub struct Gap {
    /// Runs that stand behind the residual stream.
    pub anchor: Forced,
    /// What was dumped on the way, and in which precision.
    since: Vec<(Site, Part, Precision)>,
}

impl Gap {
    /// Nothing lies behind these runs yet.
    pub fn behind(anchor: Forced) -> Self {
        Self { anchor, since: Vec::new() }
    }

    /// `branch` goes on with `part` for `site`, which it has just computed: the gap begins there, if that is all of a residual
    /// stream.
    pub fn pass(&mut self, site: Site, part: &Part, branch: &Forced) {
        let graph = branch.graph();
        let rows = branch.exact().shape()[graph[site].row_axis()];
        if part.rows.len() == rows && graph.is_stream(site) {
            *self = Self::behind(branch.at_residual());
        } else {
            self.since.push((site, part.clone(), branch.stored.of(site)));
        }
    }

    /// What was dumped of an op on the way.
    pub fn dumped(&self, site: Site) -> Option<&Part> {
        self.since.iter().find(|(known, ..)| *known == site).map(|(_, part, _)| part)
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

    /// What `site` gives with other ops on values that the dump's engine may have had before they were stored, a few times
    /// over; nothing where all that the ops read was stored as it was.
    pub fn unrounded(&self, site: Site, alterations: &[Alteration], precision: Precision) -> Vec<Value<f32>> {
        let draw = |seed: usize| {
            let mut random = Random::new(seed as u64);
            let mut run = self.anchor.draws[0].clone();
            run.alter(alterations.to_vec());
            let (from, mut moved) = (run.counter(), HashSet::new());
            loop {
                let next = run.next()?;
                for read in &run.graph()[next].reads.clone() {
                    // What was computed on the way was moved when it was put in; the rest once, before it is first read.
                    let before = matches!(read, Read::Past(_)) || read.site().index() < from;
                    if before
                        && moved.insert(*read)
                        && let Some(narrow) = self.anchor.stored.narrow(*read)
                        && let Some(held) = run.operand(*read)
                    {
                        let value = unrounded(held, narrow, &mut random);
                        run.replace(*read, value.into_shared());
                    }
                }
                run.set_compute(self.anchor.compute(0, precision, self.anchor.operands(next)));
                run.step()?;
                if next == site {
                    return run.get(site).cloned();
                }
                let Some((_, part, stored)) = self.since.iter().find(|(known, ..)| *known == next) else { continue };
                let values = match stored {
                    Precision::F32 => part.values.clone(),
                    narrow => unrounded(part.values.view(), *narrow, &mut random).into_shared(),
                };
                let value = overlaid(&run, next, &Part { values, ..part.clone() }, false);
                assert!(run.set(next, value), "the op computed last can be set");
            }
        };
        let narrow = !self.anchor.stored.is_empty() || self.since.iter().any(|(.., stored)| *stored != Precision::F32);
        if narrow { (0..unrounded::DRAWS).filter_map(draw).collect() } else { Vec::new() }
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
            run.alter(alterations.to_vec());
            *value = loop {
                let at = run.next()?;
                // What the engine does to all products, it does to these.
                run.set_compute(self.anchor.compute(index, precision, self.anchor.operands(at)));
                run.step()?;
                if at == site {
                    break run.get(site).cloned()?;
                }
                self.force(&mut run, at);
            };
        }
        Some(drawn)
    }
}
