//! The product without a screen: commands in, plain views out. Synchronous; no thread, no clock, no printing.

pub mod command;
mod page;
mod record;
mod state;
pub mod view;

pub use command::{COMMANDS, Command, Spec};
pub use state::{Debugger, Session};
