//! Element-wise functions of the MLP, and the exponential that they and the softmax share.

use ndarray::{Array, ArrayView, ArrayView1, Axis, Dimension, Zip};
use rayon::iter::ParallelIterator;
use rayon::slice::ParallelSliceMut;

use super::real::{Real, Rounding};

/// An activation function of the MLP, as `hidden_act` of config.json names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x · σ(x)`. Elfwing et al., arXiv 1702.03118; called `silu` or `swish`.
    Silu,
    /// `x · Φ(x)`. Hendrycks and Gimpel, arXiv 1606.08415.
    Gelu,
    /// The same, by `tanh`.
    GeluTanh,
    /// The same, by `tanh` in several steps, each of which is rounded: `NewGELUActivation` of transformers.
    GeluNew,
    /// The same, in other steps: `bloom_gelu_forward` of transformers.
    GeluBloom,
    /// `x · σ(1.702 x)`.
    QuickGelu,
    /// `max(x, 0)`
    Relu,
    /// `max(x, 0)²`
    ReluSquared,
    /// `σ(x)`
    Sigmoid,
    /// `tanh(x)`
    Tanh,
    /// `x`
    Identity,
}

impl Activation {
    /// The functions that config.json may name.
    pub const NAMES: &[(&str, Self)] = &[
        ("silu", Self::Silu),
        ("swish", Self::Silu),
        ("gelu", Self::Gelu),
        ("gelu_new", Self::GeluNew),
        ("gelu_pytorch_tanh", Self::GeluTanh),
        ("bloom_gelu", Self::GeluBloom),
        ("quick_gelu", Self::QuickGelu),
        ("relu", Self::Relu),
        ("relu2", Self::ReluSquared),
        ("sigmoid", Self::Sigmoid),
        ("tanh", Self::Tanh),
        ("linear", Self::Identity),
    ];

    /// Every function that differs from the others: what ports put in the place of the right one.
    pub const ALL: [Self; 9] = [
        Self::Silu,
        Self::Gelu,
        Self::GeluTanh,
        Self::QuickGelu,
        Self::Relu,
        Self::ReluSquared,
        Self::Sigmoid,
        Self::Tanh,
        Self::Identity,
    ];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Silu => "silu",
            Self::Gelu => "gelu",
            Self::GeluTanh | Self::GeluNew | Self::GeluBloom => "gelu by tanh",
            Self::QuickGelu => "quick gelu, x * sigmoid(1.702 x)",
            Self::Relu => "relu",
            Self::ReluSquared => "relu squared",
            Self::Sigmoid => "sigmoid",
            Self::Tanh => "tanh",
            Self::Identity => "no function at all",
        }
    }

    /// Applies the function to every element, of any shape, and rounds the result.
    pub fn apply<T: Real, D: Dimension>(self, x: ArrayView<T, D>, rounding: Rounding) -> Array<T, D> {
        let mut y = x.as_standard_layout().into_owned();
        let words = y.as_slice_mut().expect("standard layout");
        words.par_chunks_mut(4096).for_each(|words| {
            match self {
                Self::Silu => pulp::Arch::new().dispatch(
                    #[inline(always)]
                    || {
                        for word in words.iter_mut() {
                            *word /= T::one() + (-*word).exponential();
                        }
                    },
                ),
                Self::GeluBloom if rounding != Rounding::None => bloom_gelu_in_steps(words, rounding),
                Self::GeluNew if rounding != Rounding::None => gelu_in_steps(words, rounding),
                Self::Gelu => words.iter_mut().for_each(|word| *word = gelu(*word)),
                Self::GeluTanh | Self::GeluNew | Self::GeluBloom => {
                    for word in words.iter_mut() {
                        *word = gelu_by_tanh(*word);
                    }
                }
                other => words.iter_mut().for_each(|word| *word = T::from_f64(other.of(word.wide()))),
            }
            rounding.round(words);
        });
        y
    }
}

/// `0.5 x (1 + erf(x / sqrt(2)))`, step by step as PyTorch's kernel has it: far below zero the sum loses most of its digits, in
/// whatever format it is computed.
fn gelu<T: Real>(x: T) -> T {
    let z = x * T::from_f64(std::f64::consts::FRAC_1_SQRT_2);
    let is_f32 = size_of::<T>() == size_of::<f32>();
    let erf = if is_f32 { T::of(erf(z.narrow())) } else { T::from_f64(libm::erf(z.wide())) };
    x * T::from_f64(0.5) * (T::one() + erf)
}

/// `0.5 x (1 + tanh(sqrt(2/π) (x + 0.044715 x³)))`, step by step as PyTorch's kernel has it: far below zero the sum loses digits.
fn gelu_by_tanh<T: Real>(x: T) -> T {
    let of = T::from_f64;
    let inner = of((2.0 / std::f64::consts::PI).sqrt()) * (x + of(0.044_715) * x * x * x);
    of(0.5) * x * (T::one() + inner.tanh())
}

/// The error function to 1.5e-7, as PyTorch's vectors have it: Abramowitz and Stegun, 7.1.26.
fn erf(x: f32) -> f32 {
    const FACTORS: [f32; 5] = [1.061_405_4, -1.453_152, 1.421_413_8, -0.284_496_72, 0.254_829_6];
    let t = 1.0 / x.abs().mul_add(0.327_591_1, 1.0);
    let sum = FACTORS.into_iter().reduce(|sum, factor| sum.mul_add(t, factor)).unwrap_or_default();
    (1.0 - (-x * x).exp() * t * sum).copysign(x)
}

impl Activation {
    /// The function of one number.
    fn of(self, x: f64) -> f64 {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        match self {
            Self::Silu => x * sigmoid(x),
            Self::Gelu => gelu(x),
            Self::GeluTanh | Self::GeluNew | Self::GeluBloom => gelu_by_tanh(x),
            Self::QuickGelu => x * sigmoid(1.702 * x),
            Self::Relu => x.max(0.0),
            Self::ReluSquared => x.max(0.0).powi(2),
            Self::Sigmoid => sigmoid(x),
            Self::Tanh => x.tanh(),
            Self::Identity => x,
        }
    }
}

/// `0.5 x (1 + tanh(sqrt(2/π) (x + 0.044715 x³)))`, rounded after every torch op: the cube, each product and each sum.
fn gelu_in_steps<T: Real>(words: &mut [T], rounding: Rounding) {
    let x = words.to_vec();
    let mut step = |f: &dyn Fn(T, T) -> T| {
        words.iter_mut().zip(&x).for_each(|(word, x)| *word = f(*word, *x));
        rounding.round(words);
    };
    let root = T::from_f64((2.0 / std::f64::consts::PI).sqrt());
    step(&|_, x| x * x * x);
    step(&|word, _| T::from_f64(0.044_715) * word);
    step(&|word, x| x + word);
    step(&|word, _| root * word);
    step(&|word, _| word.tanh());
    step(&|word, _| T::one() + word);
    step(&|word, x| T::from_f64(0.5) * x * word);
}

/// `0.5 x (1 + tanh(0.79788456 x (1 + 0.044715 x x)))`, rounded after every torch op, from the left.
fn bloom_gelu_in_steps<T: Real>(words: &mut [T], rounding: Rounding) {
    let steps = |f: &dyn Fn(T) -> T, words: &[T]| {
        let mut result: Vec<T> = words.iter().map(|word| f(*word)).collect();
        rounding.round(&mut result);
        result
    };
    let product = |a: &[T], b: &[T]| {
        let mut result: Vec<T> = a.iter().zip(b).map(|(a, b)| *a * *b).collect();
        rounding.round(&mut result);
        result
    };
    let of = T::from_f64;
    let cube = product(&steps(&|x| of(0.044_715) * x, words), words);
    let inner = product(&steps(&|x| of(0.797_884_56) * x, words), &steps(&|x| T::one() + x, &cube));
    let outer = steps(&|x| T::one() + x, &steps(&|x| x.tanh(), &inner));
    let half = steps(&|x| x * of(0.5), words);
    words.copy_from_slice(&product(&half, &outer));
}

/// The constants of xIELU, as weights have them.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "named as in XIELUActivation of transformers")]
pub struct Xielu {
    pub alpha_p: f32,
    pub alpha_n: f32,
    pub beta: f32,
    pub eps: f32,
}

/// `a x² + b x` above zero, `c (exp(min(x, eps)) - 1 - x) + b x` below, with `a = softplus(alpha_p)`,
/// `c = beta + softplus(alpha_n)`, `b = beta`: Huang and Schlag, arXiv 2411.13010. Rounded after every torch op of
/// `XIELUActivation`.
pub fn xielu<T: Real, D: Dimension>(x: ArrayView<T, D>, constants: Xielu, rounding: Rounding) -> Array<T, D> {
    let round = |word: T| {
        let mut word = [word];
        rounding.round(&mut word);
        word[0]
    };
    let [alpha_p, alpha_n, beta, eps] =
        [constants.alpha_p, constants.alpha_n, constants.beta, constants.eps].map(T::of);
    let softplus = |word: T| round(if word.wide() > 20.0 { word } else { word.exp().ln_1p() });
    let (above, below) = (softplus(alpha_p), round(beta + softplus(alpha_n)));
    x.mapv(|x| {
        let line = round(beta * x);
        let curve = if x > T::zero() {
            round(round(above * x) * x)
        } else {
            let exponential = round(x.min(eps).exp_m1());
            round(round(exponential - x) * below)
        };
        round(curve + line)
    })
}

/// `c tanh(x / c)`, rounded after each of the three ops, as eager PyTorch does.
pub fn cap<T: Real, D: Dimension>(x: ArrayView<T, D>, limit: f64, rounding: Rounding) -> Array<T, D> {
    let mut y = x.as_standard_layout().into_owned();
    cap_in_place(y.as_slice_mut().expect("standard layout"), limit, rounding);
    y
}

pub(super) fn cap_in_place<T: Real>(words: &mut [T], limit: f64, rounding: Rounding) {
    let limit = T::from_f64(limit);
    for f in [|v: T, c: T| v / c, |v: T, _: T| v.tanh(), |v: T, c: T| v * c] {
        words.par_chunks_mut(4096).for_each(|words| {
            for word in words.iter_mut() {
                *word = f(*word, limit);
            }
            rounding.round(words);
        });
    }
}

/// The element-wise product of two arrays; axes along which `b` has one element are those of `a`.
pub fn multiply<T: Real, D: Dimension>(a: ArrayView<T, D>, b: ArrayView<T, D>, rounding: Rounding) -> Array<T, D> {
    let mut y = a.as_standard_layout().into_owned();
    let b = b.broadcast(a.raw_dim()).expect("the graph multiplies what fits");
    Zip::from(&mut y).and(&b).par_for_each(|a, b| *a *= *b);
    rounding.round(y.as_slice_mut().expect("standard layout"));
    y
}

/// `a f(b)`, rounded once: the function is in f32.
pub fn gated<T: Real, D: Dimension>(
    a: ArrayView<T, D>,
    b: ArrayView<T, D>,
    function: Activation,
    rounding: Rounding,
) -> Array<T, D> {
    let mut y = function.apply(b, Rounding::None);
    y *= &a;
    rounding.round(y.as_slice_mut().expect("standard layout"));
    y
}

/// Each channel times a weight, then times a factor, rounded after each: `Gemma4TextRouter` of transformers.
pub fn scaled<T: Real, D: Dimension>(
    x: ArrayView<T, D>,
    weight: ArrayView1<f32>,
    factor: f64,
    rounding: Rounding,
) -> Array<T, D> {
    let weight: Vec<T> = weight.iter().map(|w| T::of(*w)).collect();
    let mut y = x.as_standard_layout().into_owned();
    let words = y.as_slice_mut().expect("standard layout");
    words.iter_mut().zip(weight.iter().cycle()).for_each(|(word, weight)| *word *= *weight);
    rounding.round(words);
    if factor != 1.0 {
        for word in words.iter_mut() {
            *word *= T::from_f64(factor);
        }
        rounding.round(words);
    }
    y
}

/// The element-wise sum of two arrays of one shape.
pub fn add<T: Real, D: Dimension>(a: ArrayView<T, D>, b: ArrayView<T, D>, rounding: Rounding) -> Array<T, D> {
    let mut y = a.as_standard_layout().into_owned();
    y += &b;
    rounding.round(y.as_slice_mut().expect("standard layout"));
    y
}

/// The element-wise sum of arrays of one shape, each times its factor. Each product and each sum is rounded, as by eager
/// PyTorch.
pub fn weighted_sum<T: Real, D: Dimension>(
    parts: &[ArrayView<T, D>],
    factors: &[f64],
    rounding: Rounding,
) -> Array<T, D> {
    let times = |part: &ArrayView<T, D>, factor: f64| {
        let mut product = part.as_standard_layout().into_owned();
        if factor != 1.0 {
            let factor = T::from_f64(factor);
            product.mapv_inplace(|v| v * factor);
            rounding.round(product.as_slice_mut().expect("standard layout"));
        }
        product
    };
    let mut y = times(&parts[0], factors[0]);
    for (part, factor) in parts[1..].iter().zip(&factors[1..]) {
        y += &times(part, *factor);
        rounding.round(y.as_slice_mut().expect("standard layout"));
    }
    y
}

/// Subtracts the row's maximum, exponentiates, and divides by the sum, over the last axis.
pub(super) fn softmax_rows<T: Real, D: Dimension>(y: &mut Array<T, D>) {
    let last = Axis(y.ndim() - 1);
    Zip::from(y.lanes_mut(last)).par_for_each(|row| {
        let row = row.into_slice().expect("rows of a standard layout are contiguous");
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                let maximum = row.iter().copied().fold(T::neg_infinity(), T::max);
                for word in row.iter_mut() {
                    *word = (*word - maximum).exponential();
                }
                let sum: f64 = row.iter().map(|v| v.wide()).sum();
                let scale = T::from_f64(1.0 / sum);
                for word in row.iter_mut() {
                    *word *= scale;
                }
            },
        );
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn silu_of_known_values() {
        let y = Activation::Silu.apply(array![0.0f32, 1.0, -1.0, -200.0, 200.0].view(), Rounding::None);
        let exact = [0.0, 0.731_058_6, -0.268_941_43, 0.0, 200.0];
        for (y, exact) in y.iter().zip(exact) {
            assert!((y - exact).abs() < 1e-7, "{y} is not {exact}");
        }
    }
}
