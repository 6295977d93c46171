//! Changes to ops, as data: what ports compute instead of what models compute.
//!
//! An edit says what of an op is another one; what it does not name stays as the graph has it. It can be compared, printed
//! and moved to another layer, and one that hits nothing says so.

mod put;
mod shards;
mod twin;

use std::borrow::Cow;
use std::sync::Arc;

pub use put::Rates;
use put::{
    put_bias, put_channels, put_experts, put_norm_weight, put_rates, put_reread, put_rows, put_taps, put_weight,
};
pub use shards::{Part, Shards};
use shards::{put_shards, put_zeros};
use twin::{moved_op, moved_read, moved_site, moved_vector, moved_weight};

use super::step::{Span, Step};
use crate::model::Model;
use crate::model::graph::{Graph, Read, Site};
use crate::model::op::{Held, Op, Places, Rotate, Vector, Weight};
use crate::model::spec::Rope;
use crate::ops::{
    self, Form, Frequencies, Groups as RouterGroups, Join, Operands, Pairs, Pooling, Rounding, Score, Spread,
};

/// A change to an op.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// Nothing: some ways of making a mistake of several ops leave this one as it is.
    Keep,
    /// A constant, in every op that has it.
    Set(Field),
    /// One of the things that it reads.
    Read {
        /// Its place.
        index: usize,
        /// What is read there.
        read: Read,
    },
    /// All that it reads.
    Reads(Vec<Read>),
    /// Its matrix or table: another one of the same shape.
    Weight(Weight),
    /// What it adds.
    Bias(Option<Vector>),
    /// What a norm, or what scales channels, multiplies with.
    NormWeight(Vector),
    /// The numbers of its matrix, read in the order of the other layout: `[in, out]` for `[out, in]`, or the reverse.
    Reread,
    /// Its matrix is made of rows of some linear layers, which stand one below the other.
    Rows {
        /// Which layers.
        of: Arc<[Site]>,
        /// Which rows.
        order: Arc<[usize]>,
        /// Whether biases go with them.
        bias: bool,
    },
    /// Its matrix is joined of shards in another way.
    Shards(Shards),
    /// A part of its matrix is zero.
    Zeros(Part),
    /// The taps of its filters stand in the other order.
    Taps,
    /// The rates of a state are read otherwise.
    Rates(Rates),
    /// It takes other channels of what it reads.
    Channels(Arc<[usize]>),
    /// By expert: whose matrix it takes.
    Experts(Arc<[usize]>),
    /// An op on one of the things that it reads, before it.
    Prepare {
        /// The place of what is read.
        index: usize,
        /// What is computed.
        op: Op,
    },
    /// One more op, on what it gives.
    Then(Op),
    /// Other ops in its place.
    Put(Vec<Op>),
    /// It computes what it reads first itself, with a change to that: a mask that is seen in probabilities.
    Through(Box<Edit>),
    /// Only in forwards whose first token stands at this position or behind it.
    From {
        /// The position.
        position: usize,
        /// What is changed.
        edit: Box<Edit>,
    },
    /// Several changes, one after the other.
    All(Vec<Edit>),
    /// Each node is changed in its own way, others as the first is.
    ByNode(Vec<(Site, Edit)>),
}

/// A change to the ops of some sites.
#[derive(Clone, Debug, PartialEq)]
pub struct Alteration {
    /// Where.
    pub sites: Arc<[Site]>,
    /// What is changed.
    pub edit: Edit,
}

/// A constant of an op.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each is named as the field of the op that it is")]
pub enum Field {
    Factor(f64),
    Factors(Vec<f64>),
    Positions(isize),
    Pooling(Pooling),
    Eps(f32),
    Offset(f32),
    Form(Form),
    Variance(Rounding),
    Scale(f64),
    Cap(Option<f64>),
    Window(Option<usize>),
    Chunk(Option<usize>),
    Ahead(Option<isize>),
    Groups(Arc<[usize]>),
    ScoreFormat(Rounding),
    Held(Held),
    Length(Option<usize>),
    /// Other speeds, and another factor with them.
    Rope(Rope),
    Frequencies(Frequencies),
    Pairs(Pairs),
    Parted(bool),
    Places(Places),
    Angles(Rounding),
    Table(Rounding),
    Join(Join),
    Function(ops::Activation),
    Operands(Operands),
    TopK(usize),
    Score(Score),
    RouterGroups(Option<RouterGroups>),
    RouterFactor(f64),
    WeighsBias(bool),
    /// Of a clamped gate.
    Limit(f64),
    /// Of a clamped gate.
    Alpha(f64),
    /// Of each head.
    Slopes(Option<Arc<[f32]>>),
    Spread(Spread),
    Sinks(Option<Vector>),
    Renormalise(bool),
    SoftmaxAfter(bool),
}

/// An edit that hits nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{op} has nothing that {edit} changes")]
pub struct Missed {
    /// The kind of edit.
    pub edit: String,
    /// The short name of the op.
    pub op: String,
}

impl Field {
    /// Puts it into an op; false where that has no such constant.
    pub fn set(&self, op: &mut Op) -> bool {
        match (self, op) {
            (Self::Factor(v), Op::Embed { factor, .. } | Op::Scaled { factor, .. }) => *factor = *v,
            (Self::Factors(v), Op::Sum { factors }) if factors.len() == v.len() => factors.clone_from(v),
            (Self::Positions(v), Op::EmbedPositions { offset, .. }) => *offset = *v,
            (Self::Pooling(v), Op::Pool(how)) => *how = *v,
            (Self::Eps(v), Op::Norm { how, .. }) => how.eps = *v,
            (Self::Eps(v), Op::UnitLength { eps, .. }) => *eps = f64::from(*v),
            (Self::Offset(v), Op::Norm { how, .. }) => how.offset = *v,
            (Self::Form(v), Op::Norm { how, .. }) => how.form = *v,
            (Self::Variance(v), Op::Norm { how, .. }) => how.variance = *v,
            (Self::Scale(v), Op::Scores(how)) => how.scale = *v,
            (Self::Cap(v), Op::Scores(how)) => how.cap = *v,
            (Self::Cap(Some(v)), Op::Cap(limit))
            | (Self::Limit(v), Op::ClampedSwish { limit, .. } | Op::ClampedProduct { limit }) => *limit = *v,
            (Self::Window(v), Op::Scores(how)) => how.window = *v,
            (Self::Chunk(v), Op::Scores(how)) => how.chunk = *v,
            (Self::Ahead(v), Op::Scores(how)) => how.ahead = *v,
            (Self::Groups(v), Op::Scores(how)) => how.groups = Arc::clone(v),
            (Self::Groups(v), Op::Context { groups, .. }) => *groups = Arc::clone(v),
            (Self::ScoreFormat(v), Op::Scores(how)) => how.format = *v,
            (Self::Held(v), Op::Scores(how)) => how.held.push(v.clone()),
            (
                Self::Held(v),
                Op::Context { held, .. }
                | Op::Convolve { held, .. }
                | Op::DeltaRule { held, .. }
                | Op::SelectiveScan { held, .. },
            ) => held.push(v.clone()),
            (Self::Length(v), Op::Scores(how)) => how.length = *v,
            (Self::Places(v), Op::Scores(how)) => how.places = *v,
            (Self::Rope(v), Op::Rope(rotate)) if v.dims <= rotate.head_dim => {
                let Rotate { rope, frequencies, factor, .. } = Rotate::new(v, rotate.head_dim);
                (rotate.rope, rotate.frequencies, rotate.factor) = (rope, frequencies, factor);
            }
            (Self::Frequencies(v), Op::Rope(rotate)) if 2 * v.speeds().len() <= rotate.head_dim => {
                rotate.frequencies = Some(v.clone());
            }
            (Self::Factor(v), Op::Rope(rotate)) => rotate.factor = *v,
            (Self::Pairs(v), Op::Rope(rotate)) => rotate.pairs = *v,
            (Self::Parted(v), Op::Rope(rotate)) => rotate.rope.parted = *v,
            (Self::Places(v), Op::Rope(rotate)) => rotate.places = *v,
            (Self::Angles(v), Op::Rope(rotate)) => rotate.angles = *v,
            (Self::Table(v), Op::Rope(rotate)) => rotate.table = *v,
            (Self::Join(v), Op::Context { join, .. }) => *join = *v,
            (Self::Function(v), Op::Activate(function) | Op::Gate(function)) => *function = *v,
            (Self::Operands(v), Op::Linear { operands, .. }) => *operands = Some(*v),
            (Self::TopK(v), Op::Route { router, .. }) => router.top_k = *v,
            (Self::Score(v), Op::Route { router, .. }) => router.score = *v,
            (Self::RouterGroups(v), Op::Route { router, .. }) => router.groups = *v,
            (Self::RouterFactor(v), Op::Route { router, .. }) => router.factor = *v,
            (Self::WeighsBias(v), Op::Route { router, bias: Some(_) }) => router.weighs_bias = *v,
            (Self::Alpha(v), Op::ClampedSwish { alpha, .. }) => *alpha = *v,
            (Self::Slopes(v), Op::Scores(how)) => how.slopes.clone_from(v),
            (Self::Spread(v), Op::Norm { how, .. }) => how.spread = *v,
            (Self::Sinks(v), Op::Softmax { sinks }) => sinks.clone_from(v),
            (Self::Renormalise(v), Op::Route { router, .. }) => router.renormalise = *v,
            (Self::SoftmaxAfter(v), Op::Route { router, .. }) => router.softmax_after = *v,
            _ => return false,
        }
        true
    }
}

impl Edit {
    /// What it reads stays what it gives.
    pub fn identity() -> Self {
        Self::Put(vec![Op::Sum { factors: vec![1.0] }])
    }

    /// What it gives, times a constant.
    pub fn times(factor: f64) -> Self {
        Self::Then(Op::Sum { factors: vec![factor] })
    }

    /// Changes `step`, which is of no use if this fails.
    ///
    /// # Errors
    /// When it hits nothing, or nothing that could be computed is left: of two changes one may take away what the other needs.
    pub fn apply(&self, step: &mut Step) -> Result<(), Missed> {
        self.hit(step, true)?;
        if step.has_enough() { Ok(()) } else { Err(self.missed(step)) }
    }

    /// Whether it hits something at a node; weights are not read.
    ///
    /// # Errors
    /// When it does not.
    pub fn check(&self, model: &Model, site: Site) -> Result<(), Missed> {
        // No forward starts so late: edits of late forwards are looked at, too.
        let span = Span { ids: &[], first: usize::MAX };
        self.hit(&mut Step::of(model, site, span), false)
    }

    /// Without `make`, matrices are not made.
    fn hit(&self, step: &mut Step, make: bool) -> Result<(), Missed> {
        let hits = match self {
            Self::Keep => true,
            Self::Set(field) => {
                // Every op is tried.
                step.ops.to_mut().iter_mut().map(|op| field.set(op)).fold(false, |any, hit| any | hit)
            }
            Self::Read { index, read } => match step.reads.to_mut().get_mut(*index) {
                Some(place) => {
                    *place = *read;
                    true
                }
                None => false,
            },
            Self::Reads(reads) => {
                step.reads = Cow::Owned(reads.clone());
                // What is made of an input goes with it.
                step.prepare.retain(|(index, _)| *index < reads.len());
                true
            }
            Self::Weight(other) => put_weight(step, other.clone()),
            Self::Bias(other) => put_bias(step, other.as_ref()),
            Self::NormWeight(other) => put_norm_weight(step, other),
            Self::Reread => put_reread(step, make),
            Self::Taps => put_taps(step, make),
            Self::Rates(rates) => put_rates(step, *rates),
            Self::Rows { of, order, bias } => put_rows(step, of, order, *bias, make),
            Self::Channels(order) => put_channels(step, order),
            Self::Shards(shards) => put_shards(step, shards, make),
            Self::Zeros(part) => put_zeros(step, *part, make),
            Self::Experts(order) => put_experts(step, order, make),
            Self::Prepare { index, op } => {
                let hits = *index < step.reads.len();
                step.prepare.push((*index, op.clone()));
                hits
            }
            Self::Then(op) => {
                step.then(op.clone());
                true
            }
            Self::Put(ops) => {
                step.put(ops.clone());
                !ops.is_empty()
            }
            Self::Through(edit) => return self.through(edit, step, make),
            Self::From { position, edit } => {
                return if step.span.first >= *position { edit.hit(step, make) } else { Ok(()) };
            }
            Self::All(edits) => return edits.iter().try_for_each(|edit| edit.hit(step, make)),
            Self::ByNode(edits) => {
                let own = edits.iter().find(|(site, _)| *site == step.site).or_else(|| edits.first());
                let Some((_, edit)) = own else { return Err(self.missed(step)) };
                return edit.hit(step, make);
            }
        };
        if hits { Ok(()) } else { Err(self.missed(step)) }
    }

    fn through(&self, edit: &Self, step: &mut Step, make: bool) -> Result<(), Missed> {
        let Some(Read::Node(source)) = step.reads.first().copied() else { return Err(self.missed(step)) };
        let mut before = Step::of(step.model, source, step.span);
        edit.hit(&mut before, make)?;
        step.reads = Cow::Owned(before.reads.into_owned());
        let between = std::mem::replace(&mut step.prepare, before.prepare).into_iter().map(|(_, op)| op);
        let own = step.ops.iter().cloned();
        let first: Vec<Op> = before.ops.iter().cloned().chain(between).collect();
        step.through = first.len();
        step.ops = first.into_iter().chain(own).collect::<Vec<_>>().into();
        Ok(())
    }

    /// Nodes of which it reads what earlier forwards gave.
    pub fn earlier(&self) -> Vec<Site> {
        let of = |read: &Read| if let Read::Earlier(site, _) = read { Some(*site) } else { None };
        match self {
            Self::Read { read, .. } => of(read).into_iter().collect(),
            Self::Reads(reads) => reads.iter().filter_map(of).collect(),
            Self::Through(edit) | Self::From { edit, .. } => edit.earlier(),
            Self::All(edits) => edits.iter().flat_map(Self::earlier).collect(),
            Self::ByNode(edits) => edits.iter().flat_map(|(_, edit)| edit.earlier()).collect(),
            _ => Vec::new(),
        }
    }

    fn missed(&self, step: &Step) -> Missed {
        let words = match self {
            Self::Set(field) => format!("{field:?}"),
            edit => format!("{edit:?}"),
        };
        let edit = words.chars().take_while(|c| c.is_alphanumeric()).collect();
        Missed { edit, op: step.node().short.clone() }
    }

    /// The same change so many layers further on: it reads there what it reads here. `None` where that is not there.
    pub fn moved(&self, graph: &Graph, by: isize) -> Option<Self> {
        let boxed = |edit: &Self| edit.moved(graph, by).map(Box::new);
        Some(match self {
            Self::Read { index, read } => Self::Read { index: *index, read: moved_read(graph, *read, by)? },
            Self::Reads(reads) => {
                Self::Reads(reads.iter().map(|read| moved_read(graph, *read, by)).collect::<Option<_>>()?)
            }
            Self::Weight(weight) => Self::Weight(moved_weight(graph, weight, by)?),
            Self::Bias(Some(bias)) => Self::Bias(Some(moved_vector(graph, bias, by)?)),
            Self::NormWeight(weight) => Self::NormWeight(moved_vector(graph, weight, by)?),
            Self::Rows { of, order, bias } => {
                let of = of.iter().map(|site| moved_site(graph, *site, by)).collect::<Option<_>>()?;
                Self::Rows { of, order: Arc::clone(order), bias: *bias }
            }
            Self::Prepare { index, op } => Self::Prepare { index: *index, op: moved_op(graph, op, by)? },
            Self::Then(op) => Self::Then(moved_op(graph, op, by)?),
            Self::Put(ops) => Self::Put(ops.iter().map(|op| moved_op(graph, op, by)).collect::<Option<_>>()?),
            Self::Through(edit) => Self::Through(boxed(edit)?),
            Self::From { position, edit } => Self::From { position: *position, edit: boxed(edit)? },
            Self::All(edits) => Self::All(edits.iter().map(|edit| edit.moved(graph, by)).collect::<Option<_>>()?),
            Self::ByNode(edits) => {
                let of_node =
                    |(site, edit): &(Site, Self)| Some((moved_site(graph, *site, by)?, edit.moved(graph, by)?));
                Self::ByNode(edits.iter().map(of_node).collect::<Option<_>>()?)
            }
            Self::Keep
            | Self::Set(_)
            | Self::Bias(None)
            | Self::Reread
            | Self::Taps
            | Self::Rates(_)
            | Self::Channels(_)
            | Self::Shards(_)
            | Self::Zeros(_)
            | Self::Experts(_) => self.clone(),
        })
    }
}
