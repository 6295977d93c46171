//! Which mistake makes the tensor that was dumped: every known mistake of ports is tried on the dump's own inputs, and
//! the one that reproduces the tensor is named.
//!
//! A [`Suspect`] is a declaration: an id, what people see, what to do, the ops it applies to, and the changed ops to try
//! ([`Variant`]), which are those of the graph with another constant, other weights or other inputs. [`search`] tries them;
//! [`shape`] describes an error that none of them makes.

mod attention;
mod embedding;
mod experts;
pub(super) mod fit;
mod knobs;
mod labels;
mod layouts;
mod mlp;
mod norms;
mod numbers;
pub mod over_span;
mod pairs;
mod projections;
mod residual;
mod rope;
pub mod scene;
pub mod search;
pub mod shape;
mod spectroscopy;
pub mod switch;

use crate::engine::{Edit, Role};
pub use knobs::Back;
use scene::Scene;

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

    /// Whether it should have shown in the forwards before, where the op was right: a small one may have been too small
    /// there, and an engine may have other code for decode steps.
    pub fn is_late(&self, scene: &Scene) -> bool {
        rope::shows_from(self).is_some_and(|position| position < scene.right_until)
    }

    /// What it is and what to do: models have some constants the one way or the other.
    pub fn said(&self, scene: &Scene) -> (&'static str, &'static str) {
        let back = self.back().filter(|back| (back.of)(scene));
        back.map_or((self.summary, self.fix), |back| (back.summary, back.fix))
    }

    /// The same mistake the other way round, if models have it both ways.
    pub fn back(&self) -> Option<&'static Back> {
        knobs::BACK.iter().find(|back| back.id == self.id)
    }
}

impl Variant {
    fn new(words: impl Into<String>, edit: Edit) -> Self {
        Self { words: words.into(), edit }
    }
}

/// Every suspect, the more specific one first where two can tie.
pub fn all() -> impl Iterator<Item = &'static Suspect> {
    [
        labels::SUSPECTS,
        embedding::SUSPECTS,
        norms::SUSPECTS,
        residual::SUSPECTS,
        mlp::SUSPECTS,
        experts::SUSPECTS,
        layouts::SUSPECTS,
        projections::SUSPECTS,
        rope::SUSPECTS,
        attention::SUSPECTS,
        projections::STALE,
        numbers::SUSPECTS,
    ]
    .into_iter()
    .flatten()
}

/// The suspect with this id.
pub fn named(id: &str) -> Option<&'static Suspect> {
    all().find(|suspect| suspect.id == id)
}

/// No changed op to try: a mistake of a dump's labels.
fn none(_: &Scene) -> Vec<Variant> {
    Vec::new()
}
