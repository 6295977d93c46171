//! The tokens of the session: position, id, text; those of this forward stand out.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;

use super::PaneSpec;
use crate::debugger::command::{Count, Pane};
use crate::debugger::view::Token;
use crate::tui::app::App;
use crate::tui::desk::Place;
use crate::tui::text;
use crate::tui::theme::Role;

/// Columns of a pane that says of each token when it is fed.
const WIDE: u16 = 40;

/// Its row.
pub(super) const SPEC: PaneSpec = PaneSpec {
    draw,
    follow: |panes| panes.tokens.first = None,
    scroll: |app, rows, _| {
        if let Some(area) = app.areas().of(Pane::Tokens).filter(|_| rows != 0) {
            let height = usize::from(area.height.saturating_sub(2 + u16::from(area.width >= WIDE && area.height > 5)));
            let most = app.header.tokens.len().saturating_sub(height);
            app.panes.tokens.first = Some(first(app, height).saturating_add_signed(rows).min(most));
        }
    },
    place: Place::Enlarged,
    ..PaneSpec::PLAIN
};

/// Which tokens are shown.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// The token that is looked at: a row of the current forward; `None` is the last one.
    chosen: Option<usize>,
    /// The first one of the list that the user has scrolled to; `None`: those of this forward are shown.
    first: Option<usize>,
}

/// The token that is looked at: a row of the current forward.
pub(super) fn token_row(app: &App) -> usize {
    let last = app.forward_tokens().saturating_sub(1);
    app.panes.tokens.chosen.map_or(last, |token| token.min(last))
}

/// Looks at another token.
pub(crate) fn turn_token(app: &mut App, count: Count) {
    let count = match count {
        // As people count them: by their position in the sequence.
        Count::To(position) => Count::To(position.saturating_sub(app.first_position())),
        on @ Count::On(_) => on,
    };
    app.panes.tokens.chosen = Some(count.of(token_row(app), app.forward_tokens()));
    app.panes.tokens.first = None;
}

/// Draws them.
fn draw(buffer: &mut Buffer, area: Rect, app: &App) {
    let count = app.header.tokens.len();
    let plural = if count == 1 { "" } else { "s" };
    let wide = area.width >= WIDE;
    let choose = if wide { " { } choose > " } else { "" };
    let inside = super::frame(buffer, area, app, Pane::Tokens, &format!("{count} token{plural}"), choose);
    let (current, chosen) = (fed(app), app.first_position() + token_row(app));
    let headed = u16::from(wide && inside.height > 3);
    if headed > 0 {
        let heading = format!("{:>4} {:>7} {:<10} text", "at", "id", "fed in");
        buffer.set_stringn(inside.x, inside.y, heading, usize::from(inside.width), app.theme().style(Role::Label));
    }
    let list = Rect { y: inside.y + headed, height: inside.height - headed, ..inside };
    let height = usize::from(list.height);
    let first = first(app, height);
    let last = count.min(first + height);
    for (index, y) in (first..last).zip(list.top()..list.bottom()) {
        let style = match index {
            _ if index == chosen => app.theme().style(Role::Current),
            _ if current.contains(&index) => Style::new(),
            _ => app.theme().style(Role::Dim),
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
    let seen = app.first_position() + token_row(app) + 1;
    let end = fed(app).end.min(seen + height / 2);
    app.panes.tokens.first.unwrap_or(end.saturating_sub(height)).min(most)
}

/// What the loader and the dumps had to say, where the tokens leave room.
fn notes(buffer: &mut Buffer, area: Rect, app: &App) {
    let width = usize::from(area.width).saturating_sub(4).max(1);
    let notes = app.header.notes.iter().flat_map(|note| {
        let lines = text::wrapped(&app.theme().text(note), width).into_iter().enumerate();
        lines.map(|(index, line)| format!("  {} {line}", if index == 0 { "-" } else { " " }))
    });
    let below = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    super::put(buffer, below, notes.map(|line| Line::styled(line, app.theme().style(Role::Dim))));
}

/// Positions of the tokens that the current forward is fed.
fn fed(app: &App) -> std::ops::Range<usize> {
    let before = app.first_position();
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
    format!("\"{}\"", text::fit(&app.theme().text(&token.text), 200, app.theme().ellipsis()))
}
