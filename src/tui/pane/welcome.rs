//! What one can do before the first op: said where the tensor will be, and at the bottom where that is not shown.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::debugger::command::Pane;
use crate::debugger::view::Witness;
use crate::tui::app::App;
use crate::tui::keymap::readable;
use crate::tui::text;
use crate::tui::theme::Role;

/// What the keys do where something is compared, where two dumps are without our engine, and where that is alone.
const COMPARED: &[(&str, &str)] = &[
    ("continue", "runs to the first difference"),
    ("diagnose %", "says why"),
    ("step", "computes one op"),
    ("next", "goes on to the next layer"),
    ("help", "helps"),
];
const NOT_COMPUTED: &[(&str, &str)] = &[
    ("continue", "goes to the first difference"),
    ("diagnose %", "says why"),
    ("step", "goes on to the next tensor"),
    ("next", "goes on to the next layer"),
    ("show next", "shows the other, the difference"),
    ("help", "helps"),
];
const ALONE: &[(&str, &str)] = &[
    ("step", "computes one op"),
    ("next", "goes on to the next layer"),
    ("run", "runs to the end"),
    ("pane attention", "shows attention"),
    ("pane lens", "shows what each layer would say"),
    ("prompt patch % ", "changes an activation"),
    ("help", "helps"),
];
/// Of these, those that one sentence has.
const SAID: &[&str] = &["continue", "diagnose %", "next", "help"];

/// Whether nothing is computed yet.
pub(super) fn is_due(app: &App) -> bool {
    app.listing.at.is_none()
}

/// What is debugged, in a sentence.
fn story(app: &App) -> String {
    let has = |witness| app.header.witnesses.contains(&witness);
    if let Some(story) = app.story {
        return story.to_string();
    }
    match (has(Witness::Reference), has(Witness::Candidate)) {
        (true, true) => "The candidate is compared with the reference.".into(),
        (true, false) => "Our engine is compared with the reference.".into(),
        (false, true) => "The candidate is compared with our engine.".into(),
        (false, false) => format!("{}, ready to be stepped through.", app.theme().text(&app.header.model)),
    }
}

/// Keys, and what they do.
fn keys(app: &App) -> impl Iterator<Item = (&'static str, String, &'static str)> {
    let keys = match app.listing.compared {
        true if !app.header.witnesses.contains(&Witness::Engine) => NOT_COMPUTED,
        true => COMPARED,
        false => ALONE,
    };
    keys.iter().filter_map(|(line, does)| Some((*line, readable(app.input.keys.keys_of(line).first()?), *does)))
}

/// Draws it.
pub(super) fn draw(buffer: &mut Buffer, inside: Rect, app: &App) {
    let theme = app.theme();
    let width = usize::from(inside.width).saturating_sub(2);
    let mut lines: Vec<Line> =
        text::wrapped(&story(app), width).into_iter().map(|line| Line::raw(format!(" {line}"))).collect();
    lines.push(Line::default());
    let known: Vec<_> = keys(app).collect();
    let column = known.iter().map(|(_, key, _)| text::width(key)).max().unwrap_or(0);
    lines.extend(known.into_iter().map(|(_, key, does)| {
        let key = Span::styled(format!("  {}  ", text::pad(&key, column, "")), theme.style(Role::Key));
        Line::from(vec![key, Span::raw(does)])
    }));
    if inside.height > 2 {
        lines.insert(0, Line::default());
    }
    super::put(buffer, inside, lines);
}

/// The same in one sentence, where the tensor is not on the screen.
pub(super) fn sentence(app: &App) -> Option<String> {
    if !is_due(app) || app.inside(Pane::Tensor).is_some() {
        return None;
    }
    let said: Vec<String> =
        keys(app).filter(|(line, ..)| SAID.contains(line)).map(|(_, key, does)| format!("{key} {does}")).collect();
    Some(format!("{} {}", story(app), said.join(", ")))
}
