//! The logit lens: what the model would say after each block.

use serde::{Deserialize, Serialize};

use super::{Token, Witness};

/// What a pane wants to show of the logit lens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LensRequest {
    /// The token: a row of the current forward.
    pub token: usize,
    /// Whose residual stream.
    pub shown: Witness,
    /// How many of the most probable tokens of each row.
    pub top: usize,
    /// The token that is followed through all rows; `None`: the first of the last row.
    pub chosen: Option<u32>,
    /// Whether the residual stream between attention and MLP has rows, too.
    pub mid: bool,
}

/// What the model would say after each block: the final norm and the head, applied to the residual stream there.
///
/// nostalgebraist, "interpreting GPT: the logit lens" (2020). The divergence is `KL(final || row)`, as in Belrose et al.,
/// arXiv 2303.08112.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LensPage {
    /// The token's row: the last one, where the request was for one beyond.
    pub token: usize,
    /// Its position in the sequence.
    pub position: usize,
    /// Whose residual stream.
    pub shown: Witness,
    /// Whose stands beside it; `None` where there is no other.
    pub against: Option<Witness>,
    /// The token that is followed.
    pub chosen: Token,
    /// From the embedding to the last block that is there, then the model's own logits.
    pub rows: Vec<LensRow>,
    /// Tokens that there are: what ranks are out of.
    pub vocab: usize,
    /// What is missing.
    pub notes: Vec<String>,
}

/// One place of the residual stream, or the logits.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LensRow {
    /// Row of the listing.
    pub row: usize,
    /// `embed_tokens`, `3.resid_mid`, `3` for the output of block 3, `lm_head` for the logits.
    pub name: String,
    /// The layer it belongs to.
    pub layer: Option<usize>,
    /// The most probable tokens, the first one first.
    pub top: Vec<TokenLine>,
    /// Of the followed token: one more than there are tokens with a larger logit.
    pub rank: usize,
    /// Of the followed token.
    pub probability: f64,
    /// Of the followed token.
    pub logit: f64,
    /// In nats.
    pub entropy: f64,
    /// How far the final distribution lies from this one, in nats; `None` before the last block is there.
    pub divergence: Option<f64>,
    /// The other witness at the same place; `None` where it does not have it.
    pub against: Option<LensBeside>,
}

/// One token of a distribution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenLine {
    /// The token; its text as in [`super::Header::tokens`].
    pub token: Token,
    /// Its probability.
    pub probability: f64,
    /// Its logit.
    pub logit: f64,
}

/// The other witness.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LensBeside {
    /// Its most probable token; `None` where no logit is a number.
    pub top: Option<TokenLine>,
    /// Of the followed token.
    pub rank: usize,
    /// Of the followed token.
    pub probability: f64,
}
