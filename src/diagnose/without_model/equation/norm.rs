//! Norms, of which the weight, the bias and the number of each row are free.

use ndarray::{Array2, ArrayRef, Axis, Ix2, IxDyn};

use super::{Own, Residual};
use crate::diagnose::suspects::fit::factor;
use crate::engine::{Op, Site};
use crate::ops::Form;

/// Rounds of fitting one weight per channel and one scale per row in turn.
const ROUNDS: usize = 8;

/// A norm whose weight and rows were found out.
pub(in crate::diagnose::without_model) struct FittedNorm {
    /// The number of each row.
    pub(in crate::diagnose::without_model) scales: Vec<f64>,
    /// What that would be in a norm.
    pub(in crate::diagnose::without_model) usual: Vec<f64>,
    /// What comes out of it.
    values: Array2<f64>,
    /// Relative L2 error of the fit.
    pub(in crate::diagnose::without_model) error: f64,
}

/// A norm as `op` is one: what goes in, its mean taken off or not, times a number per row, times a weight per channel, plus
/// a bias or not. All are free, so that it takes three rows, and one more for a bias.
pub(in crate::diagnose::without_model) fn fitted_norm<T: Copy + Into<f64>>(
    op: &Op,
    out: &ArrayRef<T, IxDyn>,
    x: &ArrayRef<T, IxDyn>,
) -> Option<FittedNorm> {
    let Op::Norm { how, bias, .. } = op else { return None };
    let needed = 3 + usize::from(bias.is_some());
    if out.shape() != x.shape() || out.ndim() != 2 || out.len_of(Axis(0)) < needed {
        return None;
    }
    let wide = |values: &ArrayRef<T, IxDyn>| values.mapv(Into::into).into_dimensionality::<Ix2>().ok();
    let (out, mut x): (Array2<f64>, Array2<f64>) = (wide(out)?, wide(x)?);
    let (rows, channels) = out.dim();
    if how.form == Form::Centred {
        x.rows_mut().into_iter().for_each(|mut row| row -= row.sum() / channels as f64);
    }
    let root = |row: usize| {
        let squares: f64 = x.row(row).iter().map(|v| v.powi(2)).sum();
        (channels as f64 / squares.max(f64::MIN_POSITIVE)).sqrt()
    };
    let usual: Vec<f64> = (0..rows).map(root).collect();
    let mut scales = usual.clone();
    let (mut weights, mut biases) = (vec![0.0; channels], vec![0.0; channels]);
    for _ in 0..ROUNDS {
        for (channel, weight) in weights.iter_mut().enumerate() {
            let scaled = |row: usize| scales[row] * x[[row, channel]];
            let mean = |of: &dyn Fn(usize) -> f64| (0..rows).map(of).sum::<f64>() / rows as f64;
            let (y, z) = match bias {
                Some(_) => (mean(&|row| out[[row, channel]]), mean(&scaled)),
                None => (0.0, 0.0),
            };
            let pairs = (0..rows).map(|row| (out[[row, channel]] - y, scaled(row) - z));
            *weight = factor(pairs).unwrap_or(0.0);
            biases[channel] = y - *weight * z;
        }
        for (row, scale) in scales.iter_mut().enumerate() {
            let pair = |channel: usize| (out[[row, channel]] - biases[channel], weights[channel] * x[[row, channel]]);
            *scale = factor((0..channels).map(pair)).unwrap_or(0.0);
        }
    }
    let value = |(row, channel)| scales[row] * weights[channel] * x[[row, channel]] + biases[channel];
    let values = Array2::from_shape_fn((rows, channels), value);
    let squares = |values: &Array2<f64>| values.iter().map(|v| v.powi(2)).sum::<f64>();
    let error = (squares(&(&out - &values)) / squares(&out)).sqrt();
    Some(FittedNorm { scales, usual, values, error })
}

/// Whether what comes out is a norm of what goes in.
pub(super) fn residual(own: &Own, site: Site) -> Option<Residual> {
    let node = &own.survey.graph()[site];
    let (out, x) = (own.values(site)?, own.values(node.reads.first()?.site())?);
    let values = fitted_norm(&node.op, &out, &x)?.values;
    Some(Residual::of(out.iter().zip(&values).map(|(out, is)| (*out, *is, out.abs() + 3.0 * is.abs()))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Role, Spec, lower::lower};
    use ndarray::{Array, ArrayD};

    fn numbers(shape: &[usize], seed: u32) -> ArrayD<f64> {
        let mut state = seed;
        Array::from_shape_simple_fn(shape, || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(state >> 8) / 8_388_608.0 - 1.0
        })
    }

    #[test]
    fn a_layer_norm_with_a_bias_is_fitted_as_one() {
        let op = |family: &str| {
            let text = format!(r#"{{"model_type": "{family}", "num_hidden_layers": 1, "n_layer": 1}}"#);
            let graph = lower(&Spec::from_json(&text, "config.json").expect("a config").0);
            graph[graph.whole(Role::FinalNorm).expect("both have one")].op.clone()
        };
        let x = numbers(&[6, 40], 1) + 0.5;
        let (weights, bias) = (numbers(&[40], 2), numbers(&[40], 3));
        let mut out = x.clone();
        for mut row in out.rows_mut() {
            let mean = row.sum() / 40.0;
            row -= mean;
            let variance = row.iter().map(|v| v * v).sum::<f64>() / 40.0;
            row /= (variance + 1e-5).sqrt();
            row *= &weights.view().into_dimensionality::<ndarray::Ix1>().expect("one axis");
            row += &bias.view().into_dimensionality::<ndarray::Ix1>().expect("one axis");
        }
        let error = |family: &str| fitted_norm(&op(family), &out, &x).expect("rows enough").error;
        assert!(error("gpt2") < 1e-9 && error("llama") > 1e-2, "{} {}", error("gpt2"), error("llama"));
    }
}
