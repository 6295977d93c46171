//! What commands do to the screen; those of the debugger are sent on to it.

use ratatui::layout::Rect;

use super::app::{App, Overlay, OverlayKind};
use super::layout;
use super::message::Request;
use super::outline::Line;
use super::prompt::Purpose;
use crate::debugger::Command;
use crate::debugger::command::{Count, Pane, ScreenCommand, Whose};
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
            Command::Screen(command) => {
                requests.push(Request::Obeyed(line.to_string()));
                return self.screen(command, requests);
            }
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
        self.execute(command, line, requests);
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
    pub(crate) fn turn_head(&mut self, count: Count) {
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
