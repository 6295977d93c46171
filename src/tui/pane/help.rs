//! Help: every sign and key, from the tables that the keys themselves are read from.

use ratatui::text::{Line, Span};

use crate::debugger::messages::expressions;
use crate::debugger::view::Status;
use crate::debugger::{COMMANDS, Group, Spec};
use crate::tui::app::App;
use crate::tui::keymap::readable;
use crate::tui::text;
use crate::tui::text::wrapped;
use crate::tui::theme::Role;

/// Columns of the keys, of the commands, and of what expressions are made of.
const KEYS: usize = 14;
const NAME: usize = 11;
const USAGE: usize = 21;

/// What a command does, and what it takes.
fn doc(spec: &Spec) -> String {
    if spec.arguments.is_empty() || spec.takes_count {
        return spec.doc.to_string();
    }
    format!("{} ({})", spec.doc, spec.arguments)
}

/// The lines: the signs first, which are all over the program.
pub(super) fn lines(app: &App) -> Vec<Line<'static>> {
    let heading = |text: &'static str| Line::styled(text, app.theme().style(Role::Title(true)));
    let mut lines = vec![
        Line::raw("A number before a key repeats it: 10s. Every key is a line that : takes, too."),
        Line::raw("help COMMAND has examples: :help break."),
        heading("The signs"),
    ];
    lines.extend(signs(app));
    for (group, title) in Group::ALL {
        lines.extend([Line::default(), heading(title)]);
        COMMANDS.iter().filter(|spec| spec.group == *group).for_each(|spec| lines.extend(command(spec, app)));
    }
    let mouse = "Click selects, again opens; the wheel scrolls; with Shift the terminal selects text.";
    lines.extend(beside("mouse", KEYS, mouse, app));
    lines.extend([Line::default(), heading("Expressions and conditions")]);
    lines.extend(expressions().flat_map(|(usage, doc)| beside(usage, USAGE, doc, app)));
    lines
}

/// A word in so many columns, and beside it what is to be said of it, broken where the pane ends.
fn beside(word: &str, columns: usize, doc: &str, app: &App) -> Vec<Line<'static>> {
    let room = usize::from(app.desk.size.0).saturating_sub(columns + 2).max(20);
    let key = app.theme().style(Role::Key);
    let line = |(index, text): (usize, String)| {
        let word = if index == 0 { format!("  {word}") } else { String::new() };
        Line::from(vec![Span::styled(text::pad(&word, columns, ""), key), Span::raw(text)])
    };
    wrapped(doc, room).into_iter().enumerate().map(line).collect()
}

/// What stands in the program and beside it.
fn signs(app: &App) -> Vec<Line<'static>> {
    let theme = app.theme();
    let statuses = [
        (Status::Agrees, "agrees: it is what its inputs give, but for rounding."),
        (Status::Equivalent, "agrees in another layout: harmless."),
        (Status::Diverges, "not what its inputs give: the error is made here."),
        (Status::Follows, "wrong because what came in was wrong."),
        (Status::NotCompared, "computed; no dump has it."),
    ];
    let status = |(status, doc): (Status, &'static str)| {
        let (word, style) = theme.status(status);
        let padding = " ".repeat(KEYS - 2 - text::width(word));
        Line::from(vec![Span::raw("  "), Span::styled(word, style), Span::raw(padding), Span::raw(doc)])
    };
    let others = [
        (theme.glyph("●  >  ≠", "*  >  ~"), "a breakpoint; where the debugger stands; a patch changes it."),
        (theme.glyph("▸  ▾", "+  -"), "a layer, closed or open."),
        ("error", "relative L2 error of the candidate, else ours, to the reference."),
        ("input", "what the errors of its inputs alone make of an op: what came in."),
        ("local", "the error made here: to what the op gives on the dump's inputs."),
        ("floor", "the local error of correct programs of the dump's precision."),
        (theme.glyph("×floor", "xfloor"), "local over floor: an op that agrees has about 1 or less."),
    ];
    let others = others.into_iter().flat_map(|(sign, doc)| beside(sign, KEYS, doc, app));
    statuses.into_iter().map(status).chain(others).collect()
}

/// A command with its keys.
fn command(spec: &Spec, app: &App) -> Vec<Line<'static>> {
    let row = |key: String, doc: String| {
        let key = Span::styled(text::pad(&format!("  {key}"), KEYS, ""), app.theme().style(Role::Key));
        Line::from(vec![key, Span::raw(doc)])
    };
    let room = usize::from(app.desk.size.0).saturating_sub(KEYS + NAME + 3).max(20);
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
    let mut lines = vec![row(first, format!("{:<NAME$} {}", spec.name, doc.next().unwrap_or_default()))];
    lines.extend(doc.map(|more| row(String::new(), format!("{:<NAME$} {more}", ""))));
    lines.extend(said.into_iter().map(|(rest, keys)| row(keys.join(" "), format!("{} {rest}", spec.name))));
    lines
}
