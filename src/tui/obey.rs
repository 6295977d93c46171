//! What commands do to the screen; those of the debugger are sent on to it.

use ratatui::layout::Rect;

use super::app::{App, Overlay, OverlayKind};
use super::layout;
use super::message::Request;
use super::outline::{self, Line};
use super::prompt::Purpose;
use crate::debugger::Command;
use crate::debugger::command::{Count, Direction, Extent, Layout, Pane, ScreenCommand, Whose};
use crate::debugger::view::Half;

/// Scripts that one line runs at most: more call each other in a circle.
const MOST_SCRIPTS: usize = 1000;

impl App {
    /// Does what a line says; `line` is what the log keeps of it.
    pub(crate) fn obey(&mut self, command: Command, line: &str, requests: &mut Vec<Request>) {
        if let Some(overlay) = self.overlay
            && self.overlay_command(overlay, &command)
        {
            return;
        }
        let command = match command {
            Command::Screen(command) => return self.screen(command, requests),
            Command::Quit => return requests.push(Request::Quit),
            Command::Help(None) => {
                self.overlay = Some(Overlay { kind: OverlayKind::Help, scroll: 0 });
                return;
            }
            Command::Source(path) => return self.source(&path),
            // Where it is open already, the key closes it.
            Command::Diagnose(_) if self.is_diagnosed() && self.prompt.is_none() => return self.close_diagnosis(),
            other => other,
        };
        self.log.command(line);
        self.execute(command, requests);
    }

    /// Puts the commands of a file before what is still to be obeyed; the first that fails ends all of it.
    fn source(&mut self, path: &str) {
        self.sourced += 1;
        let read = std::fs::read_to_string(path).map_err(|error| format!("{path} cannot be read: {error}"));
        let few = self.sourced <= MOST_SCRIPTS;
        match read.and_then(|text| if few { Ok(text) } else { Err(format!("{path} calls itself without end")) }) {
            Ok(text) => self.script.extend(text.lines().rev().map(str::to_string)),
            Err(sentence) => {
                self.script.clear();
                self.complain(sentence);
            }
        }
    }

    /// Obeys the lines of a script until one of them takes its time.
    pub(crate) fn go_on_with_script(&mut self, requests: &mut Vec<Request>) {
        while self.running.is_none()
            && let Some(line) = self.script.pop()
        {
            match Command::parse(&line) {
                Ok(Some(command)) => self.obey(command, &line, requests),
                Ok(None) => {}
                Err(error) => {
                    self.script.clear();
                    self.complain(error);
                }
            }
        }
    }

    fn screen(&mut self, command: ScreenCommand, requests: &mut Vec<Request>) {
        use ScreenCommand as S;
        match command {
            S::Scroll(direction, extent, count) => self.scroll(direction, extent, count),
            S::Enter => self.enter(requests),
            S::Focus(count) => self.turn_focus(count),
            S::Pane(pane) => self.show_pane(pane),
            S::Layout(layout) => self.arrange(layout),
            S::Zoom => self.arranged.zoomed = !self.arranged.zoomed,
            S::Resize(by) => self.resize_pane(by),
            S::Head(count) => self.turn_head(count),
            S::Token(count) => self.turn_token(count),
            S::Slice(parts) => {
                let visible = self.tensor_parts().map(|parts| parts.numbers());
                if let Err(sentence) = self.tensor.slice(&parts, visible) {
                    self.complain(sentence);
                }
            }
            S::Magnify(count) => self.tensor.magnify = magnified(self.tensor.magnify.max(1), count),
            S::Follow(token) => self.follow(token.as_deref()),
            S::Show(whose) => self.show(whose),
            S::Set(setting) => self.change(setting, requests),
            S::Search(None) => self.open_prompt(Purpose::Search, ""),
            S::Search(Some(text)) => self.search_for(&text),
            S::Select(name) => self.select(&name),
            S::Prompt(begun) if begun.is_empty() => self.open_prompt(Purpose::Command, ""),
            S::Prompt(begun) => self.open_prompt(Purpose::Command, &format!("{begun} ")),
            S::Information => self.overlay = Some(Overlay { kind: OverlayKind::Information, scroll: 0 }),
            S::Escape => self.escape(),
            S::Interrupt => requests.push(Request::Quit),
            S::Suspend => requests.push(Request::Suspend),
        }
    }

    fn escape(&mut self) {
        if self.arranged.zoomed {
            self.arranged.zoomed = false;
        } else {
            self.close_diagnosis();
        }
    }

    /// Another head in every pane that shows one.
    fn turn_head(&mut self, count: Count) {
        let areas = self.areas();
        let shown = |pane: Pane| areas.of(pane).is_some();
        let views = &mut self.views;
        // Before a page has come nobody knows how many heads there are; the page shows the last one instead of none.
        if shown(Pane::Attention) || shown(Pane::Lens) {
            let heads = views.attention.shown().map_or(usize::MAX, |page| page.lines.len());
            views.head = count.of(views.head, heads);
        }
        if shown(Pane::Cache) {
            let heads = views.cache.shown().map_or(usize::MAX, |page| page.kv_heads);
            views.kv_head = count.of(views.kv_head, heads);
        }
        if shown(Pane::Histogram) {
            views.turn_plane(count);
        }
        if shown(Pane::Tensor) {
            self.tensor.turn_plane(count);
        }
    }

    fn show(&mut self, whose: Whose) {
        if self.focus == Pane::Cache {
            self.views.half = if self.views.half == Half::Keys { Half::Values } else { Half::Keys };
            return;
        }
        if !self.tensor.choose(whose, &self.header) {
            self.complain("there is no such dump: --reference DUMP and --candidate DUMP give them");
        }
    }

    fn select(&mut self, name: &str) {
        let found = self.listing.rows.iter().position(|op| op.name == name || op.short == name);
        match found {
            Some(row) => self.outline.selected = Line::Op(row),
            None => self.complain(format!("no op is called {name}")),
        }
    }

    /// Shows a pane in the large place and gives it the keys; once more, and the tensor is back.
    fn show_pane(&mut self, pane: Pane) {
        if matches!(pane, Pane::Divergence | Pane::Curve) && !self.listing.compared {
            return self.complain("there are no errors: nothing to compare with was given");
        }
        let visible = self.areas().of(pane).is_some();
        match pane {
            Pane::Diagnosis if self.diagnosis.is_none() => self.complain("nothing is diagnosed: d does that"),
            Pane::Program | Pane::Diagnosis => self.focus = pane,
            _ if visible && self.focus == pane && self.arranged.large == pane && pane != Pane::Tensor => {
                self.arranged.large = Pane::Tensor;
                self.focus = Pane::Program;
            }
            _ if visible && self.arranged.large != pane && pane != Pane::Tokens => self.focus = pane,
            _ => {
                self.arranged.large = pane;
                self.focus = pane;
                if self.areas().of(pane).is_none() {
                    self.arranged.layout = Layout::Stepping;
                }
            }
        }
    }

    pub(crate) fn arrange(&mut self, layout: Option<Layout>) {
        let all = Layout::NAMED;
        let now = all.iter().position(|(_, layout)| *layout == self.arranged.layout).unwrap_or(0);
        let layout = layout.unwrap_or(all[(now + 1) % all.len()].1);
        if layout == Layout::Comparing && !self.listing.compared {
            return self.arrange(Some(Layout::Attention));
        }
        self.arranged = layout::Arrangement { layout, ..layout::Arrangement::default() };
        self.focus_something();
    }

    /// Where the pane that has the keys is no longer shown, another gets them.
    pub(crate) fn focus_something(&mut self) {
        let panes = self.areas().panes;
        if !panes.is_empty() && !panes.iter().any(|(pane, _)| *pane == self.focus) {
            self.focus = panes.first().map_or(Pane::Program, |(pane, _)| *pane);
        }
    }

    /// The panes that Tab goes through: on a small terminal, those that would be there on a larger one.
    fn turn_focus(&mut self, count: Count) {
        let arranged = layout::Arrangement { zoomed: false, ..self.arranged };
        let (columns, rows) = (self.size.0.max(80), self.size.1.max(24));
        let shown = layout::Shown { curve: false, diagnosis: self.diagnosis.is_some() };
        let areas = layout::areas(columns, rows, self.focus, arranged, shown);
        let panes: Vec<Pane> = areas.panes.iter().map(|(pane, _)| *pane).collect();
        let now = panes.iter().position(|pane| *pane == self.focus).unwrap_or(0);
        let next = match count {
            // Panes are counted from 1, as people count.
            Count::To(number) => number.saturating_sub(1).min(panes.len().saturating_sub(1)),
            Count::On(by) => (now.cast_signed() + by).rem_euclid(panes.len().max(1).cast_signed()).cast_unsigned(),
        };
        self.focus = panes.get(next).copied().unwrap_or_default();
    }

    fn resize_pane(&mut self, by: isize) {
        let by = i16::try_from(by.clamp(-200, 200)).unwrap_or(0);
        match self.focus {
            Pane::Program => self.arranged.program = (self.arranged.program + 2 * by).clamp(-200, 200),
            Pane::Diagnosis | Pane::Curve | Pane::Lens => {
                self.arranged.below = (self.arranged.below + by).clamp(-200, 200);
            }
            _ => self.arranged.program = (self.arranged.program - 2 * by).clamp(-200, 200),
        }
    }

    /// What a command does to what covers the panes; false if it does nothing to it.
    fn overlay_command(&mut self, overlay: Overlay, command: &Command) -> bool {
        match command {
            Command::Screen(ScreenCommand::Scroll(direction, extent, count)) => {
                self.scroll_overlay(overlay, *direction, *extent, *count);
                true
            }
            Command::Screen(ScreenCommand::Escape) | Command::Quit => {
                self.overlay = None;
                true
            }
            Command::Help(None) => {
                let closes = overlay.kind == OverlayKind::Help;
                self.overlay = None;
                closes
            }
            Command::Screen(ScreenCommand::Information) => {
                let closes = overlay.kind == OverlayKind::Information;
                self.overlay = None;
                closes
            }
            _ => {
                self.overlay = None;
                false
            }
        }
    }

    /// Scrolls what covers the panes.
    pub(crate) fn scroll_overlay(&mut self, overlay: Overlay, direction: Direction, extent: Extent, count: usize) {
        let page = usize::from(self.size.1).saturating_sub(4).max(1);
        let last = super::pane::overlay_lines(self, overlay.kind).len().saturating_sub(page);
        let by = match extent {
            Extent::Line => count,
            Extent::Page => page.saturating_mul(count),
            Extent::End => usize::MAX,
        };
        let scroll = match direction {
            Direction::Down => overlay.scroll.saturating_add(by),
            Direction::Up => overlay.scroll.saturating_sub(by),
            Direction::Left | Direction::Right => overlay.scroll,
        };
        self.overlay = Some(Overlay { scroll: scroll.min(last), ..overlay });
    }

    /// Moves within the pane that has the keys.
    fn scroll(&mut self, direction: Direction, extent: Extent, count: usize) {
        let count = count.cast_signed();
        let by = match extent {
            Extent::Line => count,
            Extent::Page => count.saturating_mul(self.page_height(self.focus)),
            Extent::End => isize::MAX,
        };
        let sideways = matches!(direction, Direction::Left | Direction::Right);
        if sideways && extent == Extent::End && matches!(self.focus, Pane::Program | Pane::Divergence) {
            return;
        }
        match direction {
            Direction::Down => self.scroll_pane(self.focus, by, 0),
            Direction::Up => self.scroll_pane(self.focus, by.saturating_neg(), 0),
            Direction::Right => self.scroll_pane(self.focus, 0, by),
            Direction::Left => self.scroll_pane(self.focus, 0, by.saturating_neg()),
        }
    }

    /// Moves within a pane.
    pub(crate) fn scroll_pane(&mut self, pane: Pane, rows: isize, columns: isize) {
        match pane {
            Pane::Diagnosis => self.move_diagnosis(rows),
            Pane::Tensor => {
                let visible = self.tensor_parts().map(|parts| parts.numbers());
                self.tensor.scroll(rows, columns, visible);
            }
            Pane::Log => self.log.scroll(rows, self.page_height(Pane::Log).cast_unsigned()),
            Pane::Program | Pane::Divergence | Pane::Curve | Pane::Histogram => self.scroll_program(rows, columns),
            Pane::Attention => {
                self.turn_token(Count::On(rows));
                self.turn_head(Count::On(columns));
            }
            Pane::Lens => {
                if let Some(page) = self.views.lens.shown().filter(|_| rows != 0) {
                    let row = Count::On(rows).of(super::pane::lens_selected(page, self), page.rows.len());
                    self.views.lens_row = Some(row);
                }
                self.turn_token(Count::On(columns));
            }
            Pane::Cache => {
                let layers = self.views.cache.shown().map_or(1, |page| page.layers.len());
                if rows != 0 {
                    self.views.cache_layer = Some(Count::On(rows).of(super::pane::cache_selected(self), layers));
                }
                self.turn_head(Count::On(columns));
            }
            Pane::Tokens => {
                if let Some(area) = self.areas().of(pane).filter(|_| rows != 0) {
                    self.views.first_token = Some(super::pane::tokens_scrolled(self, area, rows));
                }
            }
        }
    }

    fn scroll_program(&mut self, rows: isize, columns: isize) {
        if rows != 0 {
            self.outline.move_by(rows, &self.listing);
        }
        let layer = match self.outline.selected {
            Line::Layer(layer) => Some(layer),
            Line::Op(row) => outline::layer_of(&self.listing, row),
        };
        match layer {
            Some(layer) if columns > 0 => self.outline.open(layer),
            Some(layer) if columns < 0 => self.outline.close(layer),
            _ => {}
        }
    }

    fn enter(&mut self, requests: &mut Vec<Request>) {
        match self.outline.selected {
            _ if self.focus == Pane::Diagnosis => self.try_suspect(requests),
            _ if self.focus == Pane::Lens => {
                let page = self.views.lens.shown();
                let row = page.and_then(|page| page.rows.get(super::pane::lens_selected(page, self)));
                if let Some(row) = row.map(|row| row.row) {
                    self.go_to(row, requests);
                }
            }
            _ if !matches!(self.focus, Pane::Program | Pane::Divergence) => {}
            Line::Layer(layer) => self.outline.toggle(layer, &self.listing),
            Line::Op(row) => self.go_to(row, requests),
        }
    }

    fn go_to(&mut self, row: usize, requests: &mut Vec<Request>) {
        if let Some(name) = self.listing.rows.get(row).map(|op| op.short.clone()) {
            self.obey(Command::Goto(name.clone()), &format!("goto {name}"), requests);
        }
    }

    /// A click into a pane that is no list of ops: errors lead to their layer or op, and once more goes there.
    pub(crate) fn click(&mut self, pane: Pane, area: Rect, (column, row): (u16, u16), requests: &mut Vec<Request>) {
        let inside = layout::inside(area);
        if pane == Pane::Lens {
            self.views.lens_row = super::pane::lens_row_at(inside, row, self).or(self.views.lens_row);
        }
        let line = match pane {
            Pane::Curve => super::pane::layer_at(inside, column, self.curve.layers.len()).map(Line::Layer),
            Pane::Divergence => super::pane::divergence_hit(inside, column, row, self),
            _ => None,
        };
        match line {
            Some(line @ Line::Op(_)) if line == self.outline.selected => self.enter(requests),
            Some(line) => {
                self.outline.selected = line;
                if let Line::Layer(layer) = line {
                    self.outline.open(layer);
                }
            }
            None => {}
        }
    }
}

/// Magnifications double.
fn magnified(now: usize, count: Count) -> usize {
    const MOST: usize = 64;
    match count {
        Count::To(times) => times.clamp(1, MOST),
        Count::On(steps) if steps >= 0 => now << steps.min(6),
        Count::On(steps) => now >> steps.unsigned_abs().min(6),
    }
    .clamp(1, MOST)
}
