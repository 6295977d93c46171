//! What each kind of op computes: one arm of the match for each.

mod mixers;

use std::ops::Range;

use ndarray::{
    Array1, Array2, Array3, ArrayD, ArrayView2, ArrayView3, ArrayViewD, Axis, CowArray, Ix1, Ix2, Ix3, Slice,
};

use super::Value;
use super::compute::Compute;
use super::step::Span;
use crate::model::op::{Content, Held, Op, Rotate, Scoring, Slots, Vector, Weight};
use crate::model::spec::Growth;
use crate::model::{Model, Tensor};
use crate::ops::{self, Operands, Real, Rotation, Rounding};

impl Op {
    /// What it gives on `values`.
    pub(super) fn apply<T: Real>(
        &self,
        model: &Model,
        span: Span,
        values: &[ArrayViewD<T>],
        compute: Compute,
    ) -> Value<T> {
        let x = |index: usize| values[index].view();
        let (rounding, weights) = (compute.rounding, compute.of_weights());
        let loaded = Loaded { model, format: weights };
        match self {
            Self::Embed { table, factor, rounded } => {
                let mut rows = ops::embed(span.ids, &model.matrix(table).matrix(), weights);
                scale(&mut rows, *factor, *rounded, rounding);
                rows.into_dyn()
            }
            Self::EmbedPositions { table, offset } => {
                let table = model.matrix(table).matrix();
                // Positions outside the table, which only a mistaken offset makes, are those at its ends.
                let row = |position: usize| position.saturating_add_signed(*offset).min(table.rows() - 1) as u32;
                let rows: Vec<u32> = (span.first..span.first + span.ids.len()).map(row).collect();
                ops::embed(&rows, &table, weights).into_dyn()
            }
            Self::EmbedRow { table, row } => {
                ops::embed(&vec![*row as u32; span.ids.len()], &model.matrix(table).matrix(), weights).into_dyn()
            }
            Self::Norm { weight, bias, how, head_dim } => {
                let x = head_dim.map_or_else(|| x(0), |width| per_head(x(0), width).into_dyn());
                let (weight, bias) = (loaded.vector(weight), bias.as_ref().map(|bias| loaded.vector(bias)));
                ops::normalise(x, weight.view(), bias.as_ref().map(|bias| bias.view()), *how, rounding)
            }
            Self::Linear { weight, bias, operands, fine } => {
                let rounding = if *fine { Rounding::None } else { rounding };
                let format = ops::Format { rounding, weights, operands: operands.unwrap_or(compute.operands) };
                let bias = bias.as_ref().map(|bias| loaded.vector(bias));
                let bias = bias.as_ref().map(|bias| bias.view());
                ops::linear(flat(x(0)), &model.matrix(weight).matrix(), bias, format).into_dyn()
            }
            Self::Columns(columns) => taken(x(0), columns),
            Self::Beside { width, own } => ops::beside(x(0), cube(x(1)), *width, *own)
                .expect("an activation is contiguous, its features a whole number of heads")
                .into_dyn(),
            Self::Rope(rotate) => {
                let rotation = rotation(rotate, span, compute.nudge);
                ops::rope(per_head(x(0), rotate.head_dim), &rotation, rounding).into_dyn()
            }
            Self::Scores(how) => {
                scored(x(0), held(cube(x(1)), &how.held, span.first), how, span.first, rounding).into_dyn()
            }
            Self::Softmax { sinks: None } => ops::softmax(cube(x(0)), rounding).into_dyn(),
            Self::Softmax { sinks: Some(sinks) } => {
                ops::softmax_with_sinks(cube(x(0)), loaded.vector(sinks).view(), rounding).into_dyn()
            }
            Self::Context { .. } if compute.operands == Operands::F16Sums => {
                ops::context_in_f16_sums(cube(x(0)), cube(x(1))).into_dyn()
            }
            Self::Context { groups, join, held: others } => {
                let values = held(cube(x(1)), others, span.first);
                ops::context(cube(x(0)), values.view(), groups, *join, rounding).into_dyn()
            }
            Self::Sum { factors } if values.len() == 2 && factors[..] == [1.0, 1.0] => ops::add(x(0), x(1), rounding),
            Self::Sum { factors } => ops::weighted_sum(values, factors, rounding),
            Self::ScaledSum { scalar } => scaled_sum(x(0), x(1), loaded.vector(scalar)[0], rounding),
            Self::Scaled { weight, factor, fine } => {
                let rounding = if *fine { Rounding::None } else { rounding };
                ops::scaled(x(0), loaded.vector(weight).view(), *factor, rounding)
            }
            Self::LayerInput { layer, factor } => layer_input(x(0), x(1), *layer, *factor, rounding),
            Self::Activate(function) => function.apply(x(0), rounding),
            Self::Xielu { constants } => ops::xielu(x(0), xielu(loaded, constants), rounding),
            Self::ClampedSwish { alpha, limit } => ops::clamped_swish(x(0), *alpha, *limit, rounding),
            Self::ClampedProduct { limit } => ops::clamped_product(x(0), x(1), *limit, rounding),
            Self::Multiply => ops::multiply(x(0), x(1), rounding),
            Self::Cap(limit) => ops::cap(x(0), *limit, rounding),
            Self::Clip(limit) => ops::clipped(x(0), (-limit, *limit), rounding),
            Self::AtLeast(least) => mixers::at_least(x(0), *least, span, rounding),
            Self::Round(format) => rounded(x(0), *format),
            Self::NarrowSoftmax(format) => ops::softmax_in_steps(cube(x(0)), *format).into_dyn(),
            Self::Route { router, bias } => {
                let bias = bias.as_ref().map(|bias| model.vector(bias));
                let bias = bias.as_ref().map(|bias| bias.view());
                router.route(flat(x(0)), bias, rounding).into_dyn()
            }
            Self::Experts { weights, biases, top_k } => {
                let format = ops::Format { rounding, weights: loaded.format, operands: compute.operands };
                experts(loaded, (weights, biases.as_ref()), [x(0), x(1)], *top_k, format)
            }
            Self::Weigh { top_k } => ops::weigh(flat(x(0)), flat(x(1)), *top_k, rounding).into_dyn(),
            Self::Total => ops::total(x(0), rounding).into_dyn(),
            Self::Grow(growth) => grown(flat(x(0)), *growth, span, rounding).into_dyn(),
            Self::Combine => ops::combine(x(0), x(1), rounding).into_dyn(),
            Self::Pool(how) => ops::pool(flat(x(0)), *how, rounding).into_dyn(),
            Self::Unit { eps } => ops::unit(x(0), *eps, rounding),
            Self::Gate(function) => mixers::gate(values, *function, rounding),
            Self::Convolve { weight, bias, held: others } => {
                mixers::convolve(loaded, (weight, bias.as_ref()), (x(0), others), span.first, rounding)
            }
            Self::UnitLength { width, eps } => ops::unit_length(flat(x(0)), *width, *eps).into_dyn(),
            Self::Decay { rate, bias } => mixers::decay(loaded, x(0), (rate, bias.as_ref())),
            Self::TimeStep { bias } => ops::time_step(flat(x(0)), loaded.vector(bias).view(), rounding).into_dyn(),
            Self::DeltaRule { groups, scale, held: others } => {
                mixers::delta_rule(values, (groups, *scale), others, span.first, rounding)
            }
            Self::SelectiveScan { groups, skip, held: others } => {
                mixers::selective_scan(values, (groups, loaded.vector(skip).view()), others, span.first, rounding)
            }
        }
        .into_shared()
    }
}

/// Queries with the keys of all positions.
fn scored<T: Real>(
    queries: ArrayViewD<T>,
    keys: CowArray<T, Ix3>,
    how: &Scoring,
    first: usize,
    rounding: Rounding,
) -> Array3<T> {
    let scoring = ops::Scoring {
        scale: how.scale,
        cap: how.cap,
        slopes: how.slopes.clone(),
        mask: how.mask(first),
        groups: how.groups.clone(),
        format: how.format,
    };
    let (kv_heads, width) = (keys.len_of(Axis(1)), keys.len_of(Axis(2)));
    debug_assert!(scoring.groups.iter().all(|group| *group < kv_heads), "groups are key heads");
    ops::scores(per_head(queries, width), keys.view(), &scoring, rounding)
}

/// A model loaded in some format.
#[derive(Clone, Copy)]
struct Loaded<'a> {
    model: &'a Model,
    format: Rounding,
}

impl<'a> Loaded<'a> {
    fn vector(self, vector: &'a Vector) -> CowArray<'a, f32, Ix1> {
        self.rounded(self.model.vector(vector))
    }

    fn rounded(self, vector: CowArray<f32, Ix1>) -> CowArray<f32, Ix1> {
        if self.format == Rounding::None {
            return vector;
        }
        let mut words = vector.to_vec();
        self.format.round(&mut words);
        Array1::from(words).into()
    }
}

/// Some channels.
fn taken<T: Real>(x: ArrayViewD<T>, columns: &[usize]) -> ArrayD<T> {
    let start = columns.first().copied().unwrap_or_default();
    let last = Axis(x.ndim() - 1);
    if columns.iter().copied().eq(start..start + columns.len()) {
        let mut part = x;
        part.slice_axis_inplace(last, Slice::from(start..start + columns.len()));
        part.to_owned()
    } else {
        x.select(last, columns).as_standard_layout().into_owned()
    }
}

fn experts<T: Real>(
    loaded: Loaded,
    (weights, biases): (&Weight, Option<&Weight>),
    [x, routing]: [ArrayViewD<T>; 2],
    top_k: usize,
    format: ops::Format,
) -> ArrayD<T> {
    let matrices: Vec<ops::Matrix> = loaded.model.matrices_of(weights).iter().map(Tensor::matrix).collect();
    let bias = |each: &Tensor| loaded.rounded(each.vector().into()).into_owned();
    let biases: Option<Vec<_>> = biases.map(|each| loaded.model.matrices_of(each).iter().map(bias).collect());
    let weights = ops::ExpertWeights { matrices: &matrices, biases: biases.as_deref() };
    ops::expert_linear(x, flat(routing), weights, top_k, format).into_dyn()
}

fn rotation(rotate: &Rotate, span: Span, nudge: Option<u64>) -> Rotation {
    let own = rotate.frequencies(span.first + span.ids.len());
    let frequencies = nudge.map_or_else(|| own.clone(), |seed| own.nudged(seed));
    let positions = (span.first..span.first + span.ids.len()).map(|own| rotate.places.of(own, span.first) as f32);
    // Of its own position, whatever the rotation takes it for.
    let gain = |growth: Growth| (span.first..span.first + span.ids.len()).map(|own| growth.of(own)).collect();
    let gains = rotate.rope.growth.map(gain);
    Rotation {
        pairs: rotate.pairs,
        parted: rotate.rope.parted,
        factor: rotate.factor,
        inside: rotate.rope.inside,
        angles: rotate.angles,
        table: rotate.table,
        gains,
        ..Rotation::new(frequencies, positions)
    }
}

/// The sum of two times a weight.
fn scaled_sum<T: Real>(a: ArrayViewD<T>, b: ArrayViewD<T>, scalar: f32, rounding: Rounding) -> ArrayD<T> {
    let mut factor = [T::of(scalar)];
    rounding.round(&mut factor);
    times(ops::add(a, b, rounding), factor[0], rounding)
}

/// The sum of a layer's own plane and of its own columns, times a factor.
fn layer_input<T: Real>(
    planes: ArrayViewD<T>,
    rows: ArrayViewD<T>,
    layer: usize,
    factor: f64,
    rounding: Rounding,
) -> ArrayD<T> {
    let own = planes.index_axis_move(Axis(0), layer);
    let width = own.len_of(Axis(1));
    let columns = rows.slice_axis(Axis(1), Slice::from(layer * width..(layer + 1) * width));
    times(ops::add(own, columns, rounding), T::from_f64(factor), rounding)
}

fn xielu(loaded: Loaded, constants: &[Vector; 4]) -> ops::Xielu {
    let [alpha_p, alpha_n, beta, eps] = [0, 1, 2, 3].map(|index| loaded.vector(&constants[index])[0]);
    ops::Xielu { alpha_p, alpha_n, beta, eps }
}

fn times<T: Real>(mut values: ArrayD<T>, factor: T, rounding: Rounding) -> ArrayD<T> {
    values.mapv_inplace(|v| v * factor);
    rounding.round(values.as_slice_mut().expect("a fresh array is contiguous"));
    values
}

/// Rows times the factor of their position.
fn grown<T: Real>(rows: ArrayView2<T>, growth: Growth, span: Span, rounding: Rounding) -> Array2<T> {
    let mut grown = rows.as_standard_layout().into_owned();
    for (position, mut row) in (span.first..).zip(grown.rows_mut()) {
        let factor = T::of(growth.of(position));
        row.mapv_inplace(|v| v * factor);
    }
    rounding.round(grown.as_slice_mut().expect("a fresh array is contiguous"));
    grown
}

fn rounded<T: Real>(x: ArrayViewD<T>, format: Rounding) -> ArrayD<T> {
    let mut rounded = x.as_standard_layout().into_owned();
    format.round(rounded.as_slice_mut().expect("standard layout"));
    rounded
}

/// Times a factor, which may be rounded first.
fn scale<T: Real>(rows: &mut Array2<T>, factor: f64, rounded: bool, rounding: Rounding) {
    let mut factor = [T::from_f64(factor)];
    if rounded {
        rounding.round(&mut factor);
    }
    let [factor] = factor;
    if factor != T::one() {
        rows.mapv_inplace(|v| v * factor);
        rounding.round(rows.as_slice_mut().expect("a fresh array is contiguous"));
    }
}

/// `[position, kv_head, head_dim]` with some slots holding something else, in a forward whose first token stands at `first`.
fn held<'a, T: Real>(cached: ArrayView3<'a, T>, others: &[Held], first: usize) -> CowArray<'a, T, Ix3> {
    if others.is_empty() {
        return cached.into();
    }
    let (count, heads, _) = cached.dim();
    let mut changed: Array3<T> = cached.to_owned();
    for Held { slots, head, content } in others {
        let turned = match content {
            Content::Turned { frequencies, pairs, times, by } => {
                let positions = (0..count).map(|own| (times * i64::try_from(own).unwrap_or_default() + by) as f32);
                let rotation = Rotation { pairs: *pairs, ..Rotation::new(frequencies.clone(), positions) };
                Some(ops::rope(cached.permuted_axes([1, 0, 2]), &rotation, Rounding::None))
            }
            _ => None,
        };
        let of_heads: Range<usize> = head.map_or(0..heads, |head| head.min(heads)..(head + 1).min(heads));
        let slots: Vec<usize> = match slots {
            Slots::Of(slots) => slots.iter().copied().filter(|slot| *slot < count).collect(),
            Slots::From(slot) => (*slot..count).collect(),
            Slots::Before => (0..first.min(count)).collect(),
            Slots::Since(slot) => (*slot..first.min(count)).collect(),
            Slots::All => (0..count).collect(),
        };
        for (slot, head) in slots.into_iter().flat_map(|slot| of_heads.clone().map(move |head| (slot, head))) {
            let mut into = changed.index_axis_mut(Axis(0), slot).index_axis_move(Axis(0), head);
            let of = |other: usize| cached.index_axis(Axis(0), other.min(count - 1)).index_axis_move(Axis(0), head);
            match (content, &turned) {
                (_, Some(turned)) => into.assign(&turned.index_axis(Axis(0), head).index_axis(Axis(0), slot)),
                (Content::Of(other), _) => into.assign(&of(*other)),
                (Content::Moved(by), _) => {
                    into.assign(&of(slot.checked_add_signed(*by).filter(|other| *other < count).unwrap_or(slot)));
                }
                (Content::Zeros | Content::Turned { .. }, _) => into.fill(T::zero()),
            }
        }
    }
    changed.into()
}

fn flat<T: Real>(x: ArrayViewD<T>) -> ArrayView2<T> {
    x.into_dimensionality::<Ix2>().expect("the graph says two axes")
}

fn cube<T: Real>(x: ArrayViewD<T>) -> ArrayView3<T> {
    x.into_dimensionality::<Ix3>().expect("the graph says three axes")
}

/// `[token, head * head_dim]` → `[head, token, head_dim]`; what is already per head stays as it is.
fn per_head<T: Real>(x: ArrayViewD<T>, head_dim: usize) -> ArrayView3<T> {
    ops::by_head(x, head_dim).expect("an activation is contiguous, its features a whole number of heads")
}
