//! One op as data: every constant that it computes with, and the facts of its kind.
//!
//! A node of the graph has one; what it reads is the node's. Weights are named by [`Param`], so that an op is small, can be
//! compared, and can be changed: that is how the mistakes of ports are tried out, by the same code as everything else.

mod held;
mod rotate;
mod scoring;
mod weights;

pub use held::{Content, Held, Slots};
pub use rotate::{Places, Rotate};
pub use scoring::Scoring;

use std::sync::Arc;

use ndarray::Array1;

use super::spec::Growth;
use super::tensor::Tensor;
use crate::ops::{self, Join, Normalisation, Operands, Pooling, Rounding, Router};

/// A weight of the model: its place among the graph's parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Param(pub(super) u32);

impl Param {
    /// Its place.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A matrix that an op multiplies with, or a table whose rows it takes.
#[derive(Clone, Debug)]
pub enum Weight {
    /// The model's.
    Param(Param),
    /// Another one, put in its place.
    Other(Arc<Tensor>),
    /// Others, one for each expert.
    Each(Arc<[Tensor]>),
}

/// A vector that an op adds or multiplies by channel.
#[derive(Clone, Debug)]
pub enum Vector {
    /// The model's.
    Param(Param),
    /// Another one, put in its place.
    Other(Arc<Array1<f32>>),
}

impl PartialEq for Weight {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Param(a), Self::Param(b)) => a == b,
            (Self::Other(a), Self::Other(b)) => Arc::ptr_eq(a, b),
            (Self::Each(a), Self::Each(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

impl PartialEq for Vector {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Param(a), Self::Param(b)) => a == b,
            (Self::Other(a), Self::Other(b)) => Arc::ptr_eq(a, b) || a == b,
            _ => false,
        }
    }
}

/// What an op computes with, beside the activations that it reads.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "fields are named as the arguments of `ops`")]
pub enum Op {
    /// Rows of a table, by id, times a factor; `rounded`: the factor is rounded to the format of the run first.
    Embed { table: Weight, factor: f64, rounded: bool },
    /// Rows of a table, by position plus an offset.
    EmbedPositions { table: Weight, offset: isize },
    /// One row of a table for every token.
    EmbedRow { table: Weight, row: usize },
    /// A norm over the last axis; of each head where heads are `head_dim` wide.
    Norm { weight: Vector, bias: Option<Vector>, how: Normalisation, head_dim: Option<usize> },
    /// `x Wᵀ + b`; `fine`: in f32, whatever the run computes in.
    Linear { weight: Weight, bias: Option<Vector>, operands: Option<Operands>, fine: bool },
    /// Some channels of a row.
    Columns(Arc<[usize]>),
    /// The first `own` channels of each head that is `width` wide, and behind them those that it has in what is read second,
    /// or that all have there.
    Beside { width: usize, own: usize },
    /// A rotation of each head.
    Rope(Rotate),
    /// Queries with keys.
    Scores(Scoring),
    /// Over the keys, and over a score that each head has beside them.
    Softmax { sinks: Option<Vector> },
    /// Patterns with values.
    Context { groups: Arc<[usize]>, join: Join, held: Vec<Held> },
    /// The sum of what it reads, each times its factor.
    Sum { factors: Vec<f64> },
    /// The sum of two times a weight.
    ScaledSum { scalar: Vector },
    /// Each channel times a weight, then times a factor; `fine`: in f32, whatever the run computes in.
    Scaled { weight: Vector, factor: f64, fine: bool },
    /// A layer's input: of `[layer, token, channel]` and `[token, layer * channel]`, the sum of its own channels, times a factor.
    LayerInput { layer: usize, factor: f64 },
    /// An activation function.
    Activate(ops::Activation),
    /// xIELU, whose constants are weights: `alpha_p`, `alpha_n`, `beta` and `eps`.
    Xielu { constants: [Vector; 4] },
    /// `x σ(alpha x)` of what is at most `limit`.
    ClampedSwish { alpha: f64, limit: f64 },
    /// The product of two.
    Multiply,
    /// The product of the first with the second plus one, which is at most `limit` away from 0 before that.
    ClampedProduct { limit: f64 },
    /// `c tanh(x / c)`
    Cap(f64),
    /// What lies further from zero than this is put there.
    Clip(f64),
    /// What lies below this is put there, in forwards that begin a sequence or have several tokens.
    AtLeast(f64),
    /// Rounded to a coarser format: no model has it as an op of its own.
    Round(Rounding),
    /// A softmax each step of which is rounded to a coarser format: no model has it.
    NarrowSoftmax(Rounding),
    /// From router logits to the weight of each expert; the bias is added to what experts are compared by.
    Route { router: Router, bias: Option<Vector> },
    /// `x Wᵀ + b` with the matrix of each chosen expert: `[token, channel]` or `[token, slot, channel]` →
    /// `[token, slot, channel]`.
    Experts { weights: Weight, biases: Option<Weight>, top_k: usize },
    /// What each chosen expert reads: a row times its weight. `[token, channel]` → `[token, slot, channel]`.
    Weigh { top_k: usize },
    /// The experts' outputs, added up.
    Total,
    /// Each query times a factor of its position.
    Grow(Growth),
    /// The experts' outputs times their weights, added up by rising expert id.
    Combine,
    /// One row of all rows of a sequence.
    Pool(Pooling),
    /// `x / max(|x|, eps)` over the last axis.
    Unit { eps: f64 },
    /// The first times a function of the second.
    Gate(ops::Activation),
    /// A filter over the last positions, for each channel: `[channel, tap]`.
    Convolve { weight: Weight, bias: Option<Vector>, held: Vec<Held> },
    /// Each head of `width` channels, of length 1.
    UnitLength { width: usize, eps: f64 },
    /// `-exp(rate) softplus(x + bias)`, or `-exp(rate) x` where there is no bias.
    Decay { rate: Vector, bias: Option<Vector> },
    /// `softplus(x + bias)`
    TimeStep { bias: Vector },
    /// A state that every token decays and writes to, as the second to fifth of what it reads say, asked by the first:
    /// queries, keys, values, decays, and how much is written.
    DeltaRule { groups: Arc<[usize]>, scale: f64, held: Vec<Held> },
    /// A state that every token decays and adds to, and its own value beside that, times `skip` of each head; it reads the same.
    SelectiveScan { groups: Arc<[usize]>, skip: Vector, held: Vec<Held> },
}

/// What is true of all ops of a kind. Floors, nudges, batching, peers and blind spots read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Whether it multiplies each row by a matrix of the model: rows of several runs can then meet the weights together,
    /// operands may be quantised, and weights may have fewer bits than the model's.
    pub product: Product,
    /// How large the effect of another order of summation is.
    pub sums: Sums,
    /// What a sum of numbers that all have one sign costs: added up one by one, `n` of them are off by `sqrt(n)/3`
    /// roundings, all elements of a row alike.
    pub one_sign: OneSign,
    /// Whether what it gives has a row for each key that the mask hides.
    pub keyed: Keyed,
    /// Whether a small change of what it reads can change what it gives by much: then there is no relative floor.
    pub discrete: bool,
}

/// A product of matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// None.
    No,
    /// Of rows with a matrix of the model.
    Weights,
    /// Of rows with the matrices of some experts.
    ExpertWeights,
    /// Of activations with each other.
    Activations,
}

/// What another order of summation moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sums {
    /// Nothing: an op that copies, or adds numbers as they are.
    Nothing,
    /// Each element of what it reads, by one rounding.
    Elements,
    /// The first of what it reads, by the roundings of a sum over its last axis.
    LastAxis,
    /// All that it reads, by the roundings of a sum over the last axis of each: a state that is computed in chunks of tokens
    /// is other sums, of products with all of them. What tokens leave of it is the difference of sums over a chunk then, which
    /// are rounded, too.
    State {
        /// The place of the logarithms of what is left, among what it reads.
        decays: usize,
        /// How many tokens a chunk has at most.
        chunk: usize,
    },
}

/// A sum of numbers of one sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OneSign {
    /// None.
    No,
    /// Over the last axis.
    LastAxis,
    /// Its root, over the last axis.
    Root,
}

/// Where the mask shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keyed {
    /// Nowhere.
    No,
    /// Hidden keys have -inf.
    Scores,
    /// Hidden keys have 0.
    Probs,
}

impl Op {
    /// The facts of its kind.
    pub fn facts(&self) -> Facts {
        let plain = Facts {
            product: Product::No,
            sums: Sums::Nothing,
            one_sign: OneSign::No,
            keyed: Keyed::No,
            discrete: false,
        };
        match self {
            Self::Embed { .. }
            | Self::EmbedPositions { .. }
            | Self::EmbedRow { .. }
            | Self::Pool(Pooling::First | Pooling::Last)
            | Self::Columns(_)
            | Self::Beside { .. }
            | Self::Multiply
            | Self::Clip(_)
            | Self::AtLeast(_)
            | Self::Weigh { .. }
            | Self::Grow(_)
            | Self::Round(_)
            | Self::Rope(_) => plain,
            Self::Sum { factors } if factors.iter().all(|factor| *factor == 1.0) => plain,
            Self::Norm { .. } | Self::Unit { .. } | Self::UnitLength { .. } => {
                Facts { sums: Sums::Elements, one_sign: OneSign::Root, ..plain }
            }
            Self::Linear { .. } => Facts { product: Product::Weights, sums: Sums::LastAxis, ..plain },
            Self::Experts { .. } => Facts { product: Product::ExpertWeights, sums: Sums::LastAxis, ..plain },
            Self::Scores(_) => {
                Facts { product: Product::Activations, sums: Sums::LastAxis, keyed: Keyed::Scores, ..plain }
            }
            Self::Context { .. } => Facts { product: Product::Activations, sums: Sums::LastAxis, ..plain },
            Self::Softmax { .. } | Self::NarrowSoftmax(_) => {
                Facts { sums: Sums::Elements, one_sign: OneSign::LastAxis, keyed: Keyed::Probs, ..plain }
            }
            // A product before a sum may be rounded, or not.
            Self::Activate(_)
            | Self::Xielu { .. }
            | Self::ScaledSum { .. }
            | Self::Scaled { .. }
            | Self::LayerInput { .. }
            | Self::ClampedSwish { .. }
            | Self::ClampedProduct { .. }
            | Self::Cap(_)
            | Self::Combine
            | Self::Pool(Pooling::Mean)
            | Self::Total
            | Self::Gate(_)
            | Self::Convolve { .. }
            | Self::Decay { .. }
            | Self::TimeStep { .. }
            | Self::Sum { .. } => Facts { sums: Sums::Elements, ..plain },
            // Chunks are as long as those of the functions of transformers.
            Self::DeltaRule { .. } => {
                Facts { product: Product::Activations, sums: Sums::State { decays: 3, chunk: 64 }, ..plain }
            }
            Self::SelectiveScan { .. } => {
                Facts { product: Product::Activations, sums: Sums::State { decays: 3, chunk: 256 }, ..plain }
            }
            Self::Route { .. } => Facts { sums: Sums::Elements, one_sign: OneSign::LastAxis, discrete: true, ..plain },
        }
    }

    /// How many things it reads at least.
    pub fn least_reads(&self) -> usize {
        match self {
            Self::DeltaRule { .. } | Self::SelectiveScan { .. } => 5,
            Self::Beside { .. }
            | Self::Scores(_)
            | Self::Context { .. }
            | Self::ScaledSum { .. }
            | Self::LayerInput { .. }
            | Self::ClampedProduct { .. }
            | Self::Multiply
            | Self::Experts { .. }
            | Self::Weigh { .. }
            | Self::Combine => 2,
            Self::Embed { .. } | Self::EmbedPositions { .. } | Self::EmbedRow { .. } => 0,
            _ => 1,
        }
    }
}
