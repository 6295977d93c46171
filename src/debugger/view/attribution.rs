//! What each part of the model adds to the logit of a token.

use super::Token;

/// Direct logit attribution: the logit of one token at the last position, as a sum over what writes to the residual stream.
///
/// Elhage et al., "A Mathematical Framework for Transformer Circuits" (2021): the head is linear, and so is the final norm
/// once what it divides by is taken as it is. Where a norm follows attention or MLP, it is taken in the same way.
#[derive(Clone, Debug, PartialEq)]
pub struct Attribution {
    /// The token.
    pub token: Token,
    /// Position of the token whose next one it is.
    pub position: usize,
    /// Its logit, before what follows the head.
    pub logit: f64,
    /// What the stream starts with.
    pub embedding: Vec<Contribution>,
    /// Layer by layer.
    pub layers: Vec<LayerParts>,
    /// The bias of the final norm; 0 where it has none.
    pub bias: f64,
    /// The logit less all of these: what patches and suspects add elsewhere, else rounding.
    pub rest: f64,
}

/// What one part adds.
#[derive(Clone, Debug, PartialEq)]
pub struct Contribution {
    /// `embed_tokens`
    pub name: String,
    /// In logits.
    pub value: f64,
}

/// What a layer adds, in logits.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerParts {
    /// Attention: its heads and its bias.
    pub attention: f64,
    /// Each head.
    pub heads: Vec<f64>,
    /// The MLP.
    pub mlp: f64,
}

impl Attribution {
    /// All that is attributed: the logit less the rest.
    pub fn sum(&self) -> f64 {
        let embedding: f64 = self.embedding.iter().map(|part| part.value).sum();
        let layers: f64 = self.layers.iter().map(|layer| layer.attention + layer.mlp).sum();
        embedding + layers + self.bias
    }
}
