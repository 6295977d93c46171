//! What keys and the mouse do to the screen.

use ratatui::crossterm::event::{KeyEvent, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};

use super::app::App;
use super::keymap;
use super::layout;
use super::message::Request;
use super::outline::Line;
use crate::debugger::Command;
use crate::debugger::command::{Direction, Extent, Pane, ScreenCommand};

/// Keys held at most while they cannot be obeyed.
const HELD: usize = 512;
/// The largest count.
const LARGEST_COUNT: usize = 1_000_000;
/// Lines a turn of the wheel moves.
const WHEEL: isize = 3;

impl App {
    /// A key from the terminal: obeyed now, or held until what came before it is done.
    pub(crate) fn key(&mut self, key: KeyEvent, requests: &mut Vec<Request>) {
        let name = keymap::name(key);
        let stops = matches!(name.as_deref(), Some("esc" | "C-c"));
        if stops && self.running.is_some() {
            self.held.clear();
            self.script.clear();
            requests.push(Request::Interrupt);
        } else if stops {
            self.held.clear();
            self.press(key, requests);
        } else if self.must_wait(key) || !self.held.is_empty() {
            if self.held.len() < HELD {
                self.held.push_back(key);
            }
        } else {
            self.press(key, requests);
        }
    }

    /// Whether a key's meaning depends on something that is still under way. During a long command only commands
    /// wait: the user may look around.
    pub(crate) fn must_wait(&self, key: KeyEvent) -> bool {
        use ScreenCommand as S;
        let Some(running) = &self.running else { return false };
        let Some(name) = keymap::name(key) else { return false };
        if self.prompt.is_some() {
            return name == "ret";
        }
        match self.keys.command(&name) {
            Some(Command::Quit | Command::Screen(S::Suspend)) => false,
            Some(Command::Screen(S::Enter | S::Prompt(_))) => true,
            Some(Command::Screen(_) | Command::Help(_)) | None => !running.long,
            Some(_) => true,
        }
    }

    /// Obeys a key.
    pub(crate) fn press(&mut self, key: KeyEvent, requests: &mut Vec<Request>) {
        self.message = None;
        self.sourced = 0;
        if self.prompt.is_some() {
            return self.prompt_key(key, requests);
        }
        let Some(name) = keymap::name(key) else { return };
        #[cfg(debug_assertions)]
        assert!(name != "C-p", "asked for by a key that only debug builds have");
        let digit = name.parse::<usize>().ok().filter(|digit| *digit < 10);
        if let Some(digit) = digit.filter(|digit| *digit > 0 || self.count.is_some()) {
            self.count = Some((self.count.unwrap_or(0) * 10 + digit).min(LARGEST_COUNT));
            return;
        }
        let count = self.count.take();
        let op = self.selected_row().and_then(|row| self.listing.rows.get(row)).map(|op| op.short.clone());
        let Some(line) = self.keys.line(&name, op.as_deref(), count) else { return };
        match Command::parse(&line) {
            Ok(Some(command)) => self.obey(command, &line, requests),
            Ok(None) => {}
            Err(error) => self.complain(error),
        }
    }

    /// Rows that a pane shows at once.
    pub(crate) fn page_height(&self, pane: Pane) -> isize {
        let height = match pane {
            Pane::Tensor => self.tensor_parts().map_or(1, |parts| parts.grid.height.saturating_sub(1)),
            _ => self.areas().of(pane).map_or(1, |area| layout::inside(area).height),
        };
        isize::from(height.max(1).cast_signed())
    }

    /// Takes in the mouse: a click gives a pane the keys and selects; the wheel scrolls what it is over.
    pub(crate) fn mouse(&mut self, mouse: MouseEvent, requests: &mut Vec<Request>) {
        let (rows, columns) = match mouse.kind {
            MouseEventKind::ScrollDown => (WHEEL, 0),
            MouseEventKind::ScrollUp => (-WHEEL, 0),
            MouseEventKind::ScrollRight => (0, WHEEL),
            MouseEventKind::ScrollLeft => (0, -WHEEL),
            MouseEventKind::Down(MouseButton::Left) => (0, 0),
            _ => return,
        };
        if let Some(overlay) = self.overlay {
            if rows == 0 {
                self.overlay = None;
            } else {
                let direction = if rows < 0 { Direction::Up } else { Direction::Down };
                self.scroll_overlay(overlay, direction, Extent::Line, rows.unsigned_abs());
            }
            return;
        }
        let hit = |(_, area): &&(Pane, Rect)| area.contains(Position::new(mouse.column, mouse.row));
        let areas = self.areas();
        let Some((pane, area)) = areas.panes.iter().find(hit).copied() else { return };
        if rows != 0 || columns != 0 {
            return self.scroll_pane(pane, rows, columns);
        }
        if pane != Pane::Curve {
            self.focus = pane;
        }
        match pane {
            Pane::Program => self.click_line(layout::inside(area), mouse.row),
            _ => self.click(pane, area, (mouse.column, mouse.row), requests),
        }
    }

    fn click_line(&mut self, inside: Rect, row: u16) {
        let Some(below) = row.checked_sub(inside.y).filter(|below| *below < inside.height) else { return };
        let lines = self.outline.lines(&self.listing);
        let Some(line) = lines.get(self.outline.offset + usize::from(below)).copied() else { return };
        match line {
            Line::Layer(layer) if self.outline.selected == line => self.outline.toggle(layer, &self.listing),
            _ => self.outline.selected = line,
        }
    }
}
