//! The log: what was typed and what came of it.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::debugger::command::Pane;
use crate::tui::app::App;
use crate::tui::log::{Entry, Kind};
use crate::tui::theme::Role;

/// Draws it: the newest line is the last.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, app: &App) {
    let entries = app.log.entries();
    let titles = vec![Line::raw(super::title(app, Pane::Log, "log")), Line::raw(format!(" {} lines ", entries.len()))];
    let inside = super::framed(buffer, area, app.theme, titles, app.focus == Pane::Log);
    let end = entries.len() - app.log.scroll.min(entries.len());
    let first = end.saturating_sub(usize::from(inside.height));
    for (entry, y) in entries[first..end].iter().zip(inside.top()..inside.bottom()) {
        buffer.set_line(inside.x, y, &line(entry, app), inside.width);
    }
}

/// The last answer, to be read in full.
pub(super) fn output(app: &App) -> Vec<Line<'static>> {
    app.log.last_answer().iter().map(|entry| line(entry, app)).collect()
}

fn line(entry: &Entry, app: &App) -> Line<'static> {
    let text = app.theme.text(&entry.text);
    match entry.kind {
        Kind::Command => Line::from(vec![
            Span::styled(":", app.theme.style(Role::Key)),
            Span::styled(text, app.theme.style(Role::Current)),
        ]),
        Kind::Answer => Line::raw(format!(" {text}")),
        Kind::Error => Line::styled(format!(" {text}"), app.theme.style(Role::Error)),
    }
}
