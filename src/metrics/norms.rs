//! L2 norms of many vectors.

use ndarray::ArrayView3;

/// The L2 norm over the two inner axes, for each index of the outermost.
pub fn norms(vectors: ArrayView3<f32>) -> Vec<f32> {
    let norm = |vector: &[f32]| {
        let (blocks, rest) = vector.as_chunks::<LANES>();
        let mut sums = [0.0f64; LANES];
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                for block in blocks {
                    for lane in 0..LANES {
                        sums[lane] += f64::from(block[lane]) * f64::from(block[lane]);
                    }
                }
            },
        );
        let rest: f64 = rest.iter().map(|value| f64::from(*value) * f64::from(*value)).sum();
        (sums.iter().sum::<f64>() + rest).sqrt() as f32
    };
    let vectors = vectors.as_standard_layout();
    vectors.outer_iter().map(|vector| vector.to_slice().map_or(0.0, norm)).collect()
}

/// Partial sums kept side by side: the same sums on every machine.
const LANES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array3, array};

    #[test]
    fn norms_calculated_by_hand() {
        let vectors = array![[[3.0f32], [4.0]], [[0.0], [-2.0]], [[f32::NAN], [0.0]]];
        let found = norms(vectors.view());
        assert_eq!(found[..2], [5.0, 2.0]);
        assert!(found[2].is_nan());
        assert_eq!(norms(Array3::ones((1, 4, 25)).view()), [10.0]);
        assert!(norms(Array3::zeros((0, 2, 3)).view()).is_empty());
    }
}
