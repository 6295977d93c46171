//! Many elements, one number: over a whole tensor, or along some of its axes.

use ndarray::{ArcArray, ArrayD, Axis, IxDyn};

use super::function::Reduction;
use super::value::{Elements, Tensor, Value};

/// One number of all elements. The error is what the tensor has not.
pub(super) fn whole(what: Reduction, tensor: &Tensor) -> Result<Value, String> {
    let number = match &tensor.elements {
        Elements::Single(values) => reduce(what, values.iter().map(|value| f64::from(*value))),
        Elements::Double(values) => reduce(what, values.iter().copied()),
    };
    Ok(match what {
        Reduction::Any | Reduction::All => Value::Truth(number > 0.0),
        Reduction::Argmax | Reduction::Argmin if tensor.axes.len() > 1 => {
            if number.is_nan() {
                return Err("has no finite element".into());
            }
            let place = place(number as usize, tensor.elements.shape());
            Value::Axes(tensor.axes.iter().copied().zip(place).collect())
        }
        _ => Value::Number(number),
    })
}

/// One number for each place of the axes that are left.
pub(super) fn along(what: Reduction, tensor: &Tensor, over: &[usize]) -> Value {
    let count = tensor.axes.len();
    let kept: Vec<usize> = (0..count).filter(|axis| !over.contains(axis)).collect();
    let order: Vec<usize> = kept.iter().chain(over).copied().collect();
    let values = match &tensor.elements {
        Elements::Single(values) => lanes(values.clone(), &order, kept.len(), |lane| reduce(what, lane)),
        Elements::Double(values) => lanes(values.clone(), &order, kept.len(), |lane| reduce(what, lane)),
    };
    let axes = kept.iter().map(|axis| tensor.axes[*axis]).collect();
    Tensor { elements: Elements::Double(values.into_shared()), axes }.settle()
}

/// `what` of the elements of the last axes, those after the first `kept` of `order`.
fn lanes<T: Copy + Into<f64>>(
    values: ArcArray<T, IxDyn>,
    order: &[usize],
    kept: usize,
    what: impl Fn(std::vec::IntoIter<f64>) -> f64,
) -> ArrayD<f64> {
    let values = values.permuted_axes(IxDyn(order));
    let shape = values.shape()[..kept].to_vec();
    ArrayD::from_shape_fn(IxDyn(&shape), |index| {
        let mut lane = values.view();
        for at in 0..kept {
            lane.index_axis_inplace(Axis(0), index[at]);
        }
        let lane: Vec<f64> = lane.iter().map(|value| (*value).into()).collect();
        what(lane.into_iter())
    })
}

/// The index of the element that is the `flat`-th in order.
pub(super) fn place(mut flat: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = Vec::with_capacity(shape.len());
    for length in shape.iter().rev() {
        index.push(flat % length);
        flat /= length;
    }
    index.reverse();
    index
}

/// NaN where there is nothing to tell.
fn reduce(what: Reduction, values: impl Iterator<Item = f64> + Clone) -> f64 {
    let finite = values.clone().filter(|value| value.is_finite());
    let count = || finite.clone().count() as f64;
    let squares = || finite.clone().map(|value| value * value).sum::<f64>();
    match what {
        Reduction::Min => finite.fold(f64::NAN, f64::min),
        Reduction::Max => finite.fold(f64::NAN, f64::max),
        Reduction::Absmax => finite.map(f64::abs).fold(f64::NAN, f64::max),
        // The sum of nothing is -0 otherwise.
        Reduction::Sum => finite.sum::<f64>() + 0.0,
        Reduction::Mean => finite.clone().sum::<f64>() / count(),
        Reduction::Rms => (squares() / count()).sqrt(),
        Reduction::Norm => (squares() + 0.0).sqrt(),
        Reduction::Std => {
            let mean = finite.clone().sum::<f64>() / count();
            (finite.clone().map(|value| (value - mean) * (value - mean)).sum::<f64>() / count()).sqrt()
        }
        Reduction::Median => median(finite.collect()),
        Reduction::Argmax => first_largest(values),
        Reduction::Argmin => first_largest(values.map(|value| -value)),
        Reduction::Nan => values.filter(|value| value.is_nan()).count() as f64,
        Reduction::Inf => values.filter(|value| value.is_infinite()).count() as f64,
        Reduction::Count => values.filter(|value| *value != 0.0).count() as f64,
        Reduction::Size => values.count() as f64,
        Reduction::Any => f64::from(u8::from(values.into_iter().any(|value| value != 0.0))),
        Reduction::All => f64::from(u8::from(values.into_iter().all(|value| value != 0.0))),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    let middle = values.len() / 2;
    if values.is_empty() {
        return f64::NAN;
    }
    let even = values.len().is_multiple_of(2);
    let (below, upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    let lower = below.iter().copied().fold(f64::NAN, f64::max);
    if even { f64::midpoint(lower, *upper) } else { *upper }
}

/// The number of the first of the largest finite elements.
fn first_largest(values: impl Iterator<Item = f64>) -> f64 {
    let finite = values.enumerate().filter(|(_, value)| value.is_finite());
    let best = finite.reduce(|best, next| if next.1 > best.1 { next } else { best });
    best.map_or(f64::NAN, |(at, _)| at as f64)
}
