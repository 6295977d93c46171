//! The product without a screen: commands in, plain views out. Synchronous; no thread, no clock, no printing.

mod attention;
mod cache;
pub mod command;
pub mod completion;
pub mod export;
pub mod expression;
pub mod heat;
mod histogram;
mod kept;
mod lens;
mod listing;
mod moving;
mod page;
pub mod patch;
mod record;
mod reload;
mod saying;
mod state;
mod stops;
mod tokens;
mod verdict;
pub mod view;
mod whole;
mod why;

pub use command::{COMMANDS, Command, Group, Key, Motion, Spec, Topic};
pub use patch::{PatchRequest, Unpatch};
pub use record::DEFAULT_MEMORY;
pub use reload::Opener;
pub use state::{Debugger, Session};
pub use why::Switched;
