//! The state of the screen: plain data, changed by [`App::update`] and by nothing else.

use std::collections::VecDeque;

use ratatui::layout::Rect;

use super::history::History;
use super::input::Held;
use super::keymap::Keymap;
use super::layout::{self, Areas, Arrangement, Shown};
use super::message::{Msg, Request};
use super::outline::{self, Outline};
use super::pane::{Log, Panes};
use super::player::Player;
use super::prompt::Prompt;
use super::settings::Settings;
use super::theme::{Ink, Theme};
use crate::debugger::Command;
use crate::debugger::command::{Layout, Pane, Setting};
use crate::debugger::view::{Curve, Header, Listing, ListingRow, Status};

/// The screen.
#[derive(Debug, Default)]
pub(crate) struct App {
    /// Colours and glyphs.
    pub(crate) theme: Theme,
    /// What the environment tells of the terminal.
    pub(crate) detected: Theme,
    /// What the user has chosen.
    pub(crate) settings: Settings,
    /// Columns and rows of the terminal.
    pub(crate) size: (u16, u16),
    /// What only a reload changes: model, tokens, witnesses.
    pub(crate) header: Header,
    /// The program as it stands.
    pub(crate) listing: Listing,
    /// Errors over the layers.
    pub(crate) curve: Curve,
    /// Which line each key stands for.
    pub(crate) keys: Keymap,
    /// Which pane has the keys.
    pub(crate) focus: Pane,
    /// How the panes are arranged.
    pub(crate) arranged: Arrangement,
    /// Folds, selection and scroll of the program.
    pub(crate) outline: Outline,
    /// What of the other panes is shown.
    pub(crate) panes: Panes,
    /// Pages that are on their way.
    pub(crate) awaited: usize,
    /// What covers the panes.
    pub(crate) overlay: Option<Overlay>,
    /// What is being typed.
    pub(crate) prompt: Option<Prompt>,
    /// The command lines typed before.
    pub(crate) history: History,
    /// What was last searched for.
    pub(crate) search: String,
    /// The bottom line's message, until the next key.
    pub(crate) message: Option<Message>,
    /// A number typed before a command.
    pub(crate) count: Option<usize>,
    /// The files of the dumps have changed, and have not been read again yet.
    pub(crate) reload_due: bool,
    /// What was typed and answered.
    pub(crate) log: Log,
    /// Lines of a script that are still to be obeyed, the next last.
    pub(crate) script: Vec<String>,
    /// Scripts read since a key was pressed.
    pub(crate) sourced: usize,
    /// The command under way.
    pub(crate) running: Option<Running>,
    /// The recording that is open, or was left.
    pub(crate) player: Option<Player>,
    /// That a recording was left: said with the answer of the command that has left it.
    pub(crate) parting: Option<String>,
    /// Keys and clicks that could not be obeyed yet.
    pub(crate) held: VecDeque<Held>,
}

/// What covers the panes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overlay {
    /// What it shows.
    pub(crate) kind: OverlayKind,
    /// First line on screen.
    pub(crate) scroll: usize,
}

/// What an overlay shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OverlayKind {
    /// Keys and signs.
    Help,
    /// The last answer of several lines.
    Output,
    /// Model, tokens, notes.
    Information,
}

/// A line for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// What it says; not yet made harmless.
    pub(crate) text: String,
    /// Whether something went wrong.
    pub(crate) error: bool,
}

/// A command under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Running {
    /// Which.
    pub(crate) command: Command,
    /// Whether it has reported progress: then it is a long one, and the user may look around meanwhile.
    pub(crate) long: bool,
    /// The first line of the program when it began: how far it scrolls must not depend on what was seen meanwhile.
    pub(crate) offset: usize,
    /// Whether it is of a recording that is played.
    pub(crate) feeds: bool,
    /// The user has asked it to stop.
    pub(crate) interrupted: bool,
    /// The lines with which the user has looked around meanwhile: they are recorded when the command is over.
    pub(crate) meanwhile: Vec<String>,
}

impl Running {
    /// A command that begins; with the first line of the program.
    pub(crate) fn new(command: Command, offset: usize) -> Self {
        Self { command, long: false, offset, feeds: false, interrupted: false, meanwhile: Vec::new() }
    }
}

impl App {
    /// The screen at the start of a session.
    pub(crate) fn new(theme: Theme, size: (u16, u16), header: Header, listing: Listing, curve: Curve) -> Self {
        let mut app = Self { theme, detected: theme, size, header, listing, curve, ..Self::default() };
        app.outline.follow(&app.listing);
        app
    }

    /// Takes in what happened; answers what is to be asked for.
    pub(crate) fn update(&mut self, msg: Msg) -> Vec<Request> {
        let mut requests = Vec::new();
        match msg {
            Msg::Key(key) => self.hear(Held::Key(key), &mut requests),
            Msg::Mouse(mouse) => self.hear(Held::Mouse(mouse), &mut requests),
            Msg::Paste(text) => self.paste(&text),
            Msg::Line(line) => {
                self.message = None;
                self.obey_line(&line, &mut requests);
            }
            Msg::Resize(columns, rows) => self.size = (columns, rows),
            Msg::Reply(reply) => self.reply(reply, &mut requests),
            Msg::Changed => self.reload_due = true,
            Msg::Tick => self.tick(&mut requests),
        }
        if self.running.is_none() && std::mem::take(&mut self.reload_due) {
            self.obey(Command::Reload, "reload", &mut requests);
        }
        self.go_on_with_script(&mut requests);
        self.go_on_with_recording(&mut requests);
        self.release(&mut requests);
        self.settle(&mut requests);
        requests
    }

    /// What the session begins with: the first page.
    pub(crate) fn begin(&mut self) -> Vec<Request> {
        let mut requests = Vec::new();
        let (name, value) = Setting::Layout(self.arranged.layout).words();
        if self.arranged.layout != Layout::default() {
            // A replay does not know what the user has chosen before the start.
            requests.push(Request::Obeyed(format!("{name} {value}")));
        }
        self.go_on_with_script(&mut requests);
        self.settle(&mut requests);
        requests
    }

    /// The areas of the screen.
    pub(crate) fn areas(&self) -> Areas {
        self.areas_of(self.size.0, self.size.1)
    }

    /// The areas of a screen of another size.
    pub(crate) fn areas_of(&self, columns: u16, rows: u16) -> Areas {
        let shown = Shown { curve: self.listing.compared, diagnosis: self.panes.diagnosis.is_some() };
        layout::areas(columns, rows, self.focus, self.arranged, shown)
    }

    /// The inside of a pane, if it is on screen.
    pub(crate) fn inside(&self, pane: Pane) -> Option<Rect> {
        self.areas().of(pane).map(layout::inside)
    }

    /// Values of a heatmap that an area has room for: rows and columns.
    pub(crate) fn cells(&self, area: Rect) -> (usize, usize) {
        let high = if self.theme.ink() == Ink::HalfBlocks { 2 } else { 1 };
        (usize::from(area.height) * high, usize::from(area.width))
    }

    /// The row of the listing whose tensor is shown.
    pub(crate) fn selected_row(&self) -> Option<usize> {
        outline::row_of(self.outline.selected, &self.listing)
    }

    /// The layer that is looked at: that of the selected op; without one, that of the op computed last.
    pub(crate) fn layer(&self) -> usize {
        let layer = |row: Option<usize>| row.and_then(|row| outline::layer_of(&self.listing, row));
        layer(self.selected_row()).or_else(|| layer(self.listing.at)).unwrap_or(0)
    }

    /// The op computed last.
    pub(crate) fn at(&self) -> Option<&ListingRow> {
        self.listing.rows.get(self.listing.at?)
    }

    /// The first row of this forward that is wrong; an earlier forward may have made it so.
    pub(crate) fn wrong_from(&self) -> Option<usize> {
        self.listing.rows.iter().position(|op| matches!(op.status, Status::Diverges | Status::Follows))
    }

    /// Shows a line for the user.
    pub(crate) fn say(&mut self, text: impl Into<String>) {
        let text = text.into();
        self.log.answer(vec![text.clone()], false);
        self.message = Some(Message { text, error: false });
    }

    /// Shows what went wrong.
    pub(crate) fn complain(&mut self, text: impl Into<String>) {
        let text = text.into();
        self.log.answer(vec![text.clone()], true);
        self.message = Some(Message { text, error: true });
    }

    /// Says why nothing was done. The log keeps what commands have answered, and this is no answer: it is not recorded.
    pub(crate) fn refuse(&mut self, text: impl Into<String>) {
        self.message = Some(Message { text: text.into(), error: true });
    }

    /// Shows a line, or several above everything until they are closed.
    pub(crate) fn tell(&mut self, lines: Vec<String>) {
        if let [line] = &lines[..] {
            return self.say(line.clone());
        }
        self.overlay = Some(Overlay { kind: OverlayKind::Output, scroll: 0 });
        self.log.answer(lines, false);
    }

    /// Starts a command; `line` says it.
    pub(crate) fn execute(&mut self, command: Command, line: &str, requests: &mut Vec<Request>) {
        let feeds = self.player.as_ref().is_some_and(|player| player.feeds);
        self.running = Some(Running { feeds, ..Running::new(command.clone(), self.outline.offset) });
        requests.push(Request::Execute(command, line.to_string()));
    }

    /// Brings scroll offsets into bounds and asks for the page that is now to be shown.
    pub(crate) fn settle(&mut self, requests: &mut Vec<Request>) {
        self.keep_in_sight();
        if self.running.is_some() {
            return;
        }
        self.panes.tensor.turn_to(self.listing.forward, self.selected_row());
        self.ask_pages(requests);
    }

    /// Gives the keys to a pane that is shown, and scrolls the program to what is selected. After each line: how far it
    /// scrolls depends on the way there.
    pub(crate) fn keep_in_sight(&mut self) {
        self.focus_something();
        if let Some(inside) = self.inside(Pane::Program) {
            self.outline.scroll_to_selection(usize::from(inside.height), &self.listing);
        }
    }
}
