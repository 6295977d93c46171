//! What the screen hears and what it asks for. Plain data: the tests speak it without a terminal or a thread.

use ratatui::crossterm::event::{KeyEvent, MouseEvent};

use super::beside::Heard;
use crate::debugger::Command;
use crate::debugger::view::{Curve, Header, Listing, Page, PageRequest, Stop};

/// What happened.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one at a time, and soon taken apart")]
pub(crate) enum Msg {
    /// A key was pressed.
    Key(KeyEvent),
    /// The mouse moved, clicked or scrolled.
    Mouse(MouseEvent),
    /// Text was pasted.
    Paste(String),
    /// A command line is to be obeyed, whoever it came from.
    Line(String),
    /// The terminal has another size: columns, rows.
    Resize(u16, u16),
    /// The debugger answered.
    Reply(Reply),
    /// The files of the dumps have changed.
    Changed,
    /// The next line of a recording is due.
    Tick,
    /// The debugger has been at work for a while, or is no longer.
    Slow(bool),
    /// The comparison that runs ahead has begun, found something, or ended.
    Ahead(Heard),
}

/// What the debugger answered.
#[derive(Debug)]
pub(crate) enum Reply {
    /// A command is under way and has come so far.
    Progress(Listing),
    /// A command is over.
    Done {
        /// What only a reload or a switched suspect changes, when that is over.
        header: Option<Header>,
        /// Why the debugger stands where it stands, or a sentence about what is wrong.
        result: Result<Stop, String>,
        /// The program as it stands now.
        listing: Listing,
        /// Its errors over the layers.
        curve: Curve,
        /// How it differs from what was recorded of it.
        replayed: Option<String>,
    },
    /// The debugger stands at the start of the session, or a sentence why not.
    Reset(Result<Box<(Header, Listing, Curve)>, String>),
    /// A page.
    Page(PageRequest, Result<Page, String>),
}

/// What the screen asks for.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    /// Of the debugger: do this, which this line says.
    Execute(Command, String),
    /// Of whoever records: the screen has done what this line says.
    Obeyed(String),
    /// Of the debugger: go back to the start of the session.
    Reset,
    /// Of the debugger: the recording is left.
    Live,
    /// Of the debugger: a page.
    Page(PageRequest),
    /// Of the comparison that runs ahead: begin again, with the dumps as they are now.
    LookAhead,
    /// Of the terminal: keep this text in its clipboard.
    Yank(String),
    /// Stop the running command.
    Interrupt,
    /// Give the terminal back until the shell continues us.
    Suspend,
    /// Listen to the mouse, or leave it to the terminal.
    Mouse(bool),
    /// Leave.
    Quit,
}
