//! Which mistake makes the tensor that was dumped: every known mistake of ports is tried on the dump's own inputs, and
//! the one that reproduces the tensor is named.
//!
//! A [`Suspect`] is a declaration: an id, what people see, what to do, the ops it applies to, and the changed ops to try
//! ([`Variant`]), which are those of the graph with another constant, other weights or other inputs. [`search`] tries them;
//! [`shape`] describes an error that none of them makes.

mod attention;
mod back;
mod cache;
mod dials;
mod embedding;
mod experts;
mod factors;
pub(super) mod fit;
mod kinds;
mod knobs;
mod labels;
mod layouts;
mod masks;
mod mixers;
mod mlp;
mod norms;
mod numbers;
pub mod over_span;
mod pairs;
mod pooling;
mod projections;
mod residual;
mod rope;
mod router;
pub mod scene;
pub mod search;
pub mod shape;
mod shards;
mod sinks;
mod spectroscopy;
mod suspect;
pub mod switch;
mod wiring;

pub use back::Back;
use scene::Scene;
use search::Accused;
pub use suspect::{Suspect, Variant};

/// Another way of making what `accused` makes in one forward, which later forwards tell apart.
pub fn in_another_way(accused: &Accused) -> Option<Accused> {
    let edit = accused.edit.as_ref()?;
    let Variant { words, edit } = rope::other_ways(edit).or_else(|| cache::later_slots(edit))?;
    let summary = format!("{}: {words}", named(accused.id)?.summary);
    Some(Accused { summary, edit: Some(edit), ..accused.clone() })
}

impl Suspect {
    /// Whether it should have shown in the forwards before, where the op was right: a small one may have been too small
    /// there, and an engine may have other code for decode steps.
    pub fn is_late(&self, scene: &Scene) -> bool {
        rope::shows_from(self).is_some_and(|position| position < scene.right_until)
    }

    /// What it is and what to do: models have some constants the one way or the other.
    pub fn said(&self, scene: &Scene) -> (&'static str, &'static str) {
        let back = back::BACK.iter().find(|back| back.id == self.id && (back.of)(scene));
        back.map_or((self.summary, self.fix), |back| (back.summary, back.fix))
    }

    /// The same mistake the other way round, if models have it both ways.
    pub fn back(&self) -> Option<&'static Back> {
        back::BACK.iter().find(|back| back.id == self.id)
    }
}

/// Every suspect, the more specific one first where two can tie.
pub fn all() -> impl Iterator<Item = &'static Suspect> {
    [
        labels::SUSPECTS,
        embedding::SUSPECTS,
        norms::SUSPECTS,
        factors::SUSPECTS,
        residual::SUSPECTS,
        wiring::SUSPECTS,
        mlp::SUSPECTS,
        experts::SUSPECTS,
        router::SUSPECTS,
        mixers::SUSPECTS,
        layouts::SUSPECTS,
        projections::SUSPECTS,
        shards::SUSPECTS,
        kinds::SUSPECTS,
        rope::SUSPECTS,
        masks::SUSPECTS,
        attention::SUSPECTS,
        sinks::SUSPECTS,
        cache::SUSPECTS,
        pooling::SUSPECTS,
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
