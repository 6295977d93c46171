//! Drawings of numbers. They know nothing of the screen they stand on.

pub(crate) mod bars;
pub(crate) mod curve;
pub(crate) mod grid;
pub(crate) mod heatmap;
