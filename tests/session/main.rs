//! Debug sessions as files: what they hold, those of `sessions/` replayed, and scripts of commands.

mod file;
mod recorded;
mod scripts;
#[path = "../support/mod.rs"]
mod support;
