//! One op as data: what it reads, and what it computes with.
//!
//! [`Step::of`] has one arm per activation and says what models compute; [`Step::apply`] has one arm per kind of op. What
//! lies between the two is plain data, so that an op can be computed with another argument: that is how the mistakes of
//! ports are tried out, by the same code as everything else.

use std::borrow::Cow;
use std::sync::Arc;

use ndarray::{Array1, Array3, ArrayView2, ArrayView3, ArrayViewD, Axis, CowArray, Ix2, Ix3, IxDyn};

use super::Value;
use super::activation::Activation;
use super::compute::Compute;
use super::evaluate::{Input, Span, inputs};
use super::name::Site;
use super::run::Run;
use crate::model::{Config, Linear, Model, Tensor};
use crate::ops::{self, Join, Mask, Normalisation, Operands, Real, Rotation, Rounding, Scoring};

/// A slot of the cache that holds what belongs to another slot, or zeros.
pub type Slot = (usize, Option<usize>);

/// What an op computes with, beside the activations that it reads.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "fields are named as the arguments of `ops`")]
pub enum Op<'a> {
    /// Rows of a table, times a factor.
    Embed { table: Cow<'a, Tensor>, factor: f64 },
    /// A norm over the last axis; of each head where `per_head`.
    Norm { weight: Cow<'a, Array1<f32>>, how: Normalisation, per_head: bool },
    /// `x Wᵀ + b`; then, where there is a cap, `c tanh(y / c)`.
    Linear { weight: Cow<'a, Tensor>, bias: Option<Cow<'a, Array1<f32>>>, operands: Option<Operands>, cap: Option<f64> },
    /// A rotation of each head.
    Rope(Rotation),
    /// Queries with keys.
    Scores { how: Scoring, slots: Vec<Slot> },
    /// Over the keys.
    Softmax,
    /// Patterns with values.
    Context { groups: Vec<usize>, join: Join, slots: Vec<Slot> },
    /// The sum of what it reads, each times its factor.
    Sum { factors: Vec<f64> },
    /// An activation function.
    Activate(ops::Activation),
    /// The product of two.
    Multiply,
}

/// One op, ready to be computed.
#[derive(Clone, Debug)]
pub struct Step<'a> {
    /// The model.
    pub model: &'a Model,
    /// Which activation it writes.
    pub site: Site,
    /// The tokens of the forward.
    pub span: Span<'a>,
    /// What it reads.
    pub inputs: Vec<Input>,
    /// Ops on single inputs before that, by their place: models have none.
    pub prepare: Vec<(usize, Op<'a>)>,
    /// What it computes: models have one op, which takes all inputs; further ones take what the one before gives.
    pub ops: Vec<Op<'a>>,
}

/// A change to an op.
pub type Edit = Arc<dyn Fn(&mut Step) + Send + Sync>;

/// A change to the ops of some sites.
#[derive(Clone)]
pub struct Alteration {
    /// Where.
    pub sites: Arc<[Site]>,
    /// What is changed.
    pub edit: Edit,
}

impl std::fmt::Debug for Alteration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Alteration").field("sites", &self.sites).finish_non_exhaustive()
    }
}

impl<T: Real> Run<T> {
    /// The op computed last, with a change to it: for [`Run::apply`].
    pub fn altered(&self, edit: &Edit) -> Option<Step<'_>> {
        let mut step = self.op(self.last()?);
        edit(&mut step);
        Some(step)
    }

    /// What an op gives on what is computed now; `None` where it reads what is not there. The run stays as it is.
    pub fn apply(&self, step: &Step, compute: Compute) -> Option<Value<T>> {
        let operands = self.read(&step.inputs, step.site)?;
        Some(step.apply(&operands, compute))
    }

    /// Ops of some sites are computed otherwise from here on. An alteration that reads what is not there (an earlier layer
    /// of the first) leaves the op as it is.
    pub fn alter(&mut self, alterations: Vec<Alteration>) {
        self.keep_stale();
        self.alterations = alterations;
    }

    /// Keeps what a layer leaves behind until the next one is left, for [`Input::Stale`].
    pub fn keep_stale(&mut self) {
        self.keeps_stale = true;
    }

    /// Whether some ops are computed otherwise than the model says.
    pub fn is_altered(&self) -> bool {
        !self.alterations.is_empty()
    }
}

impl<'a> Step<'a> {
    /// The op at `site` as the model says.
    pub fn of(model: &'a Model, site: Site, span: Span<'a>) -> Self {
        use Activation as A;
        let c = &model.config;
        let w = || model.layers.get(site.layer).expect("the program holds only layers that the model has");
        let norm = |weight: &'a Array1<f32>| Op::Norm {
            weight: Cow::Borrowed(weight),
            how: Normalisation::rms(c.rms_norm_eps),
            per_head: false,
        };
        let head_norm = |weight: &'a Option<Array1<f32>>| Op::Norm {
            weight: Cow::Borrowed(weight.as_ref().expect("models with q/k norms have been loaded with their weights")),
            how: Normalisation::rms(c.rms_norm_eps),
            per_head: true,
        };
        let op = match site.activation {
            A::EmbedTokens => Op::Embed { table: Cow::Borrowed(&model.embed_tokens), factor: 1.0 },
            A::InputNorm => norm(&w().input_layernorm),
            A::QProj => Op::linear(&w().q_proj),
            A::KProj => Op::linear(&w().k_proj),
            A::VProj => Op::linear(&w().v_proj),
            A::QNorm => head_norm(&w().q_norm),
            A::KNorm => head_norm(&w().k_norm),
            A::QRope | A::KRope => Op::Rope(Rotation::new(c.frequencies.clone(), span.first, span.ids.len())),
            A::Scores => {
                let mask = Mask::causal(span.first, c.sliding_window[site.layer]);
                let how = Scoring::new(c.num_attention_heads, c.num_key_value_heads, c.head_dim, mask);
                Op::Scores { how, slots: Vec::new() }
            }
            A::Probs => Op::Softmax,
            A::Context => Op::Context {
                groups: ops::grouped(c.num_attention_heads, c.num_key_value_heads),
                join: Join::Heads,
                slots: Vec::new(),
            },
            A::OProj => Op::linear(&w().o_proj),
            A::ResidMid | A::Block => Op::Sum { factors: vec![1.0, 1.0] },
            A::PostAttentionNorm => norm(&w().post_attention_layernorm),
            A::GateProj => Op::linear(&w().gate_proj),
            A::UpProj => Op::linear(&w().up_proj),
            A::ActFn => Op::Activate(c.hidden_act),
            A::ActMul => Op::Multiply,
            A::DownProj => Op::linear(&w().down_proj),
            A::FinalNorm => norm(&model.norm),
            A::LmHead => Op::Linear { weight: Cow::Borrowed(&model.lm_head), bias: None, operands: None, cap: None },
        };
        Self { model, site, span, inputs: inputs(site, c), prepare: Vec::new(), ops: vec![op] }
    }

    /// Computes it on `values`, which stand in the order of its inputs; shapes are those of the table.
    ///
    /// # Panics
    /// When a value is missing or has another shape: callers take shapes from the table.
    pub fn apply<T: Real>(&self, values: &[ArrayViewD<T>], compute: Compute) -> Value<T> {
        let operand = |(index, x): (usize, &ArrayViewD<'_, T>)| {
            compute.operand(self.site.activation, index, x.view()).into_owned()
        };
        let moved: Vec<CowArray<T, IxDyn>> = if compute.moves(self.site.activation) {
            values.iter().enumerate().map(operand).map(CowArray::from).collect()
        } else {
            values.iter().map(|x| CowArray::from(x.view())).collect()
        };
        let mut views: Vec<ArrayViewD<T>> = moved.iter().map(|x| x.view()).collect();
        let prepared: Vec<(usize, Value<T>)> =
            self.prepare.iter().map(|(index, op)| (*index, op.apply(self, &[views[*index].view()], compute))).collect();
        for (index, value) in &prepared {
            views[*index] = value.view();
        }
        let mut y = self.ops[0].apply(self, &views, compute);
        for op in &self.ops[1..] {
            y = op.apply(self, &[y.view()], compute);
        }
        y
    }
}

impl<'a> Op<'a> {
    /// A linear layer as the model has it.
    pub fn linear(linear: &'a Linear) -> Self {
        Self::Linear {
            weight: Cow::Borrowed(&linear.weight),
            bias: linear.bias.as_ref().map(Cow::Borrowed),
            operands: None,
            cap: None,
        }
    }

    fn apply<T: Real>(&self, step: &Step, values: &[ArrayViewD<T>], compute: Compute) -> Value<T> {
        let x = |index: usize| values[index].view();
        let rounding = compute.rounding;
        let config = &step.model.config;
        match self {
            Self::Embed { table, factor } => {
                let mut rows = ops::embed(step.span.ids, &table.matrix(), rounding);
                scale(&mut rows, *factor, rounding);
                rows.into_dyn()
            }
            Self::Norm { weight, how, per_head: true } => {
                ops::normalise(per_head(x(0), config), weight.view(), *how, rounding).into_dyn()
            }
            Self::Norm { weight, how, per_head: false } => ops::normalise(x(0), weight.view(), *how, rounding),
            Self::Linear { weight, bias, operands, cap } => {
                let format = ops::Format { rounding, operands: operands.unwrap_or(compute.operands) };
                let bias = bias.as_ref().map(|bias| bias.view());
                let mut y = ops::linear(flat(x(0)), &weight.matrix(), bias, format);
                if let Some(cap) = cap.map(T::from_f64) {
                    y.mapv_inplace(|v| cap * (v / cap).tanh());
                    rounding.round(y.as_slice_mut().expect("a fresh array is contiguous"));
                }
                y.into_dyn()
            }
            Self::Rope(rotation) => {
                let mut rotation = rotation.clone();
                if let Some(seed) = compute.nudge {
                    rotation.frequencies = rotation.frequencies.nudged(seed);
                }
                ops::rope(per_head(x(0), config), &rotation, rounding).into_dyn()
            }
            Self::Scores { how, slots } => {
                let keys = stale(cube(x(1)), slots);
                ops::scores(cube(x(0)), keys.view(), how, rounding).into_dyn()
            }
            Self::Softmax => ops::softmax(cube(x(0)), rounding).into_dyn(),
            Self::Context { .. } if compute.operands == Operands::F16Sums => {
                ops::context_in_f16_sums(cube(x(0)), cube(x(1))).into_dyn()
            }
            Self::Context { groups, join, slots } => {
                let values = stale(cube(x(1)), slots);
                ops::context(cube(x(0)), values.view(), groups, *join, rounding).into_dyn()
            }
            Self::Sum { factors } if values.len() == 2 && factors[..] == [1.0, 1.0] => ops::add(x(0), x(1), rounding),
            Self::Sum { factors } => ops::weighted_sum(values, factors, rounding),
            Self::Activate(function) => function.apply(x(0), rounding),
            Self::Multiply => ops::multiply(x(0), x(1), rounding),
        }
        .into_shared()
    }
}

fn scale<T: Real>(rows: &mut ndarray::Array2<T>, factor: f64, rounding: Rounding) {
    if (factor - 1.0).abs() > 0.0 {
        rows.mapv_inplace(|v| v * T::from_f64(factor));
        rounding.round(rows.as_slice_mut().expect("a fresh array is contiguous"));
    }
}

/// `[position, kv_head, head_dim]` with some slots holding something else.
fn stale<'a, T: Real>(cached: ArrayView3<'a, T>, slots: &[Slot]) -> CowArray<'a, T, Ix3> {
    if slots.is_empty() {
        return cached.into();
    }
    let mut stale: Array3<T> = cached.to_owned();
    for (slot, other) in slots.iter().filter(|(slot, _)| *slot < cached.len_of(Axis(0))) {
        let mut into = stale.index_axis_mut(Axis(0), *slot);
        match other {
            Some(other) => into.assign(&cached.index_axis(Axis(0), *other)),
            None => into.fill(T::zero()),
        }
    }
    stale.into()
}

fn flat<T: Real>(x: ArrayViewD<T>) -> ArrayView2<T> {
    x.into_dimensionality::<Ix2>().expect("the table says [token, channel]")
}

fn cube<T: Real>(x: ArrayViewD<T>) -> ArrayView3<T> {
    x.into_dimensionality::<Ix3>().expect("the table says three axes")
}

/// `[token, head * head_dim]` → `[head, token, head_dim]`; what is already per head stays as it is.
fn per_head<'a, T: Real>(x: ArrayViewD<'a, T>, config: &Config) -> ArrayView3<'a, T> {
    if x.ndim() == 3 {
        return cube(x);
    }
    let x = flat(x);
    let (tokens, features) = x.dim();
    x.into_shape_with_order((tokens, features / config.head_dim, config.head_dim))
        .expect("an activation is contiguous, its features a whole number of heads")
        .permuted_axes([1, 0, 2])
}
