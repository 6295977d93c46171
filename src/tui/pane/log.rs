//! The log: what was typed and what came of it, a line each, the newest last.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::PaneSpec;
use crate::debugger::command::Pane;
use crate::tui::app::App;
use crate::tui::said::Kind;
use crate::tui::scrolling::page_height;
use crate::tui::text::broken;
use crate::tui::theme::Role;

/// Its row.
pub(super) const SPEC: PaneSpec = PaneSpec {
    draw,
    scroll: |app, rows, _| app.said.log.scroll(rows, page_height(app, Pane::Log).cast_unsigned()),
    keeps: true,
    ..PaneSpec::PLAIN
};

/// Draws it: the newest line is the last.
fn draw(buffer: &mut Buffer, area: Rect, app: &App) {
    let entries = &app.said.log.entries;
    let inside = super::frame(buffer, area, app, Pane::Log, "log", format!(" {} lines ", entries.len()));
    let end = entries.len() - app.said.log.scroll.min(entries.len());
    let first = end.saturating_sub(usize::from(inside.height));
    super::put(buffer, inside, entries[first..end].iter().map(|entry| line(entry, app)));
}

/// The last answer, to be read in full.
pub(super) fn output(app: &App) -> Vec<Line<'static>> {
    let columns = usize::from(app.desk.size.0).saturating_sub(3);
    let last = &app.said.log.entries[app.said.log.last.min(app.said.log.entries.len())..];
    let lines = last.iter().flat_map(|(kind, text)| broken(text, columns).into_iter().map(|text| (*kind, text)));
    lines.map(|entry| line(&entry, app)).collect()
}

fn line((kind, text): &(Kind, String), app: &App) -> Line<'static> {
    let text = app.theme().text(text);
    match kind {
        Kind::Command => Line::from(vec![
            Span::styled(":", app.theme().style(Role::Key)),
            Span::styled(text, app.theme().style(Role::Current)),
        ]),
        Kind::Answer => Line::raw(format!(" {text}")),
        Kind::Error => Line::styled(format!(" {text}"), app.theme().style(Role::Error)),
    }
}
