//! Help: every key and sign, from the tables that the keys themselves are read from.

use ratatui::text::{Line, Span};

use crate::debugger::COMMANDS;
use crate::debugger::view::Status;
use crate::tui::app::App;
use crate::tui::keymap::BINDINGS;
use crate::tui::text;
use crate::tui::theme::Role;

/// Columns of the keys.
const KEYS: usize = 14;

/// The lines.
pub(super) fn lines(app: &App) -> Vec<Line<'static>> {
    let theme = app.theme;
    let heading = |text: &'static str| Line::styled(text, theme.style(Role::Title(true)));
    let row = |key: String, doc: String| {
        let key = Span::styled(text::pad(&format!("  {key}"), KEYS, ""), theme.style(Role::Key));
        Line::from(vec![key, Span::raw(doc)])
    };
    let mut lines = vec![heading("Stepping (a number before the key repeats it: 10s)")];
    lines.extend(COMMANDS.iter().map(|spec| row(spec.key.to_string(), spec.doc.to_string())));
    lines.extend([Line::default(), heading("The screen")]);
    let documented = BINDINGS.iter().filter(|binding| !binding.doc.is_empty());
    lines.extend(documented.map(|binding| row(binding.readable_keys().join(" "), binding.doc.to_string())));
    let mouse = "Click selects, again opens; the wheel scrolls; with Shift the terminal selects text.";
    lines.extend([row("mouse".into(), mouse.into()), Line::default(), heading("The signs")]);
    let signs = [
        (Status::Agrees, "agrees: it is what its inputs give, but for rounding."),
        (Status::Equivalent, "agrees in another layout: harmless."),
        (Status::Diverges, "not what its inputs give: the error is made here."),
        (Status::Follows, "wrong because what came in was wrong."),
        (Status::NotCompared, "computed; no dump has it."),
    ];
    lines.extend(signs.map(|(status, doc)| {
        let (word, style) = theme.status(status);
        let padding = " ".repeat(KEYS - 2 - text::width(word));
        Line::from(vec![Span::raw("  "), Span::styled(word, style), Span::raw(padding), Span::raw(doc)])
    }));
    lines.push(row(theme.glyph("●  >", "*  >").into(), "a breakpoint; where the debugger stands.".into()));
    let numbers = [
        ("error", "relative L2 error of the candidate (else the engine) against the reference."),
        ("input", "what the errors of its inputs alone make of an op: what came in."),
        ("local", "the error made here: against what the op gives on the dump's own inputs."),
        ("floor", "the local error of correct programs of the dump's precision."),
        ("xfloor", "local over floor: an op that agrees has about 1 or less."),
    ];
    lines.extend(numbers.map(|(name, doc)| row(name.into(), doc.into())));
    lines
}
