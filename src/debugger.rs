//! The product without a screen: commands in, plain views out. Synchronous; no thread, no clock, no printing.
//!
//! | file | what it is |
//! |---|---|
//! | `state` | the debugger: the values of the next line, and what makes them anew |
//! | `session`, `pass`, `comparison`, `stops`, `patch/list`, `suspected`, `memo`, `captured` | what is loaded, where our run stands, what is compared, what is set, what is remembered |
//! | `obey` | what commands do; `patch`, `why`, `reload`, `export`, `sweep` and `attribution` are the longer ones |
//! | `outlook` | what the comparison will find, made beside the debugger |
//! | `full`, `queries`, `tape` | what a witness has of an activation: computed, dumped or recorded |
//! | `two_dumps` | a debugger of two dumps without their model, which computes nothing |
//! | `page` and a file for each page, `sheet` for what fits a pane; `listing`, `messages`, `expression` | what is made of it, and changes nothing |

mod attention;
pub mod attribution;
mod cache;
mod captured;
pub mod command;
mod comparison;
pub mod completion;
mod experts;
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
mod outlook;
mod page;
mod pass;
pub mod patch;
mod queries;
mod reload;
mod session;
mod sheet;
mod state;
mod stops;
mod suspected;
pub mod sweep;
mod tape;
mod trace;
mod two_dumps;
pub mod view;
mod why;

pub use captured::{LensSeen, Look, Looks};
pub use command::{COMMANDS, Command, Group, Key, Motion, Spec, Topic};
pub use outlook::Outlook;
pub use page::Request;
pub use patch::{PatchRequest, Unpatch};
pub use session::{Opener, Session};
pub use state::Debugger;
pub use suspected::Switched;
pub use tape::{Moment, Tape};
pub use trace::DEFAULT_MEMORY;
pub use two_dumps::{Reread, TwoDumps};

pub use crate::model::families::without_base;
pub use crate::model::graph::in_layers;
