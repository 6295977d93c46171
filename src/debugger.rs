//! The product without a screen: commands in, plain views out. Synchronous; no thread, no clock, no printing.

pub mod command;
pub mod export;
pub mod expression;
pub mod heat;
mod listing;
mod page;
mod record;
mod reload;
mod state;
pub mod view;
mod why;

pub use command::{COMMANDS, Command, Spec};
pub use reload::Opener;
pub use state::{Debugger, Session};
pub use why::Switched;
