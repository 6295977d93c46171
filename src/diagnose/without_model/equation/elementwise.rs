//! The MLP's activation function and product, and the norms.

use ndarray::{ArrayD, ArrayRef, Axis, IxDyn};

use super::Residual;

/// A function of one number.
type Function = fn(f64) -> f64;

/// The functions that gated models apply to the gate.
const FUNCTIONS: [(&str, Function); 3] = [("silu", silu), ("gelu", gelu), ("relu", relu)];

fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

/// The form with a hyperbolic tangent, which differs from the exact one by less than a thousandth.
fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + (std::f64::consts::FRAC_2_PI.sqrt() * (x + 0.044_715 * x * x * x)).tanh())
}

fn relu(x: f64) -> f64 {
    x.max(0.0)
}

/// A function of each element of `gate`, found out; approximate versions of it are in use.
pub(super) fn function(out: Option<ArrayD<f32>>, gate: Option<ArrayD<f32>>) -> Option<Residual> {
    let (out, gate) = (out?, gate?);
    let ones = ArrayD::ones(gate.raw_dim());
    best(&out, &gate, &ones, "of gate_proj")
}

/// The same, times `up`.
pub(super) fn gated(out: Option<ArrayD<f32>>, gate: Option<ArrayD<f32>>, up: &ArrayD<f32>) -> Option<Residual> {
    best(&out?, &gate?, up, "of gate_proj, times up_proj")
}

fn best(out: &ArrayD<f32>, gate: &ArrayD<f32>, up: &ArrayD<f32>, of: &str) -> Option<Residual> {
    if out.shape() != gate.shape() || out.shape() != up.shape() {
        return None;
    }
    let tried = FUNCTIONS.iter().map(|(name, function)| {
        let terms = out.iter().zip(gate).zip(up).map(|((out, gate), up)| {
            let (out, gate, up) = (f64::from(*out), f64::from(*gate), f64::from(*up));
            (out, function(gate) * up, 4.0 * out.abs().max((gate * up).abs()))
        });
        Residual { loose: true, how: Some(format!("{name} {of}")), ..Residual::of(terms) }
    });
    tried
        .min_by(|a, b| a.unit.total_cmp(&b.unit))
        .map(|best| if best.unit < 1e-2 { best } else { Residual { how: None, ..best } })
}

/// The element-wise product.
pub(super) fn product(out: Option<ArrayD<f32>>, a: &ArrayD<f32>, b: &ArrayD<f32>) -> Option<Residual> {
    let out = out?;
    if out.shape() != a.shape() || out.shape() != b.shape() {
        return None;
    }
    Some(Residual::of(out.iter().zip(a).zip(b).map(|((out, a), b)| {
        let (out, product) = (f64::from(*out), f64::from(*a) * f64::from(*b));
        (out, product, 3.0 * out.abs().max(product.abs()))
    })))
}

/// Rounds of fitting one weight per channel and one scale per row in turn.
const ROUNDS: usize = 8;

/// A norm whose weight and rows were found out.
pub(in crate::diagnose::without_model) struct FittedNorm {
    /// The number of each row.
    pub(in crate::diagnose::without_model) scales: Vec<f64>,
    /// The weight of each channel.
    weights: Vec<f64>,
    /// Relative L2 error of the fit.
    pub(in crate::diagnose::without_model) error: f64,
}

/// A norm: what goes in, times a number per row, times a weight per channel. Both are free, so that it takes three rows.
pub(in crate::diagnose::without_model) fn fitted_norm(
    out: &ArrayRef<f32, IxDyn>,
    x: &ArrayRef<f32, IxDyn>,
) -> Option<FittedNorm> {
    if out.shape() != x.shape() || out.ndim() != 2 || out.len_of(Axis(0)) < 3 {
        return None;
    }
    let at = |values: &ArrayRef<f32, IxDyn>, row: usize, channel: usize| f64::from(values[[row, channel]]);
    let (rows, channels) = (out.len_of(Axis(0)), out.len_of(Axis(1)));
    let root = |row: usize| {
        let squares: f64 = (0..channels).map(|channel| at(x, row, channel).powi(2)).sum();
        (channels as f64 / squares.max(f64::MIN_POSITIVE)).sqrt()
    };
    let mut scales: Vec<f64> = (0..rows).map(root).collect();
    let mut weights = vec![0.0; channels];
    for _ in 0..ROUNDS {
        for (channel, weight) in weights.iter_mut().enumerate() {
            *weight = fitted((0..rows).map(|row| (at(out, row, channel), scales[row] * at(x, row, channel))));
        }
        for (row, scale) in scales.iter_mut().enumerate() {
            *scale =
                fitted((0..channels).map(|channel| (at(out, row, channel), weights[channel] * at(x, row, channel))));
        }
    }
    let (mut difference, mut square) = (0.0, 0.0);
    for (row, scale) in scales.iter().enumerate() {
        for (channel, weight) in weights.iter().enumerate() {
            let is = at(out, row, channel);
            difference += (is - scale * weight * at(x, row, channel)).powi(2);
            square += is * is;
        }
    }
    Some(FittedNorm { scales, weights, error: (difference / square).sqrt() })
}

/// Whether what comes out is a norm of what goes in.
pub(super) fn norm(out: Option<ArrayD<f32>>, x: Option<ArrayD<f32>>) -> Option<Residual> {
    let (out, x) = (out?, x?);
    let fit = fitted_norm(&out, &x)?;
    Some(Residual::of(out.indexed_iter().map(|(at, out)| {
        let (out, is) = (f64::from(*out), fit.scales[at[0]] * fit.weights[at[1]] * f64::from(x[[at[0], at[1]]]));
        (out, is, 4.0 * out.abs().max(is.abs()))
    })))
}

/// The factor that takes the second numbers to the first.
fn fitted(terms: impl Iterator<Item = (f64, f64)>) -> f64 {
    let (dot, square) = terms.fold((0.0, 0.0), |(dot, square), (y, x)| (dot + y * x, square + x * x));
    if square > 0.0 { dot / square } else { 0.0 }
}
