//! Which suspects make a tensor, of which all inputs were dumped or not.

use std::sync::atomic::AtomicBool;

use super::over_span;
use super::scene::Scene;
use super::search::{self, Accused};

/// The suspects that reproduce what the dump has, best first; one `unknown` with the shape of the error if none does. Once
/// `interrupt` is set, what is found is not all.
pub fn find(scene: &Scene, interrupt: &AtomicBool) -> Vec<Accused> {
    match &scene.gap {
        Some(gap) => over_span::search(scene, gap, interrupt),
        None => search::in_op(scene, interrupt),
    }
}
