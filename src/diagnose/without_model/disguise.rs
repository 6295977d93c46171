//! The same values in another form: in another order, scaled, shifted, or masked elsewhere.

use std::fmt;

use ndarray::{ArrayRef, Axis, IxDyn, Zip};

use crate::engine::{Activation as A, Axis as Counted, Site};

/// What makes the candidate's tensor equal to the reference's.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Disguise {
    /// Pairs of channels of a head lie side by side in one, half a head apart in the other.
    Pairs {
        /// Whether they lie side by side in the candidate.
        beside: bool,
    },
    /// Heads are in another order: where the candidate keeps each head of the reference.
    Heads(Vec<usize>),
    /// Heads and tokens have changed places.
    HeadsBeforeTokens,
    /// The values of every row are the same, in some other order.
    Order,
    /// Times a number.
    Scaled(f64),
    /// Every row of the scores is shifted by a number of its own.
    Shifted,
    /// Equal where neither masks.
    Mask,
}

impl Disguise {
    /// Whether an engine may keep the activation in this form, if what follows agrees.
    pub(super) fn harmless(&self, activation: Option<A>) -> bool {
        match self {
            Self::Pairs { .. } | Self::Heads(_) | Self::HeadsBeforeTokens | Self::Order => true,
            Self::Scaled(_) | Self::Shifted | Self::Mask => activation.is_some_and(before_softmax),
        }
    }
}

/// What only reaches the stream through the softmax.
pub(super) fn before_softmax(activation: A) -> bool {
    matches!(activation, A::QProj | A::KProj | A::QNorm | A::KNorm | A::QRope | A::KRope | A::Scores)
}

impl fmt::Display for Disguise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pairs { beside: true } => f.write_str(
                "the candidate keeps side by side (2i, 2i+1) the channels that the reference keeps half a head apart",
            ),
            Self::Pairs { beside: false } => f.write_str(
                "the candidate keeps half a head apart the channels that the reference keeps side by side (2i, 2i+1)",
            ),
            Self::Heads(order) => write!(f, "the reference's heads are the candidate's heads {order:?}"),
            Self::HeadsBeforeTokens => f.write_str("heads and tokens have changed places"),
            Self::Order => f.write_str("every row holds the same values in another order"),
            Self::Scaled(factor) => write!(f, "the candidate's values are {factor:.6} times the reference's"),
            Self::Shifted => f.write_str("every row is shifted by a number of its own"),
            Self::Mask => f.write_str("they are equal where neither side masks"),
        }
    }
}

/// Sorted rows must agree this well: rows of many random numbers are alike once sorted.
const SORTED: f64 = 1e-3;

/// Finds the disguise under which the error is at most `limit`, other than another order of heads or of their channels.
pub(super) fn find(
    site: Site,
    reference: &ArrayRef<f32, IxDyn>,
    candidate: &ArrayRef<f32, IxDyn>,
    limit: f64,
) -> Option<Disguise> {
    if reference.shape() != candidate.shape() {
        return None;
    }
    if site.activation.row().axes.contains(&Counted::Key) && reference.ndim() == 3 {
        return of_scores(reference, candidate, limit);
    }
    scaled(reference, candidate, limit).or_else(|| sorted(reference, candidate, limit))
}

/// Relative L2 error.
pub(super) fn error<'a>(values: impl IntoIterator<Item = &'a f32>, expected: impl IntoIterator<Item = &'a f32>) -> f64 {
    let (mut difference, mut norm) = (0.0, 0.0);
    for (a, b) in values.into_iter().zip(expected) {
        let (a, b) = (f64::from(*a), f64::from(*b));
        difference += (a - b) * (a - b);
        norm += b * b;
    }
    if difference == 0.0 { 0.0 } else { (difference / norm).sqrt() }
}

fn of_scores(reference: &ArrayRef<f32, IxDyn>, candidate: &ArrayRef<f32, IxDyn>, limit: f64) -> Option<Disguise> {
    let mut reference = reference.to_owned();
    let mut candidate = candidate.to_owned();
    let (mut both, mut one) = (0, 0);
    Zip::from(&mut reference).and(&mut candidate).for_each(|a, b| {
        both += usize::from(a.is_finite() && b.is_finite());
        one += usize::from(a.is_finite() != b.is_finite());
        if !(a.is_finite() && b.is_finite()) {
            (*a, *b) = (0.0, 0.0);
        }
    });
    // A triangle is masked at most, and its diagonal is not.
    if one > 0 && both > one && error(&candidate, &reference) <= limit {
        return Some(Disguise::Mask);
    }
    if let Some(found) = scaled(&reference, &candidate, limit) {
        return Some(found);
    }
    let shift = |values: &ArrayRef<f32, IxDyn>| {
        let mut shifted = values.to_owned();
        for mut row in shifted.lanes_mut(Axis(2)) {
            let seen = row.iter().filter(|v| **v != 0.0).count().max(1);
            let mean = row.sum() / seen as f32;
            row.mapv_inplace(|v| if v == 0.0 { v } else { v - mean });
        }
        shifted
    };
    (error(&shift(&candidate), &shift(&reference)) <= limit).then_some(Disguise::Shifted)
}

/// Whether the values are those of the reference times a number that is not 1.
pub(super) fn scaled(
    reference: &ArrayRef<f32, IxDyn>,
    candidate: &ArrayRef<f32, IxDyn>,
    limit: f64,
) -> Option<Disguise> {
    let pairs = || candidate.iter().zip(reference).map(|(a, b)| (f64::from(*a), f64::from(*b)));
    let (dot, square) = pairs().fold((0.0, 0.0), |(dot, square), (a, b)| (dot + a * b, square + b * b));
    let factor = dot / square;
    let left: f64 = pairs().map(|(a, b)| (a - factor * b).powi(2)).sum();
    let fits = (left / (factor * factor * square)).sqrt() <= limit;
    (fits && (factor - 1.0).abs() > limit).then_some(Disguise::Scaled(factor))
}

fn sorted(reference: &ArrayRef<f32, IxDyn>, candidate: &ArrayRef<f32, IxDyn>, limit: f64) -> Option<Disguise> {
    // The axis before the last is that of the rows.
    let row = Axis(reference.ndim().checked_sub(2)?);
    if reference.len_of(row) < 2 || reference.len() / reference.len_of(row) < 8 {
        return None;
    }
    let order = |values: &ArrayRef<f32, IxDyn>| -> Vec<f32> {
        values
            .axis_iter(row)
            .flat_map(|row| {
                let mut row: Vec<f32> = row.iter().copied().collect();
                row.sort_by(f32::total_cmp);
                row
            })
            .collect()
    };
    (error(&order(candidate), &order(reference)) <= limit.min(SORTED)).then_some(Disguise::Order)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array, ArrayD};

    /// Numbers without a pattern.
    fn numbers(shape: &[usize]) -> ArrayD<f32> {
        let mut state = 1u32;
        Array::from_shape_simple_fn(shape, || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 8_388_608.0 - 1.0
        })
    }

    #[track_caller]
    fn check(activation: A, shape: &[usize], change: impl Fn(&ArrayD<f32>) -> ArrayD<f32>, expected: Option<Disguise>) {
        let reference = numbers(shape);
        let candidate = change(&reference).as_standard_layout().into_owned();
        let found = find(Site::new(0, activation), &reference, &candidate, 1e-5);
        assert_eq!(found, expected);
    }

    #[test]
    fn what_was_done_is_found() {
        let pick = |axis, order: &'static [usize]| move |v: &ArrayD<f32>| v.select(Axis(axis), order);
        check(A::ActMul, &[3, 8], pick(1, &[7, 1, 2, 3, 4, 5, 6, 0]), Some(Disguise::Order));
        check(A::QProj, &[5, 32], |v| v * 0.5, Some(Disguise::Scaled(0.5)));
        check(A::Scores, &[4, 5, 5], |v| v + 3.0, Some(Disguise::Shifted));
        let masked = |v: &ArrayD<f32>| {
            let mut v = v.clone();
            v[[0, 1, 2]] = f32::NEG_INFINITY;
            v
        };
        check(A::Scores, &[4, 5, 5], masked, Some(Disguise::Mask));
        check(A::QRope, &[4, 5, 8], |v| v.mapv(f32::sin), None);
        check(A::Block, &[5, 32], |v| v.mapv(|v| v + 1.0), None);
    }
}
