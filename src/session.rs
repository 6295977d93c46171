//! Sessions: what was typed, answered and seen, as files.
//!
//! `NAME.session` is text: a TOML header that says what was debugged, a line `---`, then the commands, each with its
//! answers. `NAME.safetensors` beside it holds the values that were looked at.

mod error;
pub mod escape;
pub mod file;
pub mod header;
pub mod journal;
pub mod pack;
pub mod place;
pub mod redact;

pub use error::Error;
pub use file::{Answer, Line, Text, save};
pub use header::Header;
pub use journal::Journal;
pub use place::relative;
