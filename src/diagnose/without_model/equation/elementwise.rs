//! The MLP's activation function and product, the norms, and caps.

use std::ops::Range;

use ndarray::{Array2, ArrayD, ArrayRef, Axis, Ix2, IxDyn};

use super::Residual;
use crate::engine::Op;
use crate::ops::{self, Activation, Form, Rounding};

/// The functions that models apply. Of the gelu the form with a hyperbolic tangent, which differs from the exact one by
/// less than a thousandth.
const FUNCTIONS: [(&str, Activation); 3] =
    [("silu", Activation::Silu), ("gelu", Activation::GeluTanh), ("relu", Activation::Relu)];

/// A function of each element of `gate`, times `up` if that is given; which one is found out, and approximate versions of
/// it are in use.
pub(super) fn function(
    out: Option<ArrayD<f64>>,
    gate: Option<ArrayD<f64>>,
    up: Option<ArrayD<f64>>,
    of: &str,
) -> Option<Residual> {
    let (out, gate) = (out?, gate?);
    let up = up.unwrap_or_else(|| ArrayD::ones(gate.raw_dim()));
    if out.shape() != gate.shape() || out.shape() != up.shape() {
        return None;
    }
    super::nearest(FUNCTIONS.iter().map(|(name, function)| {
        let exact = function.apply(gate.view(), Rounding::None);
        let terms = out.iter().zip(exact.iter().zip(gate.iter().zip(&up)));
        let terms = terms.map(|(out, (f, (gate, up)))| (*out, f * up, 4.0 * out.abs().max((gate * up).abs())));
        Residual { loose: true, how: Some(format!("{name} {of}")), ..Residual::of(terms) }
    }))
}

/// Some channels of what goes in, as they are.
pub(super) fn columns(out: Option<ArrayD<f64>>, x: Option<ArrayD<f64>>, columns: &Range<usize>) -> Option<Residual> {
    let (out, x) = (out?.into_dimensionality::<Ix2>().ok()?, x?.into_dimensionality::<Ix2>().ok()?);
    if out.dim() != (x.nrows(), columns.len()) || columns.end > x.ncols() {
        return None;
    }
    let part = x.slice(ndarray::s![.., columns.clone()]);
    Some(Residual::of(out.iter().zip(&part).map(|(out, x)| (*out, *x, out.abs().max(x.abs())))))
}

/// The element-wise product.
pub(super) fn product(out: Option<ArrayD<f64>>, a: ArrayD<f64>, b: ArrayD<f64>) -> Option<Residual> {
    let out = out?;
    if out.shape() != a.shape() || out.shape() != b.shape() {
        return None;
    }
    let exact = ops::multiply(a.view(), b.view(), Rounding::None);
    Some(Residual::of(
        out.iter().zip(&exact).map(|(out, product)| (*out, *product, 3.0 * out.abs().max(product.abs()))),
    ))
}

/// `c tanh(x / c)`; `c` is found out, where it shows most.
pub(super) fn cap(out: Option<ArrayD<f64>>, x: Option<ArrayD<f64>>) -> Option<Residual> {
    const HALVINGS: usize = 200;
    let (out, x) = (out?, x?);
    if out.shape() != x.shape() {
        return None;
    }
    let pairs = || out.iter().zip(&x).filter(|(out, x)| out.is_finite() && x.is_finite());
    let (most, at) = pairs().max_by(|a, b| a.1.abs().total_cmp(&b.1.abs())).map(|(out, x)| (out.abs(), x.abs()))?;
    // What comes out grows with the cap, from the cap itself to what went in.
    let (mut low, mut high) = (most, 1e6 * at.max(1.0));
    for _ in 0..HALVINGS {
        let middle = (low * high).sqrt();
        if middle * (at / middle).tanh() < most { low = middle } else { high = middle }
    }
    let exact = ops::cap(x.view(), high, Rounding::None);
    let terms = out.iter().zip(exact.iter().zip(&x)).map(|(out, (y, x))| (*out, *y, 4.0 * out.abs().max(x.abs())));
    let how = if high > 1e3 * at { "no cap".into() } else { format!("a cap of {high:.0}") };
    Some(Residual { loose: true, how: Some(how), ..Residual::of(terms) })
}

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
            *weight = fitted((0..rows).map(|row| (out[[row, channel]] - y, scaled(row) - z)));
            biases[channel] = y - *weight * z;
        }
        for (row, scale) in scales.iter_mut().enumerate() {
            let pair = |channel: usize| (out[[row, channel]] - biases[channel], weights[channel] * x[[row, channel]]);
            *scale = fitted((0..channels).map(pair));
        }
    }
    let value = |(row, channel)| scales[row] * weights[channel] * x[[row, channel]] + biases[channel];
    let values = Array2::from_shape_fn((rows, channels), value);
    let squares = |values: &Array2<f64>| values.iter().map(|v| v.powi(2)).sum::<f64>();
    let error = (squares(&(&out - &values)) / squares(&out)).sqrt();
    Some(FittedNorm { scales, usual, values, error })
}

/// Whether what comes out is a norm of what goes in.
pub(super) fn norm(op: &Op, out: Option<ArrayD<f64>>, x: Option<ArrayD<f64>>) -> Option<Residual> {
    let (out, x) = (out?, x?);
    let fit = fitted_norm(op, &out, &x)?;
    Some(Residual::of(out.iter().zip(&fit.values).map(|(out, is)| (*out, *is, 4.0 * out.abs().max(is.abs())))))
}

/// The factor that takes the second numbers to the first.
fn fitted(terms: impl Iterator<Item = (f64, f64)>) -> f64 {
    let (dot, square) = terms.fold((0.0, 0.0), |(dot, square), (y, x)| (dot + y * x, square + x * x));
    if square > 0.0 { dot / square } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Role, Spec, lower::lower};
    use ndarray::Array;

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
            graph[graph.whole(Role::FinalNorm).expect("every model has one")].op.clone()
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
        let unit = |family: &str| norm(&op(family), Some(out.clone()), Some(x.clone())).expect("rows enough").unit;
        assert!(unit("gpt2") < 1e-9 && unit("llama") > 1e-2, "{} {}", unit("gpt2"), unit("llama"));
    }

    #[test]
    fn a_cap_is_found_out() {
        let x = numbers(&[4, 50], 1) * 40.0;
        let out = ops::cap(x.view(), 30.0, Rounding::None);
        let found = cap(Some(out), Some(x.clone())).expect("of one shape");
        assert!(found.unit < 1e-12 && found.how.as_deref() == Some("a cap of 30"), "{:?}", found.how);
        assert!(cap(Some(x.mapv(|v| v.clamp(-30.0, 30.0))), Some(x)).expect("of one shape").unit > 1e-3);
    }
}
