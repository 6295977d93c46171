//! One mistake at several places: what is accused in one layer or forward is tried first in the others.

use super::suspects::scene::Scene;
use super::suspects::search::Accused;
use super::suspects::{self, search};

/// Of the mistakes that are `known` to make an op in another layer, those that make it here, too.
pub(super) fn again(known: &[Accused], scene: &Scene) -> Vec<Accused> {
    known.iter().filter_map(|suspect| search::one(scene, suspects::named(suspect.id)?)).collect()
}

/// Of several mistakes that make a tensor, those that make it in a later forward, too, and in the same words: one token
/// is normed by a number, every token by another.
pub(super) fn narrow(accused: &mut Vec<Accused>, scene: &Scene) {
    let again = |accused: &Accused| {
        let again = suspects::named(accused.id).and_then(|suspect| search::one(scene, suspect));
        // What the cache holds is another thing in each step.
        again.is_some_and(|again| again.summary == accused.summary || accused.id.starts_with("kv_cache"))
    };
    let in_both: Vec<Accused> = accused.iter().filter(|accused| again(accused)).cloned().collect();
    if !in_both.is_empty() {
        *accused = in_both;
    }
}
