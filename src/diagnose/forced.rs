//! A run that is given a dump's own values as it goes ("teacher forcing"): what it computes next is what the dump's
//! engine should have computed from what it really had.
//!
//! Where every input of an op was dumped, that is the op on its own inputs: the local error. Where activations are
//! missing from the dump, it is the whole span since the last ones that are there.

use std::sync::Arc;

use ndarray::{ArrayViewD, Axis as NdAxis};

use super::arithmetic::Arithmetic;
use super::noise::{DRAWS, Expected, Noise, Terms, measure};
use super::part::Part;
use super::precision::Precision;
use super::unrounded::{self, Random, Stored, unrounded};
use crate::engine::{Compute, Edit, Graph, Keyed, LogitRows, Op, Read, Run, Site, Value};
use crate::model::Model;
use crate::ops::{Mask, Operands, Real};

/// The same pass in f64, and twice in the dump's precision.
#[derive(Clone, Debug)]
pub struct Forced {
    /// What the dump's engine does to the operands of its products.
    pub arithmetic: Arithmetic,
    /// What the dump's engine loaded the model in.
    pub loaded: Precision,
    /// Which activations of the dump were stored in fewer bits than f32 has.
    pub stored: Stored,
    pub(super) exact: Run<f64>,
    pub(super) draws: [Run<f32>; DRAWS],
    /// The activations computed last, one of each run.
    pub(super) expected: (Option<Value<f64>>, [Value<f32>; DRAWS]),
}

impl Forced {
    /// Stands before the first op of the prefill of `ids`, of a model that was loaded in this format.
    pub fn new(model: &Arc<Model>, ids: &[u32], loaded: Precision) -> Self {
        let run = || Run::new(Arc::clone(model), ids, LogitRows::All);
        let exact = Run::with_compute(Arc::clone(model), ids, LogitRows::All, Compute::default());
        let mut forced = Self {
            arithmetic: Arithmetic::default(),
            loaded,
            stored: Stored::default(),
            exact,
            draws: [run(), run()],
            expected: (None, Default::default()),
        };
        // Suspects may read them.
        forced.exact.keep_stale();
        forced.draws.iter_mut().for_each(Run::keep_stale);
        forced
    }

    /// The same without the attention patterns of the layer that was left: where an embedding or a block was computed last,
    /// no model reads what is in the layer, and no port was seen to read those.
    #[must_use]
    pub fn at_residual(&self) -> Self {
        let mut left = self.clone();
        left.exact.leave_patterns();
        left.draws.iter_mut().for_each(Run::leave_patterns);
        left
    }

    /// Forgets the activations of the layer, but for the residual stream.
    pub fn leave_layer(&mut self) {
        self.exact.leave_layer();
        self.draws.iter_mut().for_each(Run::leave_layer);
    }

    /// Rows of a node in earlier forwards, from position 0 on, where [`crate::engine::Read::Earlier`] finds them.
    pub fn remember(&mut self, site: Site, rows: &Value<f32>) {
        self.exact.remember(site, rows.mapv(f64::from).view());
        self.draws.iter_mut().for_each(|draw| draw.remember(site, rows.view()));
    }

    /// Whether rows of a node are remembered from this position on.
    pub fn has_earlier(&self, site: Site, start: usize) -> bool {
        let operand = self.exact.operand(crate::engine::Read::Earlier(site, start));
        operand.is_some_and(|rows| rows.iter().all(|v| v.is_finite()))
    }

    /// The ops of each forward.
    pub fn graph(&self) -> &Graph {
        self.exact.graph()
    }

    /// The next op.
    pub fn next(&self) -> Option<Site> {
        self.exact.next()
    }

    /// Begins a decode step.
    pub fn begin_forward(&mut self, ids: &[u32]) {
        self.stored.begin_forward();
        self.exact.begin_forward(ids);
        for draw in &mut self.draws {
            draw.begin_forward(ids);
        }
    }

    /// Puts the channels of each head that the cache keeps of `site` of the forwards before in another order.
    pub fn reorder_cached(&mut self, site: Site, order: &[usize]) {
        self.exact.reorder_cached(site, order);
        self.draws.iter_mut().for_each(|draw| draw.reorder_cached(site, order));
    }

    /// Position of the current forward's first token.
    pub fn first_position(&self) -> usize {
        self.exact.first_position()
    }

    /// The next op, in f64. [`Forced::step_draws`] has to follow.
    pub fn step_exact(&mut self) -> Option<Site> {
        let site = self.exact.step()?;
        self.expected.0 = self.exact.get(site).cloned();
        Some(site)
    }

    /// The same op, as programs of `precision` compute it; returns which op it was.
    pub fn step_draws(&mut self, precision: Precision) -> Option<Site> {
        self.step_draws_in_rows(precision, None)
    }

    /// The same; logits in `rows` only, where some are given.
    pub fn step_draws_in_rows(&mut self, precision: Precision, rows: Option<&[usize]>) -> Option<Site> {
        let site = self.draws[0].next()?;
        let computes: [Compute; DRAWS] =
            std::array::from_fn(|index| self.compute(index, precision, self.operands(site)));
        for (draw, compute) in self.draws.iter_mut().zip(computes) {
            draw.set_compute(compute);
        }
        Run::step_in_rows(&mut self.draws, rows);
        for (expected, draw) in self.expected.1.iter_mut().zip(&self.draws) {
            *expected = draw.get(site).cloned().unwrap_or_default();
        }
        Some(site)
    }

    /// What enters the product of an op.
    pub(super) fn operands(&self, site: Site) -> Operands {
        self.arithmetic.of(self.graph().class(site))
    }

    pub(super) fn compute(&self, draw: usize, precision: Precision, operands: Operands) -> Compute {
        // The first draw is our own engine, the others are nudged.
        let nudge = (draw > 0).then_some(draw as u64);
        Compute { rounding: precision.rounding(), loaded: self.loaded.rounding(), operands, nudge }
    }

    /// What the op computed last gives with other operands of its product, in `rows` at least.
    pub fn emulated(&self, precision: Precision, operands: Operands, rows: &[usize]) -> Option<Value<f32>> {
        self.draws[0].again_in_rows(self.compute(0, precision, operands), rows)
    }

    /// Computes the draws of the op computed last again, after the arithmetic has been changed.
    pub fn redraw(&mut self, site: Site, precision: Precision) {
        let computes: [Compute; DRAWS] =
            std::array::from_fn(|index| self.compute(index, precision, self.operands(site)));
        for (index, value) in Run::again_together(&self.draws, &computes).into_iter().enumerate() {
            assert!(self.draws[index].set(site, value.clone()), "the op computed last can be set");
            self.expected.1[index] = value;
        }
    }

    /// Takes the draws of another run that has come to the same op.
    pub fn take_draws(&mut self, other: &Self) {
        self.arithmetic.clone_from(&other.arithmetic);
        self.draws.clone_from(&other.draws);
        self.expected.1.clone_from(&other.expected.1);
    }

    /// What the op computed last read, by its place among its inputs.
    pub fn input(&self, index: usize) -> Option<ArrayViewD<'_, f64>> {
        self.exact.operand(*self.graph()[self.exact.last()?].reads.get(index)?)
    }

    /// What the op computed last gives in f64 with a change to it, and its mask if it has one. `None` where it reads what
    /// is not there.
    pub fn altered(&self, edit: &Edit) -> Option<(Value<f64>, Option<Mask>)> {
        let step = self.exact.altered(edit)?;
        let first = step.span.first;
        let mask = step.ops.iter().find_map(|op| if let Op::Scores(how) = op { Some(how.mask(first)) } else { None });
        Some((self.exact.apply(&step, Compute::default())?, mask))
    }

    /// The same as programs of `precision` compute it.
    pub fn altered_draws(&self, edit: &Edit, precision: Precision) -> Option<[Value<f32>; DRAWS]> {
        let mut drawn = <[Value<f32>; DRAWS]>::default();
        for (index, (run, value)) in self.draws.iter().zip(&mut drawn).enumerate() {
            let step = run.altered(edit)?;
            *value = run.apply(&step, self.compute(index, precision, self.operands(step.site)))?;
        }
        Some(drawn)
    }

    /// The same on values that the dump's engine may have had before they were stored: see [`Forced::unrounded`].
    pub fn altered_unrounded(&self, edit: &Edit, precision: Precision) -> Vec<Value<f32>> {
        let Some(step) = self.draws[0].altered(edit) else { return Vec::new() };
        let compute = self.compute(0, precision, self.operands(step.site));
        self.unrounded(&step.reads, |run| run.apply(&step, compute))
    }

    /// What the last op gives in f64.
    pub fn exact(&self) -> &Value<f64> {
        self.expected.0.as_ref().expect("an op has been computed")
    }

    /// What the last op gives.
    pub fn expected(&self) -> Expected<'_> {
        Expected { exact: self.exact(), draws: &self.expected.1, more: &[] }
    }

    /// How far `part`, the dump's tensor of the op computed last, is from what that gives.
    pub fn measure(&self, site: Site, part: &Part, terms: Terms) -> Noise {
        let mut strict = self.measure_beside(&[], site, part, terms);
        // What another choice gives is no noise.
        let is_choice = self.graph()[site].op.facts().discrete;
        if !strict.is_in_order() && strict.group_is_small && !is_choice {
            let more = self.measure_beside(&self.more_draws(site, &part.rows), site, part, terms);
            strict = if more.is_in_order() { more } else { strict };
        }
        if strict.is_in_order() || !self.stored.is_in_doubt(self.graph()[site].op.facts()) {
            return strict;
        }
        // The engine may have had more bits of the inputs than the dump has.
        let compute = Compute { operands: self.operands(site), ..self.draws[0].compute() };
        let unrounded = self.unrounded(&self.graph()[site].reads, |run| run.again_in_rows(compute, &part.rows));
        if unrounded.is_empty() {
            return strict;
        }
        self.measure_beside(&unrounded, site, part, Terms { kin: None, ..terms })
    }

    /// The op computed last, nudged in a few more ways.
    fn more_draws(&self, site: Site, rows: &[usize]) -> Vec<Value<f32>> {
        const MORE: usize = 8;
        let own = Compute { operands: self.operands(site), ..self.draws[0].compute() };
        let nudged = |seed: usize| Compute { nudge: Some(seed as u64), ..own };
        (DRAWS..DRAWS + MORE).filter_map(|seed| self.draws[0].again_in_rows(nudged(seed), rows)).collect()
    }

    /// The same beside more draws.
    pub fn measure_beside(&self, more: &[Value<f32>], site: Site, part: &Part, terms: Terms) -> Noise {
        let expected = Expected { more, ..self.expected() };
        measure(site, self.graph(), self.first_position(), part, expected, terms)
    }

    /// What `apply` gives of our own pass on values that the dump's engine may have had before they were stored, a few
    /// times over; nothing where all of `reads` were stored as they were.
    pub fn unrounded(&self, reads: &[Read], apply: impl Fn(&Run) -> Option<Value<f32>>) -> Vec<Value<f32>> {
        let stored: Vec<(Read, Precision)> =
            reads.iter().filter_map(|read| Some((*read, self.stored.narrow(*read)?))).collect();
        if stored.is_empty() {
            return Vec::new();
        }
        let draw = |seed: usize| {
            let (mut run, mut random) = (self.draws[0].clone(), Random::new(seed as u64));
            for (read, precision) in &stored {
                let moved = unrounded(run.operand(*read)?, *precision, &mut random);
                run.replace(*read, moved.into_shared());
            }
            apply(&run)
        };
        (0..unrounded::DRAWS).filter_map(draw).collect()
    }

    /// Puts the dump's rows of `site`, the op computed last, in the place of what was computed. What the mask hides stays
    /// hidden, whatever the dump has there.
    pub fn force(&mut self, site: Site, part: &Part) {
        self.put(site, part, false);
    }

    /// The same, with what the dump has where the mask hides.
    pub fn force_unmasked(&mut self, site: Site, part: &Part) {
        self.put(site, part, true);
    }

    /// The same for the draws only.
    pub fn force_draws(&mut self, site: Site, part: &Part) {
        for draw in &mut self.draws {
            let value = overlaid(draw, site, part, false);
            assert!(draw.set(site, value), "the op computed last can be set");
        }
    }

    fn put(&mut self, site: Site, part: &Part, unmasked: bool) {
        if let Some(values) = self.whole(site, part) {
            assert!(self.exact.set(site, values.mapv(f64::from).into_shared()), "the op computed last can be set");
            for draw in &mut self.draws {
                assert!(draw.set(site, values.clone()), "the op computed last can be set");
            }
            return;
        }
        let exact = overlaid(&self.exact, site, part, unmasked);
        assert!(self.exact.set(site, exact), "the op computed last can be set");
        for draw in &mut self.draws {
            let value = overlaid(draw, site, part, unmasked);
            assert!(draw.set(site, value), "the op computed last can be set");
        }
    }
}

impl Forced {
    /// The values of `part` where nothing of what was computed stays: then both draws share them.
    fn whole(&self, site: Site, part: &Part) -> Option<Value<f32>> {
        let computed = self.exact.get(site)?.shape();
        let all = part.values.shape() == computed && part.rows.iter().copied().eq(0..part.rows.len());
        (all && self.graph()[site].op.facts().keyed != Keyed::Scores).then(|| part.values.to_shared())
    }
}

/// The run's own value of `site` with the rows and keys that `part` has.
pub(super) fn overlaid<T: Real>(run: &Run<T>, site: Site, part: &Part, unmasked: bool) -> Value<T> {
    let mut value = run.get(site).expect("the op was just computed").clone();
    let node = &run.graph()[site];
    let (row_axis, keyed) = (node.row_axis(), node.has_keys());
    let masked = node.op.facts().keyed == Keyed::Scores && !unmasked;
    let mask = run.graph().mask(site, run.first_position());
    for (index, row) in part.rows.iter().enumerate() {
        let mut into = value.index_axis_mut(NdAxis(row_axis), *row);
        let from = part.values.index_axis(NdAxis(row_axis), index);
        if !keyed {
            into.zip_mut_with(&from, |into, from| *into = T::of(*from));
            continue;
        }
        for (mut into, from) in into.rows_mut().into_iter().zip(from.rows()) {
            for (column, from) in from.iter().enumerate() {
                let key = column + part.first_key;
                if !masked || mask.allows(*row, key) {
                    into[key] = T::of(*from);
                }
            }
        }
    }
    value
}
