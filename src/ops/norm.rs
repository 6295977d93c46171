//! Root mean square normalisation.

use ndarray::{Array, ArrayView, ArrayView1, Axis, Dimension, Zip};

/// `x / sqrt(mean(x²) + eps) * weight` over the last axis, of any shape ending in `weight.len()`.
///
/// Zhang and Sennrich, *Root Mean Square Layer Normalization*, arXiv 1910.07467; `LlamaRMSNorm` of transformers: the
/// scaled row is rounded before it meets the weight. The mean is accumulated in f64.
pub fn rms_norm<D: Dimension>(x: ArrayView<f32, D>, weight: ArrayView1<f32>, eps: f32) -> Array<f32, D> {
    let mut y = x.as_standard_layout().into_owned();
    let last = Axis(y.ndim() - 1);
    Zip::from(y.lanes_mut(last)).par_for_each(|mut row| {
        let mean = row.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>() / row.len() as f64;
        let scale = (mean as f32 + eps).sqrt().recip();
        row.zip_mut_with(&weight, |v, w| *v = *w * (*v * scale));
    });
    y
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn rows_are_scaled_by_their_own_root_mean_square() {
        let x = array![[3.0, 4.0], [0.0, 0.0]];
        let y = rms_norm(x.view(), array![1.0, 2.0].view(), 0.0).row(0).to_vec();
        let rms = 12.5f32.sqrt();
        assert!((y[0] - 3.0 / rms).abs() < 1e-7 && (y[1] - 8.0 / rms).abs() < 1e-6, "{y:?}");
        assert_eq!(rms_norm(x.view(), array![1.0, 2.0].view(), 1e-6).row(1).to_vec(), [0.0, 0.0]);
    }
}
