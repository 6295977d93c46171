//! The tokens of the session: position, id, text; those of this forward stand out.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;

use super::information::wrapped;
use crate::debugger::command::Pane;
use crate::debugger::view::Token;
use crate::tui::app::App;
use crate::tui::text;
use crate::tui::theme::Role;

/// Columns of a pane that says of each token when it is fed.
const WIDE: u16 = 40;

/// Draws them.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, app: &App) {
    let count = app.header.tokens.len();
    let plural = if count == 1 { "" } else { "s" };
    let wide = area.width >= WIDE;
    let mut titles = vec![Line::raw(super::title(app, Pane::Tokens, &format!("{count} token{plural}")))];
    titles.extend(wide.then(|| Line::raw(" { } choose > ")));
    let inside = super::framed(buffer, area, app.theme, titles, app.focus == Pane::Tokens);
    let (current, chosen) = (fed(app), app.first_position() + app.token_row());
    let headed = u16::from(wide && inside.height > 3);
    if headed > 0 {
        let heading = format!("{:>4} {:>7} {:<10} text", "at", "id", "fed in");
        buffer.set_stringn(inside.x, inside.y, heading, usize::from(inside.width), app.theme.style(Role::Label));
    }
    let list = Rect { y: inside.y + headed, height: inside.height - headed, ..inside };
    let height = usize::from(list.height);
    let first = first(app, height);
    let last = count.min(first + height);
    for (index, y) in (first..last).zip(list.top()..list.bottom()) {
        let style = match index {
            _ if index == chosen => app.theme.style(Role::Current),
            _ if current.contains(&index) => Style::new(),
            _ => app.theme.style(Role::Dim),
        };
        let mark = if index == chosen { ">" } else { " " };
        let line = if wide { long(app, index) } else { line(app, index) };
        let line = format!("{mark}{}", line.strip_prefix(' ').unwrap_or(&line));
        buffer.set_stringn(list.x, y, line, usize::from(list.width), style);
    }
    super::shown(buffer, area, app, (first, height), count);
    let used = (last - first) as u16;
    notes(buffer, Rect { y: list.y + used, height: list.height - used, ..list }, app);
}

/// The first token on screen: where the user has scrolled to, else such that the one looked at can be seen.
fn first(app: &App, height: usize) -> usize {
    let most = app.header.tokens.len().saturating_sub(height);
    // The last tokens of the forward are the ones looked at most.
    let seen = app.first_position() + app.token_row() + 1;
    let end = fed(app).end.min(seen + height / 2);
    app.views.first_token.unwrap_or(end.saturating_sub(height)).min(most)
}

/// Scrolls.
pub(crate) fn scrolled(app: &App, area: Rect, rows: isize) -> usize {
    let height = usize::from(area.height.saturating_sub(2 + u16::from(area.width >= WIDE && area.height > 5)));
    let most = app.header.tokens.len().saturating_sub(height);
    first(app, height).saturating_add_signed(rows).min(most)
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

/// The same with the forward that it is fed in.
fn long(app: &App, index: usize) -> String {
    let mut end = 0;
    let forward = app.header.forwards.iter().position(|tokens| {
        end += tokens;
        index < end
    });
    let fed = match forward {
        Some(0) => "prefill".to_string(),
        Some(step) => format!("decode {step}"),
        None => "not yet".to_string(),
    };
    format!("{index:>4} {:>7} {fed:<10} {}", app.header.tokens[index].id, quoted(app, index))
}

/// One token: ` 3    284 " of"`.
pub(super) fn line(app: &App, index: usize) -> String {
    let token = &app.header.tokens[index];
    format!("{index:>4} {:>7} {}", token.id, quoted(app, index))
}

/// The text of the token at a position, in quotes; nothing without a tokenizer.
pub(super) fn quoted(app: &App, index: usize) -> String {
    match app.header.tokens.get(index) {
        Some(token) if !token.text.is_empty() => quote(app, token),
        _ => String::new(),
    }
}

/// The text of a token in quotes; its id where there is none.
pub(super) fn quote(app: &App, token: &Token) -> String {
    if token.text.is_empty() {
        return format!("#{}", token.id);
    }
    format!("\"{}\"", text::fit(&app.theme.text(&token.text), 200, app.theme.ellipsis()))
}
