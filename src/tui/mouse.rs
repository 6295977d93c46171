//! What the mouse does: each click and each turn of the wheel is a few command lines, obeyed and recorded like any.

use ratatui::crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Position;

use super::app::App;
use super::layout;
use super::message::Request;
use super::outline::Line;
use super::pane::spec;
use super::prompt::Purpose;
use crate::debugger::Command;

/// Lines a turn of the wheel moves.
const WHEEL: usize = 3;

impl App {
    /// Takes in the mouse: a click gives a pane the keys and selects; the wheel scrolls what it is over.
    pub(crate) fn mouse(&mut self, mouse: MouseEvent, requests: &mut Vec<Request>) {
        // A click elsewhere ends a search, and nothing more.
        if !matches!(mouse.kind, MouseEventKind::Up(_) | MouseEventKind::Drag(_) | MouseEventKind::Moved)
            && self.prompt.as_ref().is_some_and(|prompt| prompt.purpose == Purpose::Search)
        {
            return self.accept(requests);
        }
        let lines = self.mouse_lines(mouse);
        if !lines.is_empty() {
            self.message = None;
        }
        for line in lines {
            self.obey_line(&line, requests);
        }
    }

    /// Whether the mouse has to wait, as a key would.
    pub(crate) fn mouse_must_wait(&self, mouse: MouseEvent) -> bool {
        let Some(running) = &self.running else { return false };
        let looks = |line: &String| matches!(Command::parse(line), Ok(Some(Command::Screen(_))));
        !running.long || !self.mouse_lines(mouse).iter().all(looks)
    }

    /// The lines that do what the mouse is to do.
    fn mouse_lines(&self, mouse: MouseEvent) -> Vec<String> {
        let wheel = match mouse.kind {
            MouseEventKind::ScrollDown => Some("down"),
            MouseEventKind::ScrollUp => Some("up"),
            MouseEventKind::ScrollRight => Some("right"),
            MouseEventKind::ScrollLeft => Some("left"),
            MouseEventKind::Down(MouseButton::Left) => None,
            _ => return Vec::new(),
        };
        if self.overlay.is_some() {
            return vec![wheel.map_or("escape".to_string(), |direction| format!("{direction} {WHEEL}"))];
        }
        let at = Position::new(mouse.column, mouse.row);
        let under = self.areas().panes.into_iter().find(|(_, area)| area.contains(at));
        let Some((pane, area)) = under else { return Vec::new() };
        let spec = spec(pane);
        if let Some(direction) = wheel {
            return vec![format!("scroll {} {direction} {WHEEL}", spec.part_of.unwrap_or(pane).name())];
        }
        let mut lines = Vec::new();
        if spec.part_of.is_none() && self.focus != pane {
            lines.push(format!("focus {}", pane.name()));
        }
        lines.extend((spec.click)(self, layout::inside(area), (mouse.column, mouse.row)));
        lines
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
