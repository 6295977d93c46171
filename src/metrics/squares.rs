//! Sums of squares over long rows, in eight partial sums that a compiler can keep in one register.

/// Partial sums kept side by side.
const LANES: usize = 8;

/// The squared distance of each of `others` from `from`, and the square of `from`. Not a finite number where an element
/// is not.
pub fn squared_distances<const N: usize>(from: &[f64], others: [&[f32]; N]) -> ([f64; N], f64) {
    (others.map(|other| squared_distance(from, other)), squares(from))
}

fn squared_distance(from: &[f64], other: &[f32]) -> f64 {
    assert_eq!(from.len(), other.len(), "rows of one length");
    let ((from, from_rest), (other, other_rest)) = (from.as_chunks::<LANES>(), other.as_chunks::<LANES>());
    let square = |from: f64, other: f32| (f64::from(other) - from) * (f64::from(other) - from);
    let mut sums = [0.0; LANES];
    for (from, other) in from.iter().zip(other) {
        for lane in 0..LANES {
            sums[lane] += square(from[lane], other[lane]);
        }
    }
    sums.iter().sum::<f64>() + from_rest.iter().zip(other_rest).map(|(from, other)| square(*from, *other)).sum::<f64>()
}

fn squares(from: &[f64]) -> f64 {
    let (from, rest) = from.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for from in from {
        for lane in 0..LANES {
            sums[lane] += from[lane] * from[lane];
        }
    }
    sums.iter().sum::<f64>() + rest.iter().map(|from| from * from).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_any_length_are_summed() {
        for length in [0usize, 1, 8, 13, 64] {
            let from: Vec<f64> = (0..length).map(|i| i as f64).collect();
            let other: Vec<f32> = (0..length).map(|i| i as f32 + 2.0).collect();
            let ([apart], size) = squared_distances(&from, [&other]);
            assert_eq!((apart, size), (4.0 * length as f64, from.iter().map(|v| v * v).sum()));
        }
        assert!(!squared_distances(&[f64::NEG_INFINITY], [&[f32::NEG_INFINITY]]).1.is_finite());
    }
}
