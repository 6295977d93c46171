//! The product without a screen: commands in, plain views out. Synchronous; no thread, no clock, no printing.

pub mod command;
mod listing;
mod page;
pub mod patch;
mod record;
mod reload;
mod state;
pub mod view;
mod why;

pub use command::{COMMANDS, Command, Spec};
pub use patch::{PatchRequest, Unpatch};
pub use reload::Opener;
pub use state::{Debugger, Session};
pub use why::Switched;
