//! The product without a screen: commands in, plain views out. Synchronous; no thread, no clock, no printing.

mod attention;
mod cache;
pub mod command;
mod histogram;
mod kept;
mod lens;
mod listing;
mod page;
mod record;
mod reload;
mod state;
pub mod view;
mod whole;
mod why;

pub use command::{COMMANDS, Command, Spec};
pub use reload::Opener;
pub use state::{Debugger, Session};
pub use why::Switched;
