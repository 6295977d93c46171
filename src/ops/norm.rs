//! Root mean square normalisation, and layer normalisation: the same after the mean has been taken off.

use ndarray::{Array, ArrayView, ArrayView1, Axis, Dimension};
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

use super::real::{Real, Rounding};

/// What a row is divided by. Models use [`Form::Rms`] and [`Form::Centred`]; the others are what ports make of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// `sqrt(mean(x²) + eps)`
    #[default]
    Rms,
    /// `sqrt(mean(x²)) + eps`
    EpsOutside,
    /// As `Rms`, after the row's mean has been taken off: `LayerNorm`.
    Centred,
    /// Nothing: the row only meets the weight.
    Identity,
}

/// What one mean square is taken over. Models have rows; the others are what ports take for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spread {
    /// The last axis.
    #[default]
    Row,
    /// So many channels of it, side by side: each head of a row of all heads.
    Parts(usize),
    /// The first and the last of three axes: all heads of a token together.
    Heads,
}

/// How a row is normalised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalisation {
    /// What it is divided by.
    pub form: Form,
    /// Added to the mean square.
    pub eps: f32,
    /// Added to the weight: 1 where weights are stored less one.
    pub offset: f32,
    /// Whether the result is rounded once, at the end, and not before it meets the weight, too.
    pub rounded_once: bool,
    /// The format that the mean square is computed in, if it is a coarser one: squares and mean are rounded.
    pub variance: Rounding,
    /// What one mean square is taken over.
    pub spread: Spread,
}

impl Normalisation {
    /// Root mean square normalisation as models have it.
    pub fn rms(eps: f32) -> Self {
        Self { form: Form::Rms, eps, offset: 0.0, rounded_once: false, variance: Rounding::None, spread: Spread::Row }
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

/// `x / sqrt(mean(x²) + eps) * (weight + offset) + bias` over the last axis, of any shape ending in `weight.len()`; a weight
/// that is longer holds one for each index of the first axis.
///
/// Zhang and Sennrich, *Root Mean Square Layer Normalization*, arXiv 1910.07467; `LlamaRMSNorm` of transformers: inside
/// nothing is rounded; the scaled row is rounded before it meets the weight, and after. `Gemma2RMSNorm` and PyTorch's
/// `LayerNorm` (Ba et al., arXiv 1607.06450) round the result alone. The mean is accumulated in f64.
pub fn normalise<T: Real, D: Dimension>(
    x: ArrayView<T, D>,
    weight: ArrayView1<f32>,
    bias: Option<ArrayView1<f32>>,
    how: Normalisation,
    rounding: Rounding,
) -> Array<T, D> {
    let mut y = x.as_standard_layout().into_owned();
    let wide = |vector: ArrayView1<f32>, offset: f32| vector.iter().map(|w| T::of(*w) + T::of(offset)).collect();
    let (weight, bias): (Vec<T>, Option<Vec<T>>) = (wide(weight, how.offset), bias.map(|bias| wide(bias, 0.0)));
    let (width, words) = (y.len_of(Axis(y.ndim() - 1)).max(1), y.len());
    let together = (how.spread == Spread::Heads && y.ndim() > 1).then(|| together(&y, how));
    // Rows that share a weight.
    let sharing = (words / weight.len().max(1)).max(1);
    y.as_slice_mut().expect("standard layout").par_chunks_mut(width).with_min_len(8).enumerate().for_each(
        |(at, row)| {
            let own = at / sharing * width..(at / sharing + 1) * width;
            if how.form == Form::Centred {
                let mean = T::from_f64(row.iter().map(|v| v.wide()).sum::<f64>() / row.len() as f64);
                for v in row.iter_mut() {
                    *v -= mean;
                }
            }
            let part = if let Spread::Parts(part) = how.spread { part.clamp(1, width) } else { width };
            for part in row.chunks_mut(part) {
                let scale = together.as_ref().map_or_else(|| how.scale(part), |scales| scales[at % scales.len()]);
                for v in part {
                    *v *= scale;
                }
            }
            if !how.rounded_once {
                rounding.round(row);
            }
            for (v, w) in row.iter_mut().zip(&weight[own.clone()]) {
                *v *= *w;
            }
            for (v, b) in row.iter_mut().zip(bias.iter().flat_map(|bias| &bias[own.clone()])) {
                *v += *b;
            }
            rounding.round(row);
        },
    );
    y
}

/// The factor of each token, whose heads are on the first axis.
fn together<T: Real, D: Dimension>(x: &Array<T, D>, how: Normalisation) -> Vec<T> {
    let (width, tokens) = (x.len_of(Axis(x.ndim() - 1)).max(1), x.len_of(Axis(x.ndim() - 2)).max(1));
    let words = x.as_slice().expect("standard layout");
    let of_token = |token: usize| {
        let rows = words.chunks(width).skip(token).step_by(tokens);
        how.scale(&rows.flatten().copied().collect::<Vec<T>>())
    };
    (0..tokens).map(of_token).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn rows_are_scaled_by_their_own_root_mean_square() {
        let x = array![[3.0f32, 4.0], [0.0, 0.0]];
        let y =
            normalise(x.view(), array![1.0, 2.0].view(), None, Normalisation::rms(0.0), Rounding::None).row(0).to_vec();
        let rms = 12.5f32.sqrt();
        assert!((y[0] - 3.0 / rms).abs() < 1e-7 && (y[1] - 8.0 / rms).abs() < 1e-6, "{y:?}");
        assert_eq!(
            normalise(x.view(), array![1.0, 2.0].view(), None, Normalisation::rms(1e-6), Rounding::None)
                .row(1)
                .to_vec(),
            [0.0, 0.0]
        );
    }
}
