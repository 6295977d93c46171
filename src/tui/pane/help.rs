//! Help: every key and sign, from the tables that the keys themselves are read from.

use ratatui::text::{Line, Span};

use crate::debugger::view::Status;
use crate::debugger::{COMMANDS, Group, Spec};
use crate::tui::app::App;
use crate::tui::keymap::readable;
use crate::tui::text;
use crate::tui::text::wrapped;
use crate::tui::theme::Role;

/// Columns of the keys, and of the commands.
const KEYS: usize = 14;
const NAME: usize = 11;

/// What a command does, and what it takes.
fn doc(spec: &Spec) -> String {
    if spec.arguments.is_empty() || spec.takes_count {
        return spec.doc.to_string();
    }
    format!("{} ({})", spec.doc, spec.arguments)
}

/// The lines.
pub(super) fn lines(app: &App) -> Vec<Line<'static>> {
    let theme = app.theme();
    let heading = |text: &'static str| Line::styled(text, theme.style(Role::Title(true)));
    let row = |key: String, doc: String| {
        let key = Span::styled(text::pad(&format!("  {key}"), KEYS, ""), theme.style(Role::Key));
        Line::from(vec![key, Span::raw(doc)])
    };
    // The words on the right are broken where the pane ends.
    let room = usize::from(app.desk.size.0).saturating_sub(KEYS + NAME + 3).max(20);
    let mut lines = vec![Line::raw("A number before a key repeats it: 10s. Every key is a line that : takes, too.")];
    for (group, title) in Group::ALL {
        lines.extend([Line::default(), heading(title)]);
        for spec in COMMANDS.iter().filter(|spec| spec.group == *group) {
            // Keys that do the same stand together; what others do is in their line itself.
            let mut said: Vec<(&str, Vec<String>)> = Vec::new();
            for (key, rest) in app.input.keys.of_command(spec.name) {
                match said.iter_mut().find(|(known, _)| *known == rest) {
                    Some((_, keys)) => keys.push(readable(key)),
                    None => said.push((rest, vec![readable(key)])),
                }
            }
            // What the command's own row says is what the key without anything more does, if there is one.
            let plain = said.iter().position(|(rest, _)| rest.is_empty());
            let first = plain.map_or(String::new(), |plain| said.remove(plain).1.join(" "));
            let mut doc = wrapped(&doc(spec), room).into_iter();
            lines.push(row(first, format!("{:<NAME$} {}", spec.name, doc.next().unwrap_or_default())));
            lines.extend(doc.map(|more| row(String::new(), format!("{:<NAME$} {more}", ""))));
            let more = said.into_iter().map(|(rest, keys)| row(keys.join(" "), format!("{} {rest}", spec.name)));
            lines.extend(more);
        }
    }
    lines.push(Line::default());
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
    lines.push(row(theme.glyph("≠", "~").into(), "a patch changes it in our engine.".into()));
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
