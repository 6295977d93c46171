//! One op on given inputs: one `match` arm and one equation per activation.
//!
//! A run evaluates ops on its own slots; a diagnosis evaluates the same ops on a dump's tensors.

use ndarray::{ArrayView2, ArrayView3, ArrayViewD, Ix2, Ix3};

use super::activation::Activation;
use super::compute::Compute;
use super::name::Site;
use crate::model::{Config, Linear, Model};
use crate::ops::{self, Mask, Operands, Real, linear, rms_norm, rope};

/// What an op reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// An activation of the same forward.
    Site(Site),
    /// The rotated keys of a layer, of every position so far: `[position, kv_head, head_dim]`.
    Keys(usize),
    /// The values of a layer, of every position so far: `[position, kv_head, head_dim]`.
    Values(usize),
}

/// The tokens of one forward.
#[derive(Clone, Copy, Debug)]
pub struct Span<'a> {
    /// The ids fed.
    pub ids: &'a [u32],
    /// Position of the first of them.
    pub first: usize,
}

/// What the op at `site` reads, in the order of [`evaluate`]'s `inputs`. The embedding reads only ids.
pub fn inputs(site: Site, config: &Config) -> Vec<Input> {
    use Activation as A;
    let here = |activation| Input::Site(Site::new(site.layer, activation));
    let residual = match (site.activation, site.layer) {
        (A::FinalNorm, _) => Input::Site(Site::new(config.num_hidden_layers - 1, A::Block)),
        (_, 0) => Input::Site(Site::whole(A::EmbedTokens)),
        (_, layer) => Input::Site(Site::new(layer - 1, A::Block)),
    };
    match site.activation {
        A::EmbedTokens => vec![],
        A::InputNorm | A::FinalNorm => vec![residual],
        A::QProj | A::KProj | A::VProj => vec![here(A::InputNorm)],
        A::QNorm => vec![here(A::QProj)],
        A::KNorm => vec![here(A::KProj)],
        A::QRope => vec![here(if config.qk_norm { A::QNorm } else { A::QProj })],
        A::KRope => vec![here(if config.qk_norm { A::KNorm } else { A::KProj })],
        A::Scores => vec![here(A::QRope), Input::Keys(site.layer)],
        A::Probs => vec![here(A::Scores)],
        A::Context => vec![here(A::Probs), Input::Values(site.layer)],
        A::OProj => vec![here(A::Context)],
        A::ResidMid => vec![residual, here(A::OProj)],
        A::PostAttentionNorm => vec![here(A::ResidMid)],
        A::GateProj | A::UpProj => vec![here(A::PostAttentionNorm)],
        A::ActFn => vec![here(A::GateProj)],
        A::ActMul => vec![here(A::ActFn), here(A::UpProj)],
        A::DownProj => vec![here(A::ActMul)],
        A::Block => vec![here(A::ResidMid), here(A::DownProj)],
        A::LmHead => vec![Input::Site(Site::whole(A::FinalNorm))],
    }
}

/// Runs the op at `site` on `values`, which stand in the order of [`inputs`]; shapes are those of the table.
///
/// # Panics
/// When a value is missing or has another shape: callers take shapes from the table.
pub fn evaluate<T: Real>(
    model: &Model,
    site: Site,
    span: Span,
    values: &[ArrayViewD<T>],
    compute: Compute,
) -> super::Value<T> {
    use Activation as A;
    let c = &model.config;
    let layer = model.layers.get(site.layer);
    let w = || layer.expect("the program holds only layers that the model has");
    let operands: Vec<_> =
        values.iter().enumerate().map(|(index, x)| compute.operand(site.activation, index, x.view())).collect();
    let x = |index: usize| operands[index].view();
    let eps = c.rms_norm_eps;
    let rounding = compute.rounding;
    let format = ops::Format { rounding, operands: compute.operands };
    let project = |weight: &Linear| {
        let bias = weight.bias.as_ref().map(|bias| bias.view());
        linear(flat(x(0)), &weight.weight.matrix(), bias, format).into_dyn()
    };
    let norm = |weight: &ndarray::Array1<f32>| rms_norm(x(0), weight.view(), eps, rounding);
    let head_norm = |weight: Option<&ndarray::Array1<f32>>| {
        let weight = weight.expect("models with q/k norms have been loaded with their weights");
        rms_norm(per_head(x(0), c.head_dim), weight.view(), eps, rounding).into_dyn()
    };

    match site.activation {
        A::EmbedTokens => ops::embed(span.ids, &model.embed_tokens.matrix(), rounding).into_dyn(),
        A::InputNorm => norm(&w().input_layernorm),
        A::QProj => project(&w().q_proj),
        A::KProj => project(&w().k_proj),
        A::VProj => project(&w().v_proj),
        A::QNorm => head_norm(w().q_norm.as_ref()),
        A::KNorm => head_norm(w().k_norm.as_ref()),
        A::QRope | A::KRope => {
            let nudged = compute.nudge.map(|seed| c.frequencies.nudged(seed));
            let frequencies = nudged.as_ref().unwrap_or(&c.frequencies);
            rope(per_head(x(0), c.head_dim), span.first, frequencies, rounding).into_dyn()
        }
        A::Scores => {
            let mask = Mask { first: span.first, window: c.sliding_window[site.layer] };
            ops::scores(cube(x(0)), cube(x(1)), (c.head_dim as f64).sqrt().recip(), mask, rounding).into_dyn()
        }
        A::Probs => ops::softmax(cube(x(0)), rounding).into_dyn(),
        A::Context if compute.operands == Operands::F16Sums => {
            ops::context_in_f16_sums(cube(x(0)), cube(x(1))).into_dyn()
        }
        A::Context => ops::context(cube(x(0)), cube(x(1)), rounding).into_dyn(),
        A::OProj => project(&w().o_proj),
        A::ResidMid | A::Block => ops::add(x(0), x(1), rounding),
        A::PostAttentionNorm => norm(&w().post_attention_layernorm),
        A::GateProj => project(&w().gate_proj),
        A::UpProj => project(&w().up_proj),
        A::ActFn => c.hidden_act.apply(x(0), rounding),
        A::ActMul => ops::multiply(x(0), x(1), rounding),
        A::DownProj => project(&w().down_proj),
        A::FinalNorm => norm(&model.norm),
        A::LmHead => linear(flat(x(0)), &model.lm_head.matrix(), None, format).into_dyn(),
    }
    .into_shared()
}

fn flat<T: Real>(x: ArrayViewD<T>) -> ArrayView2<T> {
    x.into_dimensionality::<Ix2>().expect("the table says [token, channel]")
}

fn cube<T: Real>(x: ArrayViewD<T>) -> ArrayView3<T> {
    x.into_dimensionality::<Ix3>().expect("the table says three axes")
}

/// `[token, head * head_dim]` → `[head, token, head_dim]`; what is already per head stays as it is.
fn per_head<T: Real>(x: ArrayViewD<T>, head_dim: usize) -> ArrayView3<T> {
    if x.ndim() == 3 {
        return cube(x);
    }
    let x = flat(x);
    let (tokens, features) = x.dim();
    x.into_shape_with_order((tokens, features / head_dim, head_dim))
        .expect("an activation is contiguous, its features a whole number of heads")
        .permuted_axes([1, 0, 2])
}
