//! Two mistakes in one op: tried where none alone makes the tensor.

use std::sync::atomic::{AtomicBool, Ordering};

use super::scene::Scene;
use super::search::{Accused, nearest, try_on};
use super::{Suspect, Variant, all};
use crate::engine::Edit;

/// Ways of making one mistake that are paired with others.
const WAYS: usize = 3;

/// Mistakes that are paired: stacked bugs are common, large catalogues of pairs are not worth the wait.
const MOST: usize = 32;

/// The two mistakes that together reproduce what the dump has, if two do.
pub(super) fn search(scene: &Scene, interrupt: &AtomicBool) -> Vec<Accused> {
    let here = |suspect: &&'static Suspect| suspect.is_of(scene.role());
    let ways =
        |suspect: &'static Suspect| (suspect.variants)(scene).into_iter().take(WAYS).map(move |way| (suspect, way));
    let single: Vec<(&'static Suspect, Variant)> = all().filter(here).flat_map(ways).take(MOST).collect();
    let mut found: Vec<(Accused, &'static Suspect)> = Vec::new();
    for (index, (first, one)) in single.iter().enumerate() {
        if interrupt.load(Ordering::Relaxed) {
            break;
        }
        for (second, other) in single[index + 1..].iter().filter(|(second, _)| second.id != first.id) {
            found.extend(try_on(scene, first, both(one, other)).map(|accused| (accused, *second)));
        }
    }
    let (accused, seconds): (Vec<Accused>, Vec<&'static Suspect>) = found.into_iter().unzip();
    let Some(best) = nearest(accused.clone(), scene.terms.least).into_iter().next() else { return Vec::new() };
    let at = accused.iter().position(|accused| accused.summary == best.summary).unwrap_or_default();
    let with =
        |id: &'static str| Accused { id, summary: format!("two mistakes in one op: {}", best.summary), ..best.clone() };
    vec![with(best.id), Accused { fix: seconds[at].fix, ..with(seconds[at].id) }]
}

/// One mistake, then the other.
fn both(one: &Variant, other: &Variant) -> Variant {
    let edits = [one, other].map(|variant| variant.edit.clone());
    Variant::new(format!("{}, and {}", one.words, other.words), Edit::All(edits.into()))
}
