//! The state of the screen: plain data, changed by [`App::update`] and by nothing else.

use ratatui::layout::Rect;

use super::beside::Heard;
use super::desk::Desk;
use super::keymap::Input;
use super::layout::{self, Areas, Shown};
use super::message::Request;
use super::outline::{self, Line, Outline};
use super::pane::Panes;
use super::player::Player;
use super::prompt::Typing;
use super::said::Said;
use super::settings::{Chosen, Settings};
use super::theme::{Ink, Theme};
use crate::debugger::Command;
use crate::debugger::command::{Layout, Pane};
use crate::debugger::view::{Curve, Header, Listing, ListingRow, Status};

/// The screen.
#[derive(Debug, Default)]
pub(crate) struct App {
    /// How it looks.
    pub(crate) chosen: Chosen,
    /// How it is divided.
    pub(crate) desk: Desk,
    /// What only a reload changes: model, tokens, witnesses.
    pub(crate) header: Header,
    /// The program as it stands.
    pub(crate) listing: Listing,
    /// Errors over the layers.
    pub(crate) curve: Curve,
    /// What was last heard of the comparison that runs ahead, where one does.
    pub(crate) ahead: Option<Heard>,
    /// What is debugged, in a sentence for its first page.
    pub(crate) story: Option<&'static str>,
    /// Folds, selection and scroll of the program.
    pub(crate) outline: Outline,
    /// What of the other panes is shown.
    pub(crate) panes: Panes,
    /// Keys and clicks.
    pub(crate) input: Input,
    /// The line at the bottom.
    pub(crate) typing: Typing,
    /// What is said to the user.
    pub(crate) said: Said,
    /// What is still to be obeyed.
    pub(crate) script: Script,
    /// The command under way.
    pub(crate) running: Option<Running>,
    /// The debugger has been at work for a while: said, and nothing else.
    pub(crate) slow: bool,
    /// The files of the dumps have changed, and have not been read again yet.
    pub(crate) reload_due: bool,
    /// The recording that is open, or was left.
    pub(crate) player: Option<Player>,
    /// That a recording was left: said with the answer of the command that has left it.
    pub(crate) parting: Option<String>,
    /// What is to be asked for.
    pub(crate) requests: Vec<Request>,
}

/// A script that is run.
#[derive(Debug, Default)]
pub(crate) struct Script {
    /// Lines that are still to be obeyed, the next last.
    pub(crate) lines: Vec<String>,
    /// Scripts read since a key was pressed.
    pub(crate) sourced: usize,
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
        let (chosen, desk) = (Chosen { detected: theme, ..Chosen::default() }, Desk { size, ..Desk::default() });
        let mut app = Self { chosen, desk, header, listing, curve, ..Self::default() };
        app.outline.follow(&app.listing);
        app
    }

    /// What there is to be shown.
    pub(crate) fn there(&self) -> Shown {
        Shown { curve: self.listing.compared, diagnosis: self.panes.diagnosis.is_some() }
    }

    /// The areas of the screen.
    pub(crate) fn areas(&self) -> Areas {
        self.desk.areas(self.desk.size, self.there())
    }

    /// Colours and glyphs.
    pub(crate) fn theme(&self) -> Theme {
        self.chosen.theme()
    }

    /// Takes in what the user has chosen before the start.
    pub(crate) fn configure(&mut self, settings: Settings) {
        self.chosen.settings = settings;
        // Errors, where there are any; else the pane would be empty.
        if settings.layout != Layout::Comparing || self.listing.compared {
            self.desk.arrange(Some(settings.layout), self.there());
        }
    }

    /// The inside of a pane, if it is on screen.
    pub(crate) fn inside(&self, pane: Pane) -> Option<Rect> {
        self.areas().of(pane).map(layout::inside)
    }

    /// Values of a heatmap that an area has room for: rows and columns.
    pub(crate) fn cells(&self, area: Rect) -> (usize, usize) {
        let high = if self.theme().ink() == Ink::HalfBlocks { 2 } else { 1 };
        (usize::from(area.height) * high, usize::from(area.width))
    }

    /// The row of the listing whose tensor is shown.
    pub(crate) fn selected_row(&self) -> Option<usize> {
        outline::row_of(self.outline.selected, &self.listing)
    }

    /// The op whose tensor is shown.
    pub(crate) fn selected_op(&self) -> Option<&ListingRow> {
        self.listing.rows.get(self.selected_row()?)
    }

    /// The layer that is looked at: that of the selected op; behind the last layer, that one.
    pub(crate) fn layer(&self) -> usize {
        let row = self.selected_row().or(self.listing.at).unwrap_or(0);
        (0..=row).rev().find_map(|row| outline::layer_of(&self.listing, row)).unwrap_or(0)
    }

    /// The op computed last.
    pub(crate) fn at(&self) -> Option<&ListingRow> {
        self.listing.rows.get(self.listing.at?)
    }

    /// The first row of this forward that is wrong; an earlier forward may have made it so.
    pub(crate) fn wrong_from(&self) -> Option<usize> {
        self.listing.rows.iter().position(|op| matches!(op.status, Status::Diverges | Status::Follows))
    }

    /// Gives the keys to a pane that is shown, and scrolls the program to what is selected. After each line: how far it
    /// scrolls depends on the way there.
    pub(crate) fn keep_in_sight(&mut self) {
        self.desk.focus_something(self.there());
        if let Some(inside) = self.inside(Pane::Program) {
            self.outline.scroll_to_selection(usize::from(inside.height), &self.listing);
        }
    }

    /// Tokens of the current forward.
    pub(crate) fn forward_tokens(&self) -> usize {
        self.header.forwards.get(self.listing.forward).copied().unwrap_or(1)
    }

    /// Position in the sequence of the first token of the current forward.
    pub(crate) fn first_position(&self) -> usize {
        self.header.forwards.iter().take(self.listing.forward).sum()
    }

    /// The command that selects a line of the program.
    pub(crate) fn selecting(&self, line: Line) -> String {
        let name = match line {
            Line::Layer(layer) => format!("layer {layer}"),
            Line::Op(row) => self.listing.rows.get(row).map_or(String::new(), |op| op.short.clone()),
        };
        format!("select {name}")
    }

    /// The command that goes to an op.
    pub(crate) fn going_to(&self, row: usize) -> Option<String> {
        self.listing.rows.get(row).map(|op| format!("goto {}", op.short))
    }
}
