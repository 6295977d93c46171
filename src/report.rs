//! Reports for people who were not there: what was found, as a page, as text for an issue, as a result for CI.
//!
//! A [`Document`] is plain data. It is made of a comparison ([`Document::of`]), gets its tokens and pictures from a debugger
//! that is taken to the culprit ([`Document::add_pictures`]), and may tell a story ([`Passage`]). What sets it knows nothing else:
//! [`html`] makes one self-contained page, [`markdown`] a text for an issue tracker, [`junit`] a test suite.

mod clean;
mod curve;
mod document;
mod html;
mod junit;
mod markdown;
mod number;
mod picture;
mod row;
mod taking;
mod template;

pub use clean::printable;
pub use document::{Document, Passage};
pub use html::html;
pub use junit::junit;
pub use markdown::markdown;
pub use picture::{Figure, Picture, Plate};
pub use row::Cells;
