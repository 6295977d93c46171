//! The tokens of the session: position, id, text; those of this forward stand out.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;

use super::information::wrapped;
use crate::tui::app::App;
use crate::tui::text;
use crate::tui::theme::Role;

/// Draws them.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, app: &App) {
    let current = fed(app);
    let count = app.header.tokens.len();
    let inside = super::framed(buffer, area, app.theme, vec![Line::raw(format!(" {count} tokens "))], false);
    let height = usize::from(inside.height);
    // The last tokens of the forward are the ones looked at most.
    let first = current.end.min(count).saturating_sub(height);
    let last = count.min(first + height);
    for (index, y) in (first..last).zip(inside.top()..inside.bottom()) {
        let style = if current.contains(&index) { Style::new() } else { app.theme.style(Role::Dim) };
        buffer.set_stringn(inside.x, y, line(app, index), usize::from(inside.width), style);
    }
    let used = (last - first) as u16;
    notes(buffer, Rect { y: inside.y + used, height: inside.height - used, ..inside }, app);
}

/// What the loader and the dumps had to say, where the tokens leave room.
fn notes(buffer: &mut Buffer, area: Rect, app: &App) {
    let width = usize::from(area.width).saturating_sub(4).max(1);
    let notes = app.header.notes.iter().flat_map(|note| {
        let lines = wrapped(&app.theme.text(note), width).into_iter().enumerate();
        lines.map(|(index, line)| format!("  {} {line}", if index == 0 { "-" } else { " " }))
    });
    for (line, y) in notes.zip(area.top() + 1..area.bottom()) {
        buffer.set_stringn(area.x, y, line, usize::from(area.width), app.theme.style(Role::Dim));
    }
}

/// Positions of the tokens that the current forward is fed.
fn fed(app: &App) -> std::ops::Range<usize> {
    let before: usize = app.header.forwards.iter().take(app.listing.forward).sum();
    before..before + app.header.forwards.get(app.listing.forward).copied().unwrap_or(0)
}

/// One token: ` 3    284 " of"`.
pub(super) fn line(app: &App, index: usize) -> String {
    let token = &app.header.tokens[index];
    format!("{index:>4} {:>7} {}", token.id, quoted(app, index))
}

/// The text of a token in quotes; nothing without a tokenizer.
pub(super) fn quoted(app: &App, index: usize) -> String {
    match app.header.tokens.get(index).map(|token| app.theme.text(&token.text)) {
        Some(text) if !text.is_empty() => format!("\"{}\"", text::fit(&text, 200, app.theme.ellipsis())),
        _ => String::new(),
    }
}
