//! The screen: an interactive terminal over the debugger. Commands go in, plain views come out; nothing here knows
//! how a tensor is computed.
//!
//! ```text
//! terminal ─ Msg ─▶ App::update ─ Request ─▶ worker ─ Debugger ─ Reply ─▶ App::update ─▶ pane::draw(&App)
//! ```
//!
//! | file | what it is |
//! |---|---|
//! | `terminal` | the loop |
//! | `tty` | enters and leaves the terminal, whatever happens |
//! | `worker` | the thread that owns the debugger |
//! | `message` | what the screen hears and asks for |
//! | `app` | the state: a value of each of the files below, and what they are together |
//! | `obey`, `answering` | what commands and the debugger's answers do to the state |
//! | `input`, `mouse` | which keys stand for which lines, and what of them has to wait |
//! | `asking`, `prompt`, `history` | the line being typed, and those that were |
//! | `player`, `playing` | a recording that is played, and how its lines are obeyed |
//! | `desk`, `layout`, `scrolling` | which panes are shown and where; moving within one |
//! | `outline` | the folds of the program |
//! | `said` | what is said to the user |
//! | `slot` | the pages that panes show: asked for, and taken in |
//! | `keymap`, `theme` | names of keys, every colour and glyph |
//! | `settings` | what the user has chosen of them |
//! | `pane` | all that the screen knows of a pane, as one row: a new pane is a row here, and `pane/NAME` with what it draws and keeps |
//! | `pane/`, `widget/` | the drawing: panes know the state, widgets only numbers |
//! | `beside` | the threads that look after the dumps, and compare them ahead |
//! | `headless` | the same without a terminal, for tests |

mod answering;
mod app;
mod asking;
mod beside;
mod desk;
mod headless;
mod history;
mod input;
mod keymap;
mod layout;
mod manual;
mod message;
mod mouse;
mod obey;
mod outline;
mod pane;
mod player;
mod playing;
mod prompt;
mod said;
mod scrolling;
mod settings;
mod slot;
mod terminal;
mod text;
mod theme;
mod tty;
mod widget;
mod worker;

pub use beside::{Reopen, Watch};
pub use headless::Screen;
pub use keymap::Keymap;
pub use manual::command_table;
pub use settings::Settings;
pub use terminal::{Error, Start, run};
pub use theme::{Colors, Palette, Theme};
