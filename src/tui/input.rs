//! What keys and the mouse do to the screen.

use ratatui::crossterm::event::{KeyEvent, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};

use super::app::{App, Overlay, OverlayKind};
use super::keymap::{self, Action, Meaning};
use super::layout::{self, Focus};
use super::message::Request;
use super::outline::Line;
use super::prompt::Purpose;
use crate::debugger::{Command, Spec};

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
            requests.push(Request::Interrupt);
        } else if stops {
            self.held.clear();
            if let Some(prompt) = &mut self.prompt {
                prompt.impatient = false;
            }
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
        let Some(running) = &self.running else { return self.prompt.as_ref().is_some_and(|prompt| prompt.impatient) };
        if self.prompt.is_some() {
            return keymap::name(key).as_deref() == Some("ret");
        }
        match keymap::meaning(key) {
            Some(Meaning::Screen(Action::Quit | Action::Suspend)) => false,
            Some(Meaning::Command(_) | Meaning::Screen(Action::Enter | Action::BreakPattern)) => true,
            _ => !running.long,
        }
    }

    /// Obeys a key.
    pub(crate) fn press(&mut self, key: KeyEvent, requests: &mut Vec<Request>) {
        self.message = None;
        if self.prompt.is_some() {
            return self.prompt_key(key, requests);
        }
        let digit = keymap::name(key).and_then(|name| name.parse::<usize>().ok()).filter(|digit| *digit < 10);
        if let Some(digit) = digit.filter(|digit| *digit > 0 || self.count.is_some()) {
            self.count = Some((self.count.unwrap_or(0) * 10 + digit).min(LARGEST_COUNT));
            return;
        }
        let count = self.count.take();
        let Some(meaning) = keymap::meaning(key) else { return };
        if let Some(overlay) = self.overlay {
            match meaning {
                Meaning::Screen(action) if self.overlay_action(overlay, action, count) => return,
                _ => self.overlay = None,
            }
        }
        match meaning {
            Meaning::Command(spec) => self.command(spec, count, requests),
            Meaning::Screen(action) => self.action(action, count, requests),
        }
    }

    fn command(&mut self, spec: &Spec, count: Option<usize>, requests: &mut Vec<Request>) {
        let times = count.unwrap_or(1);
        let command = match spec.name {
            "step" => Command::Step(times),
            "back" => Command::StepBack(times),
            "next" => Command::NextLayer(times),
            "back-layer" => Command::PreviousLayer(times),
            "finish" => Command::Finish,
            "continue" => Command::Continue,
            "restart" => Command::Restart,
            "reload" => Command::Reload,
            "diagnose" if self.is_diagnosed() => return self.close_diagnosis(),
            "diagnose" => match self.selected_row().and_then(|row| self.listing.rows.get(row)) {
                Some(op) => Command::Diagnose(op.name.clone()),
                None => return self.complain("which op? select one that is marked !!"),
            },
            "goto" => match count {
                Some(layer) => Command::Goto(layer.to_string()),
                None => return self.open_prompt(Purpose::Goto, requests),
            },
            "break" => match self.selected_row().and_then(|row| self.listing.rows.get(row)) {
                Some(op) => Command::Break(op.name.clone()),
                None => return,
            },
            other => return self.complain(format!("{other} has no key here yet")),
        };
        self.execute(command, requests);
    }

    fn action(&mut self, action: Action, count: Option<usize>, requests: &mut Vec<Request>) {
        let times = count.unwrap_or(1).min(LARGEST_COUNT).cast_signed();
        let end = isize::MAX;
        match action {
            Action::Down => self.scroll(times, 0),
            Action::Up => self.scroll(-times, 0),
            Action::PageDown => self.scroll(times.saturating_mul(self.page_height()), 0),
            Action::PageUp => self.scroll(-times.saturating_mul(self.page_height()), 0),
            Action::First => self.scroll(-end, 0),
            Action::Last => self.scroll(end, 0),
            Action::RowStart | Action::RowEnd if self.focus != Focus::Tensor => {}
            Action::RowStart => self.scroll(0, -end),
            Action::RowEnd => self.scroll(0, end),
            Action::Left => self.scroll(0, -times),
            Action::Right => self.scroll(0, times),
            Action::Focus => {
                self.focus = match self.focus {
                    Focus::Program => Focus::Tensor,
                    Focus::Tensor if self.diagnosis.is_some() => Focus::Diagnosis,
                    Focus::Tensor | Focus::Diagnosis => Focus::Program,
                }
            }
            Action::NextPlane => self.tensor.turn_plane(times),
            Action::PreviousPlane => self.tensor.turn_plane(-times),
            Action::NextShown => self.tensor.turn(true, &self.header),
            Action::PreviousShown => self.tensor.turn(false, &self.header),
            Action::Enter => self.enter(requests),
            Action::Errors if !self.listing.compared => {
                self.complain("there are no errors: nothing to compare with was given");
            }
            Action::Errors => self.errors = !self.errors,
            Action::Search => self.open_prompt(Purpose::Search, requests),
            Action::BreakPattern => self.open_prompt(Purpose::Break, requests),
            Action::Help => self.overlay = Some(Overlay { kind: OverlayKind::Help, scroll: 0 }),
            Action::Information => self.overlay = Some(Overlay { kind: OverlayKind::Information, scroll: 0 }),
            Action::Escape => self.close_diagnosis(),
            Action::Interrupt | Action::Quit => requests.push(Request::Quit),
            Action::Suspend => requests.push(Request::Suspend),
            #[cfg(debug_assertions)]
            Action::Panic => panic!("asked for by a key that only debug builds have"),
        }
    }

    /// What a key does to an overlay; false if it does nothing to it.
    fn overlay_action(&mut self, overlay: Overlay, action: Action, count: Option<usize>) -> bool {
        let page = usize::from(self.size.1).saturating_sub(4).max(1);
        let times = count.unwrap_or(1);
        let last = super::pane::overlay_lines(self, overlay.kind).len().saturating_sub(page);
        let scroll = match action {
            Action::Down => overlay.scroll.saturating_add(times),
            Action::Up => overlay.scroll.saturating_sub(times),
            Action::PageDown => overlay.scroll.saturating_add(page.saturating_mul(times)),
            Action::PageUp => overlay.scroll.saturating_sub(page.saturating_mul(times)),
            Action::First => 0,
            Action::Last => last,
            Action::Help if overlay.kind == OverlayKind::Information => return false,
            Action::Information if overlay.kind == OverlayKind::Help => return false,
            Action::Escape | Action::Quit | Action::Help | Action::Information => {
                self.overlay = None;
                return true;
            }
            _ => return false,
        };
        self.overlay = Some(Overlay { scroll: scroll.min(last), ..overlay });
        true
    }

    /// Moves within the pane that has the keys.
    fn scroll(&mut self, rows: isize, columns: isize) {
        if self.focus == Focus::Diagnosis {
            return self.move_diagnosis(rows);
        }
        if self.focus == Focus::Tensor && !self.errors {
            let visible = self.tensor_parts().map(|parts| parts.numbers());
            return self.tensor.scroll(rows, columns, visible);
        }
        if rows != 0 {
            self.outline.move_by(rows, &self.listing);
        }
        let layer = match self.outline.selected {
            Line::Layer(layer) => Some(layer),
            Line::Op(row) => super::outline::layer_of(&self.listing, row),
        };
        match layer {
            Some(layer) if columns > 0 => self.outline.open(layer),
            Some(layer) if columns < 0 => self.outline.close(layer),
            _ => {}
        }
    }

    fn page_height(&self) -> isize {
        let areas = self.areas();
        let height = match self.focus {
            Focus::Program => areas.program.map_or(1, |pane| layout::inside(pane).height),
            Focus::Tensor => self.tensor_parts().map_or(1, |parts| parts.grid.height.saturating_sub(1)),
            Focus::Diagnosis => areas.diagnosis.map_or(1, |pane| layout::inside(pane).height),
        };
        isize::from(height.max(1).cast_signed())
    }

    fn enter(&mut self, requests: &mut Vec<Request>) {
        match self.outline.selected {
            _ if self.focus == Focus::Diagnosis => self.try_suspect(requests),
            _ if self.focus == Focus::Tensor && !self.errors => {}
            Line::Layer(layer) => self.outline.toggle(layer, &self.listing),
            Line::Op(row) => {
                if let Some(op) = self.listing.rows.get(row) {
                    self.execute(Command::Goto(op.name.clone()), requests);
                }
            }
        }
    }

    /// Takes in the mouse: a click gives a pane the keys and selects; the wheel scrolls what it is over.
    pub(crate) fn mouse(&mut self, mouse: MouseEvent) {
        let (rows, columns) = match mouse.kind {
            MouseEventKind::ScrollDown => (WHEEL, 0),
            MouseEventKind::ScrollUp => (-WHEEL, 0),
            MouseEventKind::ScrollRight => (0, WHEEL),
            MouseEventKind::ScrollLeft => (0, -WHEEL),
            MouseEventKind::Down(MouseButton::Left) => (0, 0),
            _ => return,
        };
        if let Some(overlay) = self.overlay {
            let action = if rows < 0 { Action::Up } else { Action::Down };
            if rows == 0 {
                self.overlay = None;
            } else {
                self.overlay_action(overlay, action, Some(rows.unsigned_abs()));
            }
            return;
        }
        let hit = |pane: Option<Rect>| pane.filter(|pane| pane.contains(Position::new(mouse.column, mouse.row)));
        let areas = self.areas();
        let click = rows == 0 && columns == 0;
        if let Some(pane) = hit(areas.program) {
            if click {
                self.focus = Focus::Program;
                self.click_line(layout::inside(pane), mouse.row);
            } else if rows != 0 {
                self.outline.move_by(rows, &self.listing);
            }
        } else if hit(areas.diagnosis).is_some() {
            if click {
                self.focus = Focus::Diagnosis;
            }
            self.move_diagnosis(rows);
        } else if hit(areas.tensor).is_some() {
            if click {
                self.focus = Focus::Tensor;
            }
            if self.errors {
                self.outline.move_by(rows, &self.listing);
            } else {
                let visible = self.tensor_parts().map(|parts| parts.numbers());
                self.tensor.scroll(rows, columns, visible);
            }
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
