//! One op on given inputs: one `match` arm and one equation per activation.
//!
//! A run evaluates ops on its own slots; a diagnosis evaluates the same ops on a dump's tensors.

use ndarray::{ArrayView2, ArrayView3, ArrayViewD, Ix2, Ix3};

use super::activation::Activation;
use super::name::Site;
use crate::model::{Config, Linear, Model};
use crate::ops::{self, Mask, linear, rms_norm, rope};

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
pub fn evaluate(model: &Model, site: Site, span: Span, values: &[ArrayViewD<f32>]) -> super::Value {
    use Activation as A;
    let c = &model.config;
    let layer = model.layers.get(site.layer);
    let w = || layer.expect("the program holds only layers that the model has");
    let x = |index: usize| values[index].view();
    let rows = |index: usize| flat(&values[index]);
    let heads = |index: usize| per_head(&values[index], c.head_dim);
    let eps = c.rms_norm_eps;

    match site.activation {
        A::EmbedTokens => ops::embed(span.ids, &model.embed_tokens.matrix()).into_dyn(),
        A::InputNorm => rms_norm(x(0), w().input_layernorm.view(), eps),
        A::QProj => project(rows(0), &w().q_proj),
        A::KProj => project(rows(0), &w().k_proj),
        A::VProj => project(rows(0), &w().v_proj),
        A::QNorm => rms_norm(heads(0), head_norm(w().q_norm.as_ref()), eps).into_dyn(),
        A::KNorm => rms_norm(heads(0), head_norm(w().k_norm.as_ref()), eps).into_dyn(),
        A::QRope | A::KRope => rope(heads(0), span.first, &c.frequencies).into_dyn(),
        A::Scores => {
            let mask = Mask { first: span.first, window: c.sliding_window[site.layer] };
            ops::scores(cube(&values[0]), cube(&values[1]), (c.head_dim as f32).sqrt().recip(), mask).into_dyn()
        }
        A::Probs => ops::softmax(cube(&values[0])).into_dyn(),
        A::Context => ops::context(cube(&values[0]), cube(&values[1])).into_dyn(),
        A::OProj => project(rows(0), &w().o_proj),
        A::ResidMid | A::Block => &x(0) + &x(1),
        A::PostAttentionNorm => rms_norm(x(0), w().post_attention_layernorm.view(), eps),
        A::GateProj => project(rows(0), &w().gate_proj),
        A::UpProj => project(rows(0), &w().up_proj),
        A::ActFn => c.hidden_act.apply(x(0)),
        A::ActMul => ops::multiply(x(0), x(1)),
        A::DownProj => project(rows(0), &w().down_proj),
        A::FinalNorm => rms_norm(x(0), model.norm.view(), eps),
        A::LmHead => linear(rows(0), &model.lm_head.matrix(), None).into_dyn(),
    }
    .into_shared()
}

fn project(x: ArrayView2<f32>, w: &Linear) -> ndarray::ArrayD<f32> {
    linear(x, &w.weight.matrix(), w.bias.as_ref().map(|bias| bias.view())).into_dyn()
}

fn head_norm(weight: Option<&ndarray::Array1<f32>>) -> ndarray::ArrayView1<'_, f32> {
    weight.expect("models with q/k norms have been loaded with their weights").view()
}

fn flat<'a>(x: &'a ArrayViewD<f32>) -> ArrayView2<'a, f32> {
    x.view().into_dimensionality::<Ix2>().expect("the table says [token, channel]")
}

fn cube<'a>(x: &'a ArrayViewD<f32>) -> ArrayView3<'a, f32> {
    x.view().into_dimensionality::<Ix3>().expect("the table says three axes")
}

/// `[token, head * head_dim]` → `[head, token, head_dim]`; what is already per head stays as it is.
fn per_head<'a>(x: &'a ArrayViewD<f32>, head_dim: usize) -> ArrayView3<'a, f32> {
    if x.ndim() == 3 {
        return cube(x);
    }
    let (tokens, features) = flat(x).dim();
    x.view()
        .into_shape_with_order((tokens, features / head_dim, head_dim))
        .expect("an activation is contiguous, its features a whole number of heads")
        .permuted_axes([1, 0, 2])
}
