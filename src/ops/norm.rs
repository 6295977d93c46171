//! Root mean square normalisation.

use ndarray::{Array, ArrayView, ArrayView1, Axis, Dimension, Zip};

use super::real::{Real, Rounding};

/// `x / sqrt(mean(x²) + eps) * weight` over the last axis, of any shape ending in `weight.len()`.
///
/// Zhang and Sennrich, *Root Mean Square Layer Normalization*, arXiv 1910.07467; `LlamaRMSNorm` of transformers: inside
/// nothing is rounded; the scaled row is rounded before it meets the weight, and after. The mean is accumulated in f64.
pub fn rms_norm<T: Real, D: Dimension>(
    x: ArrayView<T, D>,
    weight: ArrayView1<f32>,
    eps: f32,
    rounding: Rounding,
) -> Array<T, D> {
    let mut y = x.as_standard_layout().into_owned();
    let mut weight: Vec<T> = weight.iter().map(|w| T::of(*w)).collect();
    rounding.round(&mut weight);
    let last = Axis(y.ndim() - 1);
    Zip::from(y.lanes_mut(last)).par_for_each(|row| {
        let row = row.into_slice().expect("rows of a standard layout are contiguous");
        let mean = row.iter().map(|v| v.wide() * v.wide()).sum::<f64>() / row.len() as f64;
        let scale = (T::from_f64(mean) + T::of(eps)).sqrt().recip();
        for v in row.iter_mut() {
            *v *= scale;
        }
        rounding.round(row);
        for (v, w) in row.iter_mut().zip(&weight) {
            *v *= *w;
        }
        rounding.round(row);
    });
    y
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn rows_are_scaled_by_their_own_root_mean_square() {
        let x = array![[3.0f32, 4.0], [0.0, 0.0]];
        let y = rms_norm(x.view(), array![1.0, 2.0].view(), 0.0, Rounding::None).row(0).to_vec();
        let rms = 12.5f32.sqrt();
        assert!((y[0] - 3.0 / rms).abs() < 1e-7 && (y[1] - 8.0 / rms).abs() < 1e-6, "{y:?}");
        assert_eq!(rms_norm(x.view(), array![1.0, 2.0].view(), 1e-6, Rounding::None).row(1).to_vec(), [0.0, 0.0]);
    }
}
