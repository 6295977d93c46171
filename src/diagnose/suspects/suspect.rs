//! A known mistake, as a declaration.

use super::scene::Scene;
use crate::engine::{Edit, Role};

/// A mistake that ports make.
#[derive(Debug)]
pub struct Suspect {
    /// Its published id.
    pub id: &'static str,
    /// What it is, in one sentence.
    pub summary: &'static str,
    /// The ops that it makes wrong, by what they are for; none for mistakes of a dump, which have no op.
    pub ops: &'static [Role],
    /// How it shows.
    pub symptom: &'static str,
    /// How it comes about.
    pub cause: &'static str,
    /// What to do.
    pub fix: &'static str,
    /// Public threads where it was seen.
    pub seen: &'static str,
    /// What to try on an op.
    pub variants: fn(&Scene) -> Vec<Variant>,
}

/// One way of making a mistake.
#[derive(Clone, Debug)]
pub struct Variant {
    /// What is computed, and what the model wants: "theta 10000 where the model has 500000".
    pub words: String,
    /// The changed op.
    pub edit: Edit,
}

impl Suspect {
    /// Whether an op that is for `role` can be wrong in this way.
    pub fn is_of(&self, role: Option<Role>) -> bool {
        role.is_some_and(|role| self.ops.contains(&role))
    }
}

impl Variant {
    pub(super) fn new(words: impl Into<String>, edit: Edit) -> Self {
        Self { words: words.into(), edit }
    }
}

/// No changed op to try: a mistake of a dump's labels.
pub(super) fn none(_: &Scene) -> Vec<Variant> {
    Vec::new()
}
