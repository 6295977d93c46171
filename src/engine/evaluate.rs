//! What each op reads, and one op on given inputs.
//!
//! A run evaluates ops on its own slots; a diagnosis evaluates the same ops on a dump's tensors.

use ndarray::ArrayViewD;

use super::activation::Activation;
use super::compute::Compute;
use super::name::Site;
use super::op::Step;
use crate::model::{Config, Model};
use crate::ops::Real;

/// What an op reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// An activation of the same forward.
    Site(Site),
    /// The rotated keys of a layer, of every position so far: `[position, kv_head, head_dim]`.
    Keys(usize),
    /// The values of a layer, of every position so far: `[position, kv_head, head_dim]`.
    Values(usize),
    /// An activation of the layer before: no model reads it, a port that forgets to overwrite it does.
    Stale(Site),
}

impl Input {
    /// The activation that it is.
    pub fn site(self) -> Site {
        match self {
            Self::Site(site) | Self::Stale(site) => site,
            Self::Keys(layer) => Site::new(layer, Activation::KRope),
            Self::Values(layer) => Site::new(layer, Activation::VProj),
        }
    }
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
    Step::of(model, site, span).apply(values, compute)
}
