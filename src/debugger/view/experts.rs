//! The experts of a layer: who is given which.

use super::Witness;

/// What a pane wants to show of the experts of a layer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpertsRequest {
    /// The layer; where it has no experts, the next one that has; behind the last of these, that one.
    pub layer: usize,
    /// Whose choice.
    pub of: Witness,
    /// Whose choice it is held against.
    pub against: Option<Witness>,
}

/// What the router of a layer chooses in the current forward.
#[derive(Clone, Debug)]
pub struct ExpertsPage {
    /// The layer.
    pub layer: usize,
    /// Whose choice it is.
    pub of: Witness,
    /// Whose choice it is held against; `None` where that witness does not have it.
    pub against: Option<Witness>,
    /// Experts that a token is given.
    pub top_k: usize,
    /// For each expert, how many tokens it is given.
    pub load: Vec<usize>,
    /// Every token of the forward that the witness has.
    pub tokens: Vec<Routed>,
}

/// The experts of a token.
#[derive(Clone, Debug, PartialEq)]
pub struct Routed {
    /// Position in the sequence.
    pub position: usize,
    /// Its experts and what they weigh, the heaviest first.
    pub experts: Vec<(usize, f32)>,
    /// The nearest other choice; `None` where the logits are not there, or all experts are chosen.
    pub nearest: Option<Nearest>,
    /// What the other witness chooses, where that is something else.
    pub other: Option<Other>,
}

/// An expert that nearly was chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nearest {
    /// The chosen expert that it would take the place of.
    pub chosen: usize,
    /// Itself.
    pub left_out: usize,
    /// How much less it has of what experts are compared by: logits, or scores with a bias.
    pub margin: f64,
}

/// Another choice for the same token.
#[derive(Clone, Debug, PartialEq)]
pub struct Other {
    /// The experts and what they weigh, the heaviest first.
    pub experts: Vec<(usize, f32)>,
    /// Whether rounding decides between the two: correct programs choose differently.
    pub is_tie: bool,
}
