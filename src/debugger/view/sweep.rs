//! What leaving out parts of the model does to its answer.

use super::Token;
use crate::metrics::HeadNumbers;

/// Which parts are left out, one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swept {
    /// Heads of attention.
    Heads,
    /// Layers: attention and MLP.
    Layers,
    /// MLPs.
    Mlp,
}

impl Swept {
    /// The word that asks for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Heads => "heads",
            Self::Layers => "layers",
            Self::Mlp => "mlp",
        }
    }
}

/// What becomes of the last token's distribution without each part.
///
/// A part is left out by zero ablation: what a head gives to the output projection, or what attention and MLP add to the
/// residual stream, is zero for every token, in this forward and those before.
#[derive(Clone, Debug, PartialEq)]
pub struct Sweep {
    /// Which parts.
    pub of: Swept,
    /// The token whose logit is watched.
    pub token: Token,
    /// Its logit with all parts.
    pub logit: f64,
    /// Its probability with all parts.
    pub probability: f64,
    /// In the order of the model.
    pub parts: Vec<SweptPart>,
}

/// What becomes of it without one part.
#[derive(Clone, Debug, PartialEq)]
pub struct SweptPart {
    /// The layer.
    pub layer: usize,
    /// The head, of heads.
    pub head: Option<usize>,
    /// `KL(with || without)` in nats.
    pub kl: f64,
    /// The watched token's logit without it, less that with it.
    pub change: f64,
    /// The likeliest token without it.
    pub likeliest: Token,
    /// What a head's pattern over the prompt says.
    pub numbers: Option<HeadNumbers>,
}

impl SweptPart {
    /// `8.3` for a head, `8` for a layer: as `ablate head` and `skip` take it.
    pub fn name(&self) -> String {
        self.head.map_or_else(|| self.layer.to_string(), |head| format!("{}.{head}", self.layer))
    }
}

impl Sweep {
    /// The parts, the one without which the distribution changes most first.
    pub fn ranked(&self) -> Vec<&SweptPart> {
        let mut ranked: Vec<&SweptPart> = self.parts.iter().collect();
        ranked.sort_by(|a, b| b.kl.total_cmp(&a.kl));
        ranked
    }
}
