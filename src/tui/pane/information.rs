//! Model, witnesses, notes and tokens, for terminals too small to show them all the time.

use ratatui::text::{Line, Span};

use crate::debugger::view::Witness;
use crate::tui::app::App;
use crate::tui::text::wrapped;
use crate::tui::theme::Role;

/// The lines.
pub(super) fn lines(app: &App) -> Vec<Line<'static>> {
    let theme = app.theme();
    let heading = |text: &'static str| Line::styled(text, theme.style(Role::Title(true)));
    let width = usize::from(app.desk.size.0).saturating_sub(6).max(10);
    let witnesses: Vec<&str> = app.header.witnesses.iter().copied().map(Witness::name).collect();
    let mut lines = vec![
        heading("Model"),
        Line::from(vec![Span::raw("  "), Span::raw(theme.text(&app.header.model))]),
        Line::from(vec![Span::raw("  "), Span::raw(theme.text(&app.header.facts))]),
        Line::raw(format!("  shown: {}", witnesses.join(", "))),
        Line::default(),
    ];
    if !app.header.notes.is_empty() {
        lines.push(heading("Notes"));
        for note in &app.header.notes {
            lines.extend(wrapped(&theme.text(note), width).into_iter().map(|line| Line::raw(format!("  {line}"))));
        }
        lines.push(Line::default());
    }
    lines.push(heading("Tokens: position, id, text"));
    lines.extend((0..app.header.tokens.len()).map(|index| Line::raw(super::tokens::line(app, index))));
    lines
}
