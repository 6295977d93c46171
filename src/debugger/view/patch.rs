//! What front ends see of patches.

/// One patch of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatchLine {
    /// What `unpatch` calls it: it does not change, and no other patch gets it.
    pub number: usize,
    /// The command that makes it.
    pub text: String,
    /// Activations that it changes.
    pub activations: usize,
    /// Whether any of them is computed by now.
    pub applies: bool,
}

/// What the patches do to the last token's logits of one forward.
#[derive(Clone, Debug, PartialEq)]
pub struct Effect {
    /// Which forward.
    pub forward: usize,
    /// The likeliest tokens without patches, best first.
    pub before: Vec<Chance>,
    /// The likeliest tokens with the patches, best first.
    pub after: Vec<Chance>,
    /// The divergence of Kullback and Leibler of the patched distribution from the other, in nats: 0 where they are the
    /// same, infinite where the patched one excludes what the other does not, NaN where a logit is.
    pub kl: f64,
    /// The rank that the likeliest token without patches has with them: 1 is the likeliest. NaN ranks last.
    pub rank: usize,
    /// Its probability with the patches.
    pub probability: f64,
}

/// A token and its probability.
#[derive(Clone, Debug, PartialEq)]
pub struct Chance {
    /// The token's id.
    pub id: u32,
    /// Its text; empty without a tokenizer.
    pub text: String,
    /// Its probability.
    pub probability: f64,
}
