//! The product without a screen: commands in, plain views out. Synchronous; no thread, no clock, no printing.

pub mod command;
pub mod view;

pub use command::{COMMANDS, Command, Spec};
