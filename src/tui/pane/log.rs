//! The log: what was typed and what came of it, a line each, the newest last.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::PaneSpec;
use crate::debugger::command::Pane;
use crate::tui::app::App;
use crate::tui::arranging::page_height;
use crate::tui::theme::Role;

/// Its row.
pub(super) const SPEC: PaneSpec = PaneSpec {
    draw,
    scroll: |app, rows, _| app.said.log.scroll(rows, page_height(app, Pane::Log).cast_unsigned()),
    keeps: true,
    ..PaneSpec::PLAIN
};

/// Lines kept at most.
const LONGEST: usize = 10_000;

/// Whose a line of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// What was typed.
    Command,
    /// What came of it.
    Answer,
    /// What went wrong.
    Error,
}

/// The log.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// Each line, not yet made harmless.
    entries: Vec<(Kind, String)>,
    /// Index of the first line of the last answer.
    last: usize,
    /// Lines scrolled up from the end.
    scroll: usize,
}

impl Log {
    /// Notes a command.
    pub(crate) fn command(&mut self, line: &str) {
        self.push(line.to_string(), Kind::Command);
    }

    /// Notes what came of it.
    pub(crate) fn answer(&mut self, lines: Vec<String>, error: bool) {
        self.last = self.entries.len();
        for line in lines {
            self.push(line, if error { Kind::Error } else { Kind::Answer });
        }
    }

    fn push(&mut self, text: String, kind: Kind) {
        if self.entries.len() >= 2 * LONGEST {
            self.entries.drain(..LONGEST);
            self.last = self.last.saturating_sub(LONGEST);
        }
        self.entries.push((kind, text));
        self.scroll = 0;
    }

    /// Scrolls; up by negative rows.
    fn scroll(&mut self, rows: isize, height: usize) {
        let most = self.entries.len().saturating_sub(height);
        self.scroll = self.scroll.saturating_add_signed(rows.saturating_neg()).min(most);
    }
}

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
    app.said.log.entries[app.said.log.last.min(app.said.log.entries.len())..]
        .iter()
        .map(|entry| line(entry, app))
        .collect()
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
