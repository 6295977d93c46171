//! Root mean square normalisation.

use ndarray::{Array, ArrayView, ArrayView1, Axis, Dimension, Zip};

use super::real::{Real, Rounding};

/// What a row is divided by. Models use [`Form::Rms`]; the others are what ports make of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// `sqrt(mean(x²) + eps)`
    #[default]
    Rms,
    /// `sqrt(mean(x²)) + eps`
    EpsOutside,
    /// As `Rms`, after the row's mean has been taken off: `LayerNorm` without its bias.
    Centred,
    /// Nothing: the row only meets the weight.
    Identity,
}

/// How a row is normalised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalisation {
    /// What it is divided by.
    pub form: Form,
    /// Added to the mean square.
    pub eps: f32,
    /// The format that the mean square is computed in, if it is a coarser one: squares and mean are rounded.
    pub variance: Rounding,
}

impl Normalisation {
    /// Root mean square normalisation as models have it.
    pub fn rms(eps: f32) -> Self {
        Self { form: Form::Rms, eps, variance: Rounding::None }
    }

    /// The factor of a row.
    fn scale<T: Real>(self, row: &[T]) -> T {
        let mean = if self.variance == Rounding::None {
            row.iter().map(|v| v.wide() * v.wide()).sum::<f64>() / row.len() as f64
        } else {
            self.coarse_mean(row)
        };
        let (mean, eps) = (T::from_f64(mean), T::of(self.eps));
        match self.form {
            Form::Rms | Form::Centred => (mean + eps).sqrt().recip(),
            Form::EpsOutside => (mean.sqrt() + eps).recip(),
            Form::Identity => T::one(),
        }
    }

    fn coarse_mean<T: Real>(self, row: &[T]) -> f64 {
        let mut squares = row.to_vec();
        self.variance.round(&mut squares);
        for square in &mut squares {
            *square = *square * *square;
        }
        self.variance.round(&mut squares);
        let mut mean = [T::from_f64(squares.iter().map(|v| v.wide()).sum::<f64>() / row.len() as f64)];
        self.variance.round(&mut mean);
        mean[0].wide()
    }
}

/// `x / sqrt(mean(x²) + eps) * weight` over the last axis, of any shape ending in `weight.len()`.
///
/// Zhang and Sennrich, *Root Mean Square Layer Normalization*, arXiv 1910.07467; `LlamaRMSNorm` of transformers: inside
/// nothing is rounded; the scaled row is rounded before it meets the weight, and after. The mean is accumulated in f64.
pub fn normalise<T: Real, D: Dimension>(
    x: ArrayView<T, D>,
    weight: ArrayView1<f32>,
    how: Normalisation,
    rounding: Rounding,
) -> Array<T, D> {
    let mut y = x.as_standard_layout().into_owned();
    let mut weight: Vec<T> = weight.iter().map(|w| T::of(*w)).collect();
    rounding.round(&mut weight);
    let last = Axis(y.ndim() - 1);
    Zip::from(y.lanes_mut(last)).par_for_each(|row| {
        let row = row.into_slice().expect("rows of a standard layout are contiguous");
        if how.form == Form::Centred {
            let mean = T::from_f64(row.iter().map(|v| v.wide()).sum::<f64>() / row.len() as f64);
            for v in row.iter_mut() {
                *v -= mean;
            }
        }
        let scale = how.scale(row);
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
        let y = normalise(x.view(), array![1.0, 2.0].view(), Normalisation::rms(0.0), Rounding::None).row(0).to_vec();
        let rms = 12.5f32.sqrt();
        assert!((y[0] - 3.0 / rms).abs() < 1e-7 && (y[1] - 8.0 / rms).abs() < 1e-6, "{y:?}");
        assert_eq!(
            normalise(x.view(), array![1.0, 2.0].view(), Normalisation::rms(1e-6), Rounding::None).row(1).to_vec(),
            [0.0, 0.0]
        );
    }
}
