//! One op, ready to be computed: as the graph has it, or changed.
//!
//! A run evaluates ops on its own slots; a diagnosis evaluates the same ops on a dump's tensors, and changed ones: that is
//! how the mistakes of ports are tried out, by the same code as everything else.

use std::borrow::Cow;
use std::slice::from_ref;

use ndarray::{ArrayViewD, Axis, CowArray, IxDyn};

use super::Value;
use super::compute::Compute;
use crate::model::Model;
use crate::model::graph::{Graph, Node, Read, Site};
use crate::model::op::Op;
use crate::ops::{Operands, Real};

/// The tokens of one forward.
#[derive(Clone, Copy, Debug)]
pub struct Span<'a> {
    /// The ids fed.
    pub ids: &'a [u32],
    /// Position of the first of them.
    pub first: usize,
}

/// One op, ready to be computed.
#[derive(Clone, Debug)]
pub struct Step<'a> {
    /// The model.
    pub model: &'a Model,
    /// Which node it computes.
    pub site: Site,
    /// The tokens of the forward.
    pub span: Span<'a>,
    /// What it reads.
    pub reads: Cow<'a, [Read]>,
    /// Ops on single inputs before that, by their place: models have none.
    pub prepare: Vec<(usize, Op)>,
    /// What it computes: models have one op, which takes all inputs; further ones take what the one before gives.
    pub ops: Cow<'a, [Op]>,
    /// How many of them compute what its own op reads: models have none.
    pub through: usize,
}

/// Runs the op at `site` on `values`, which stand in the order of what it reads; shapes are those of the graph.
///
/// # Panics
/// When a value is missing or has another shape: callers take shapes from the graph.
pub fn evaluate<T: Real>(
    model: &Model,
    site: Site,
    span: Span,
    values: &[ArrayViewD<T>],
    compute: Compute,
) -> Value<T> {
    Step::of(model, site, span).apply(values, compute)
}

impl<'a> Step<'a> {
    /// The op at `site` as the model has it.
    pub fn of(model: &'a Model, site: Site, span: Span<'a>) -> Self {
        let node = &model.graph[site];
        let (reads, ops) = (Cow::Borrowed(&node.reads[..]), Cow::Borrowed(from_ref(&node.op)));
        Self { model, site, span, reads, prepare: Vec::new(), ops, through: 0 }
    }

    /// The graph that it is of.
    pub fn graph(&self) -> &'a Graph {
        &self.model.graph
    }

    /// Its node.
    pub fn node(&self) -> &'a Node {
        &self.model.graph[self.site]
    }

    /// Its op, to be changed.
    pub fn op_mut(&mut self) -> &mut Op {
        self.ops.to_mut().get_mut(self.through).expect("a step has an op")
    }

    /// Whether every op finds as much to read as it needs.
    pub fn has_enough(&self) -> bool {
        let given = std::iter::once(self.reads.len()).chain(std::iter::repeat(1));
        self.ops.iter().zip(given).all(|(op, given)| op.least_reads() <= given)
            && self.prepare.iter().all(|(index, op)| *index < self.reads.len() && op.least_reads() <= 1)
    }

    /// Another op is computed.
    pub fn put(&mut self, ops: Vec<Op>) {
        let before = self.ops.iter().take(self.through).cloned();
        self.ops = before.chain(ops).collect::<Vec<_>>().into();
    }

    /// One more op, on what the last one gives.
    pub fn then(&mut self, op: Op) {
        self.ops.to_mut().push(op);
    }

    /// Computes it on `values`, which stand in the order of its inputs; shapes are those of the graph.
    ///
    /// # Panics
    /// When a value is missing or has another shape: callers take shapes from the graph.
    pub fn apply<T: Real>(&self, values: &[ArrayViewD<T>], compute: Compute) -> Value<T> {
        let (facts, salt) = (self.node().op.facts(), self.node().salt());
        let operand =
            |(index, x): (usize, &ArrayViewD<'_, T>)| compute.operand(facts, salt, index, x.view()).into_owned();
        let moved: Vec<CowArray<T, IxDyn>> = if compute.moves(facts) {
            values.iter().enumerate().map(operand).map(CowArray::from).collect()
        } else {
            values.iter().map(|x| CowArray::from(x.view())).collect()
        };
        let mut views: Vec<ArrayViewD<T>> = moved.iter().map(|x| x.view()).collect();
        let prepared: Vec<(usize, Value<T>)> = self
            .prepare
            .iter()
            .map(|(index, op)| (*index, op.apply(self.model, self.span, &[views[*index].view()], compute)))
            .collect();
        for (index, value) in &prepared {
            views[*index] = value.view();
        }
        let (first, rest) = self.ops.split_first().expect("a step has an op");
        let mut y = first.apply(self.model, self.span, &views, compute);
        for op in rest {
            y = op.apply(self.model, self.span, &[y.view()], compute);
        }
        let Operands::Result(few) = compute.operands else { return y };
        let width = self.node().heads().map_or(y.len_of(Axis(y.ndim() - 1)), |(_, width)| width);
        few.round_in(width, y.view()).into_shared()
    }
}
