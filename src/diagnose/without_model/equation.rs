//! Ops without weights can be done again on a dump's own tensors: a dump that does not follow from itself is wrong there.
//!
//! Where a number is free (the scale of the scores, the weight of a norm, the function of the MLP, the pairs of RoPE), what
//! fits is found out, and said.

use std::cell::RefCell;
use std::collections::HashMap;

use ndarray::{Array3, ArrayD};

use super::survey::Survey;
use crate::diagnose::part::Part;
use crate::diagnose::precision::Precision;
use crate::dump::Subject;
use crate::engine::{Compute, Field, Node, Op, Read, Site, Span, Step};
use crate::model::op::{OneSign, Scoring, Sums};
use crate::ops::{Activation, split_heads};

mod fit;
mod norm;

pub(super) use norm::fitted_norm;

/// Whether a dump's tensor follows from its other tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closure {
    /// It cannot be told.
    Unknown,
    /// It does, as far as this precision allows.
    Holds(Precision),
    /// It does not.
    Fails,
}

/// One op of one dump, done again.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Check {
    pub(super) closure: Closure,
    /// What was found out: "silu of gate_proj".
    pub(super) how: Option<String>,
}

/// How far a tensor is from what it should be, in units of the last place of what went into it.
#[derive(Debug)]
struct Residual {
    /// Relative precision that would explain the difference.
    unit: f64,
    /// Whether engines do this op in a lower precision than they keep its result.
    loose: bool,
    how: Option<String>,
}

impl Residual {
    /// `terms` are (what is there, what should be, the sum of the sizes of what went in).
    fn of(terms: impl Iterator<Item = (f64, f64, f64)>) -> Self {
        let (mut difference, mut sizes) = (0.0, 0.0);
        for (is, should, size) in terms.filter(|(is, should, _)| is.is_finite() && should.is_finite()) {
            difference += (is - should) * (is - should);
            sizes += size * size;
        }
        let unit = if difference == 0.0 { 0.0 } else { (difference / sizes).sqrt() };
        Self { unit, loose: false, how: None }
    }
}

/// Up to so many units of the last place, an equation holds.
const HOLDS: f64 = 2.0;

/// From so many on, it fails.
const FAILS: f64 = 32.0;

/// The same of bf16, for an op that may be done in it.
const FAILS_LOOSELY: f64 = 4.0;

/// The roundings of a function, and of a sum over an axis.
const ROUNDINGS: f64 = 4.0;

/// Constants that an engine may have in an op, and what it then computes.
struct Way {
    site: Site,
    constants: Vec<Field>,
    how: Option<String>,
}

/// What an op gives on a dump's own tensors.
struct Redone {
    values: ArrayD<f64>,
    /// What it gives without its functions on the sizes of these tensors.
    sizes: ArrayD<f64>,
    loose: bool,
}

/// The tensors of one side of one forward: side 0 is the reference.
struct Own<'a> {
    survey: &'a Survey<'a>,
    side: usize,
    forward: usize,
    parts: RefCell<HashMap<Site, Option<Part>>>,
}

impl Survey<'_> {
    /// Does the op at `site` again on the tensors of each dump.
    pub(super) fn checks(&self, forward: usize, site: Site) -> [Check; 2] {
        [0, 1].map(|side| {
            let residual = Own { survey: self, side, forward, parts: RefCell::default() }.residual(site);
            residual.map_or(Check { closure: Closure::Unknown, how: None }, |found| judged(found, self.coarsest[side]))
        })
    }
}

/// `own` is the coarsest precision of the dump.
fn judged(residual: Residual, own: Precision) -> Check {
    let Residual { unit, loose, how } = residual;
    let coarser = [Precision::F32, Precision::F16, Precision::Bf16];
    let mut allowed = coarser.into_iter().filter(|precision| *precision == own || (loose && *precision > own));
    let holds = allowed.find(|precision| unit <= HOLDS * precision.unit());
    let most = if loose { FAILS_LOOSELY * Precision::Bf16.unit() } else { FAILS * own.unit() };
    let fails = unit > most || unit.is_nan();
    let closure = match holds {
        Some(precision) => Closure::Holds(precision),
        None if fails => Closure::Fails,
        None => Closure::Unknown,
    };
    Check { closure, how }
}

/// Whether an op has a function or adds up over an axis, and is no norm: engines do these in a lower precision.
fn is_loose(op: &Op) -> bool {
    let facts = op.facts();
    facts.sums != Sums::Nothing && facts.one_sign != OneSign::Root
}

impl Own<'_> {
    fn part(&self, site: Site) -> Option<Part> {
        let read = || {
            let [reference, candidate] = self.survey.parts(self.forward, &Subject::Site(site));
            if self.side == 0 { reference } else { candidate }
        };
        self.parts.borrow_mut().entry(site).or_insert_with(read).clone()
    }

    fn values(&self, site: Site) -> Option<ArrayD<f64>> {
        Some(self.part(site)?.values.mapv(f64::from))
    }

    /// `[head, token, channel]`
    fn heads(&self, site: Site) -> Option<Array3<f64>> {
        split_heads(self.values(site)?.view(), self.survey.graph()[site].heads()?.1)
    }

    /// Position of the forward's first token.
    fn first(&self) -> usize {
        self.survey.pair.steps().iter().take(self.forward).sum()
    }

    fn residual(&self, site: Site) -> Option<Residual> {
        let (op, pair) = (&self.survey.graph()[site].op, self.survey.pair);
        match op {
            Op::Norm { head_dim: None, .. } => norm::residual(self, site),
            Op::Softmax { sinks: None } => fit::softmax(self, site),
            Op::Rope(rotate) if pair.heads_known() => fit::rotation(self, site, rotate),
            Op::Scores(_) | Op::Context { .. } if !pair.heads_known() || self.forward > 0 => None,
            // How rows become one is not told by names.
            Op::Rope(_) | Op::Route { .. } | Op::Pool(_) => None,
            _ if op.has_weights() => None,
            _ => {
                let out = self.values(site)?;
                let tried = fit::ways(self, site, &out)?.into_iter().map(|way| {
                    let Redone { values, sizes, loose } = self.redo(site, &way, out.shape())?;
                    let roundings = if loose { ROUNDINGS } else { 1.0 };
                    let terms = out.iter().zip(values.iter().zip(&sizes));
                    let terms = terms.map(|(out, (value, size))| (*out, *value, out.abs() + roundings * size));
                    Some(Residual { loose, how: way.how, ..Residual::of(terms) })
                });
                fit::chosen(op, tried.collect::<Option<Vec<_>>>()?)
            }
        }
    }

    /// What the op at `site` gives in some way on the dump's tensors, where its result has `shape`. In the place of a sum
    /// that was not dumped stands what that adds up (the stream has to be there), and in that of the first factor of a
    /// product, an activation function of what that reads.
    fn redo(&self, site: Site, way: &Way, shape: &[usize]) -> Option<Redone> {
        let (graph, node) = (self.survey.graph(), &self.survey.graph()[site]);
        let mut op = node.op.clone();
        for constant in way.constants.iter().filter(|_| way.site == site) {
            constant.set(&mut op);
        }
        let rows = *shape.get(node.row_axis())?;
        let (mut values, mut sizes, mut loose) = (Vec::new(), Vec::new(), is_loose(&op));
        for read in &node.reads {
            let inner = &graph[read.site()];
            let expected = if inner.axes == node.axes { shape.to_vec() } else { inner.shape(rows, rows) };
            let (value, size) = match self.values(read.site()) {
                Some(value) => (value.clone(), value.abs()),
                None if is_inside(&op, &inner.op) && !graph.is_stream(read.site()) => {
                    let redone = self.redo(read.site(), way, &expected)?;
                    loose |= redone.loose;
                    (redone.values, redone.sizes)
                }
                None => return None,
            };
            if value.shape() != expected || (inner.axes != node.axes && shape != node.shape(rows, rows)) {
                return None;
            }
            let by_position = matches!(read, Read::Past(_) | Read::Whole(_));
            values.push(if by_position { cached(value, inner)? } else { value });
            sizes.push(if by_position { cached(size, inner)? } else { size });
        }
        let apply = |op: Op, operands: &[ArrayD<f64>]| {
            let mut step = Step::of(self.survey.pair.model(), site, Span { ids: &[], first: self.first() });
            step.put(vec![op]);
            step.apply(&operands.iter().map(|x| x.view()).collect::<Vec<_>>(), Compute::default()).into_owned()
        };
        Some(Redone { sizes: apply(without_functions(&op), &sizes), values: apply(op, &values), loose })
    }
}

fn is_inside(outer: &Op, inner: &Op) -> bool {
    matches!((outer, inner), (Op::Sum { .. }, Op::Sum { .. }) | (Op::Multiply, Op::Activate(_)))
}

fn without_functions(op: &Op) -> Op {
    match op {
        Op::Activate(_) | Op::Cap(_) => Op::Activate(Activation::Identity),
        Op::Scores(how) => Op::Scores(Scoring { cap: None, ..how.clone() }),
        op => op.clone(),
    }
}

/// Keys and values as the cache has them: `[position, head, channel]`.
fn cached(values: ArrayD<f64>, node: &Node) -> Option<ArrayD<f64>> {
    Some(split_heads(values.view(), node.heads()?.1)?.permuted_axes([1, 0, 2]).into_dyn())
}
