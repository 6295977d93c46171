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
mod looked;
mod moving;
mod page;
pub mod patch;
mod record;
mod recorded;
mod reload;
mod saying;
mod state;
mod stops;
mod tape;
mod tokens;
mod verdict;
pub mod view;
mod whole;
mod why;

pub use command::{COMMANDS, Command, Group, Key, Motion, Spec, Topic};
pub use looked::{LensSeen, Look, Looks, Seen};
pub use patch::{PatchRequest, Unpatch};
pub use record::DEFAULT_MEMORY;
pub use reload::Opener;
pub use state::{Debugger, Session};
pub use tape::{Moment, Tape};
pub use why::Switched;

pub use crate::model::families::without_base;
pub use crate::model::graph::in_layers;
