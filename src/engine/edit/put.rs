//! Other weights, put in the place of an op's own; each says whether the op has such ones, of this shape.

use std::sync::Arc;

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, concatenate, s};

use crate::engine::step::Step;
use crate::model::Tensor;
use crate::model::graph::{Graph, Site};
use crate::model::op::{Op, Vector, Weight};

pub(super) fn shape(graph: &Graph, weight: &Weight) -> Vec<usize> {
    match weight {
        Weight::Param(param) => graph.params()[param.index()].shape.clone(),
        Weight::Other(tensor) => tensor.shape.clone(),
        Weight::Each(tensors) => tensors.first().map(|tensor| tensor.shape.clone()).unwrap_or_default(),
    }
}

fn length(graph: &Graph, vector: &Vector) -> usize {
    match vector {
        Vector::Param(param) => graph.params()[param.index()].shape.iter().product(),
        Vector::Other(vector) => vector.len(),
    }
}

/// Its matrix or table.
pub(super) fn put_weight(step: &mut Step, other: Weight) -> bool {
    let graph = step.graph();
    match step.op_mut() {
        Op::Embed { table: own, .. }
        | Op::EmbedPositions { table: own, .. }
        | Op::Linear { weight: own, .. }
        | Op::Experts { weights: own, .. }
            if shape(graph, own) == shape(graph, &other) =>
        {
            *own = other;
            true
        }
        _ => false,
    }
}

/// What it adds.
pub(super) fn put_bias(step: &mut Step, other: Option<&Vector>) -> bool {
    let graph = step.graph();
    let (width, own) = match step.op_mut() {
        Op::Linear { weight, bias, .. } | Op::Convolve { weight, bias, .. } => (shape(graph, weight)[0], bias),
        Op::TimeStep { bias: own } | Op::Decay { bias: Some(own), .. } => {
            let fits = other.filter(|other| length(graph, other) == length(graph, own));
            if let Some(other) = fits {
                *own = other.clone();
            }
            return fits.is_some();
        }
        Op::Norm { weight, bias, .. } => (length(graph, weight), bias),
        // What every value adds to what a state gives.
        Op::SelectiveScan { skip, .. } => {
            let fits = other.filter(|other| length(graph, other) == length(graph, skip));
            if let Some(other) = fits {
                *skip = other.clone();
            }
            return fits.is_some();
        }
        Op::Experts { biases, .. } => {
            let fits = biases.is_some() && other.is_none();
            if fits {
                *biases = None;
            }
            return fits;
        }
        Op::Route { bias, .. } => match bias {
            Some(own) => (length(graph, own), bias),
            None => return false,
        },
        _ => return false,
    };
    let fits = other.is_none_or(|other| length(graph, other) == width);
    if fits {
        *own = other.cloned();
    }
    fits
}

/// What a norm, or what scales channels, multiplies with.
pub(super) fn put_norm_weight(step: &mut Step, other: &Vector) -> bool {
    let graph = step.graph();
    match step.op_mut() {
        Op::Norm { weight, .. } | Op::Scaled { weight, .. } if length(graph, weight) == length(graph, other) => {
            *weight = other.clone();
            true
        }
        _ => false,
    }
}

/// How the rates of a state are read, where the model has `-exp(A_log)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rates {
    /// `-A_log`.
    AsStored,
    /// `-exp(exp(A_log))`.
    Twice,
    /// -1.
    One,
}

impl Rates {
    /// What the model takes the exponential of then.
    fn of(self, rate: f32) -> f32 {
        match self {
            Self::AsStored => rate.ln(),
            Self::Twice => rate.exp(),
            Self::One => 0.0,
        }
    }
}

/// The rates of a state.
pub(super) fn put_rates(step: &mut Step, rates: Rates) -> bool {
    let model = step.model;
    let Op::Decay { rate, .. } = step.op_mut() else { return false };
    *rate = Vector::Other(model.vector(rate).mapv(|rate| rates.of(rate)).into());
    true
}

/// The taps of its filters in the other order.
pub(super) fn put_taps(step: &mut Step, make: bool) -> bool {
    let model = step.model;
    let Op::Convolve { weight, .. } = step.op_mut() else { return false };
    if make {
        let taps = model.matrix(weight).rows();
        *weight = Weight::Other(Arc::new(Tensor::of_rows("reversed", &taps.slice(s![.., ..;-1]))));
    }
    true
}

/// The numbers of its matrix in the order of the other layout.
pub(super) fn put_reread(step: &mut Step, make: bool) -> bool {
    let model = step.model;
    let Op::Linear { weight, .. } = step.op_mut() else { return false };
    if make {
        *weight = Weight::Other(Arc::new(reread(model.matrix(weight))));
    }
    true
}

fn reread(own: &Tensor) -> Tensor {
    let (rows, columns, words) = (own.shape[0], own.shape[1], own.vector());
    let read = if own.transposed {
        words.into_shape_with_order((rows, columns))
    } else {
        words.into_shape_with_order((columns, rows)).map(Array2::reversed_axes)
    };
    Tensor::of_rows("changed", &read.expect("a matrix of its shape").view())
}

/// Rows of several matrices in the place of its own.
pub(super) fn put_rows(step: &mut Step, of: &[Site], order: &[usize], with_bias: bool, make: bool) -> bool {
    let (model, graph) = (step.model, step.graph());
    let linear = |site: &Site| match &graph[*site].op {
        Op::Linear { weight, bias, .. } => Some((weight, bias.as_ref())),
        _ => None,
    };
    let Some(parts) = of.iter().map(linear).collect::<Option<Vec<_>>>() else { return false };
    let Op::Linear { weight: own, bias, .. } = step.op_mut() else { return false };
    let (shape_of_own, shapes) = (shape(graph, own), parts.iter().map(|(weight, _)| shape(graph, weight)));
    let rows: usize = shapes.clone().map(|shape| shape[0]).sum();
    let fits = shapes.clone().all(|shape| shape[1] == shape_of_own[1])
        && order.len() == shape_of_own[0]
        && order.iter().all(|row| *row < rows);
    if !fits || !make {
        return fits;
    }
    let matrices: Vec<Array2<f32>> = parts.iter().map(|(weight, _)| model.matrix(weight).rows()).collect();
    let views: Vec<ArrayView2<f32>> = matrices.iter().map(|matrix| matrix.view()).collect();
    let all = concatenate(Axis(0), &views).expect("parts of one width");
    *own = Weight::Other(Arc::new(Tensor::of_rows("changed", &all.select(Axis(0), order).view())));
    if with_bias {
        let biases: Option<Vec<_>> = parts.iter().map(|(_, bias)| Some(model.vector((*bias)?))).collect();
        *bias = biases.map(|biases| {
            let views: Vec<ArrayView1<f32>> = biases.iter().map(|bias| bias.view()).collect();
            let all: Array1<f32> = concatenate(Axis(0), &views).expect("vectors");
            Vector::Other(Arc::new(all.select(Axis(0), order)))
        });
    }
    true
}

/// Other channels of what it reads.
pub(super) fn put_channels(step: &mut Step, order: &[usize]) -> bool {
    let graph = step.graph();
    let Some(width) = step.reads.first().and_then(|read| graph[read.site()].axes.last()).map(|axis| axis.length(0, 0))
    else {
        return false;
    };
    let Op::Columns(own) = step.op_mut() else { return false };
    let fits = own.len() == order.len() && order.iter().all(|channel| *channel < width);
    if fits {
        *own = order.into();
    }
    fits
}

/// Each expert takes the matrix of one.
pub(super) fn put_experts(step: &mut Step, order: &[usize], make: bool) -> bool {
    let (model, graph) = (step.model, step.graph());
    let Op::Experts { weights, .. } = step.op_mut() else { return false };
    let count = match &*weights {
        Weight::Param(param) => graph.params()[param.index()].experts.unwrap_or(1),
        Weight::Other(_) => 1,
        Weight::Each(tensors) => tensors.len(),
    };
    let fits = order.len() == count && order.iter().all(|expert| *expert < count);
    if fits && make {
        let own = model.matrices_of(weights);
        *weights = Weight::Each(order.iter().map(|expert| own[*expert].clone()).collect());
    }
    fits
}
