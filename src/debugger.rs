//! The product without a screen: commands in, plain views out. Synchronous; no thread, no clock, no printing.

pub mod command;
pub mod completion;
mod listing;
mod moving;
mod page;
mod record;
mod reload;
mod saying;
mod state;
mod stops;
mod tokens;
pub mod view;
mod why;

pub use command::{COMMANDS, Command, Group, Key, Motion, Spec, Topic};
pub use record::DEFAULT_MEMORY;
pub use reload::Opener;
pub use state::{Debugger, Session};
pub use why::Switched;
