//! What engines do differently that is no mistake: masks, padding, the order of channels.

use layerstep::engine::Activation as A;
use layerstep::model::Config;
use ndarray::{ArrayD, Axis, Slice};

use crate::fixture::{Tensors, parsed};

/// Scores with `mask` of those that the mask hides: in the dumps they are the least f32.
fn masked(original: &Tensors, mask: impl Fn(f32) -> f32) -> Tensors {
    original.rewritten(|name, values| {
        let scores = parsed(name).1.activation == A::Scores;
        Some((name.into(), if scores { values.mapv(&mask) } else { values.clone() }))
    })
}

pub(crate) fn masked_by_infinity(original: &Tensors, _: &Config) -> Tensors {
    masked(original, |score| if score < -1e30 { f32::NEG_INFINITY } else { score })
}

pub(crate) fn masked_by_the_least(original: &Tensors, _: &Config) -> Tensors {
    masked(original, |score| if score < -1e30 { f32::MIN } else { score })
}

pub(crate) fn masked_by_a_large_number(original: &Tensors, _: &Config) -> Tensors {
    masked(original, |score| if score < -1e30 { -1e9 } else { score })
}

/// Scores and probabilities with columns for keys that are not there, as engines with a fixed cache have them.
pub(crate) fn padded(original: &Tensors, _: &Config) -> Tensors {
    original.rewritten(|name, values| {
        let padding = match parsed(name).1.activation {
            A::Scores => f32::NEG_INFINITY,
            A::Probs => 0.0,
            _ => return Some((name.into(), values.clone())),
        };
        let mut shape = values.shape().to_vec();
        let keys = shape[2];
        shape[2] = 32;
        let mut padded = ArrayD::from_elem(shape, padding);
        padded.slice_axis_mut(Axis(2), Slice::from(..keys)).assign(values);
        Some((name.into(), padded))
    })
}

/// The channels of every head in another order: `order(i)` is the channel of Hugging Face that stands at `i`.
fn permuted(original: &Tensors, config: &Config, order: impl Fn(usize, usize) -> usize) -> Tensors {
    let d = config.head_dim;
    original.rewritten(|name, values| {
        let permuted = matches!(parsed(name).1.activation, A::QProj | A::KProj | A::QRope | A::KRope);
        if !permuted {
            return Some((name.into(), values.clone()));
        }
        let last = Axis(values.ndim() - 1);
        let columns: Vec<usize> = (0..values.len_of(last)).map(|at| at / d * d + order(at % d, d / 2)).collect();
        Some((name.into(), values.select(last, &columns)))
    })
}

/// What RoPE turns together stands side by side: channels `2i` and `2i + 1`.
pub(crate) fn pairs_side_by_side(original: &Tensors, config: &Config) -> Tensors {
    permuted(original, config, |at, half| at / 2 + at % 2 * half)
}

/// The other way round.
pub(crate) fn pairs_twice_apart(original: &Tensors, config: &Config) -> Tensors {
    permuted(original, config, |at, half| 2 * (at % half) + at / half)
}
