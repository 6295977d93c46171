//! What the mouse does: each click and each turn of the wheel is a few command lines, obeyed and recorded like any.

use ratatui::crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};

use super::app::App;
use super::layout;
use super::message::Request;
use super::outline::Line;
use super::prompt::Purpose;
use crate::debugger::Command;
use crate::debugger::command::Pane;

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
        let hit = |(_, area): &&(Pane, Rect)| area.contains(Position::new(mouse.column, mouse.row));
        let areas = self.areas();
        let Some((pane, area)) = areas.panes.iter().find(hit).copied() else { return Vec::new() };
        if let Some(direction) = wheel {
            // The small curve shows the layers of the program, and scrolls that.
            let pane = if pane == Pane::Curve { Pane::Program } else { pane };
            return vec![format!("scroll {} {direction} {WHEEL}", pane.name())];
        }
        let mut lines = Vec::new();
        if !matches!(pane, Pane::Curve) && self.focus != pane {
            lines.push(format!("focus {}", pane.name()));
        }
        lines.extend(self.click(pane, layout::inside(area), (mouse.column, mouse.row)));
        lines
    }

    /// What a click into a pane does beyond giving it the keys.
    fn click(&self, pane: Pane, inside: Rect, (column, row): (u16, u16)) -> Vec<String> {
        let hit = match pane {
            Pane::Program => self.line_at(inside, row),
            Pane::Curve => super::pane::layer_at(inside, column, self.curve.layers.len()).map(Line::Layer),
            Pane::Divergence => super::pane::divergence_hit(inside, column, row, self),
            Pane::Lens => return self.click_lens(inside, row),
            _ => None,
        };
        let again = hit == Some(self.outline.selected);
        match (pane, hit) {
            (_, None) => Vec::new(),
            (Pane::Program, Some(Line::Layer(_))) if again => vec!["enter".to_string()],
            (Pane::Program, Some(Line::Op(_))) if again => Vec::new(),
            (Pane::Program, Some(line)) => vec![self.selecting(line)],
            // Errors lead to their layer or op, and once more goes there.
            (_, Some(Line::Op(row))) if again => self.going_to(row).into_iter().collect(),
            (_, Some(line @ Line::Op(_))) => vec![self.selecting(line)],
            (_, Some(line @ Line::Layer(_))) => vec![self.selecting(line), "scroll program right".to_string()],
        }
    }

    fn click_lens(&self, inside: Rect, row: u16) -> Vec<String> {
        let hit = super::pane::lens_row_at(inside, row, self).zip(self.views.lens.shown());
        let Some((row, page)) = hit else { return Vec::new() };
        let selected = super::pane::lens_selected(page, self);
        match row.cast_signed() - selected.cast_signed() {
            0 => Vec::new(),
            by if by > 0 => vec![format!("scroll lens down {by}")],
            by => vec![format!("scroll lens up {}", by.unsigned_abs())],
        }
    }

    fn line_at(&self, inside: Rect, row: u16) -> Option<Line> {
        let below = row.checked_sub(inside.y).filter(|below| *below < inside.height)?;
        self.outline.lines(&self.listing).get(self.outline.offset + usize::from(below)).copied()
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
