//! The product without a screen: commands in, plain views out. Synchronous; no thread, no clock, no printing.

mod attention;
mod cache;
mod captured;
pub mod command;
mod comparison;
pub mod completion;
pub mod export;
pub mod expression;
mod full;
pub mod heat;
mod histogram;
mod lens;
mod listing;
mod memo;
pub mod messages;
mod obey;
mod page;
mod pass;
pub mod patch;
mod reload;
mod session;
mod state;
mod stops;
mod suspected;
mod tape;
mod trace;
pub mod view;
mod why;

pub use captured::{LensSeen, Look, Looks};
pub use command::{COMMANDS, Command, Group, Key, Motion, Spec, Topic};
pub use page::Request;
pub use patch::{PatchRequest, Unpatch};
pub use session::{Opener, Session};
pub use state::Debugger;
pub use suspected::Switched;
pub use tape::{Moment, Tape};
pub use trace::DEFAULT_MEMORY;

pub use crate::model::families::without_base;
pub use crate::model::graph::in_layers;
