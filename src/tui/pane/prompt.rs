//! The line at the bottom: what is being typed, else what there is to say, else the keys.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Widget};

use crate::debugger::view::Status;
use crate::debugger::{COMMANDS, Group};
use crate::tui::app::App;
use crate::tui::keymap::readable;
use crate::tui::prompt::Prompt;
use crate::tui::said::Message;
use crate::tui::text;
use crate::tui::text::wrapped;
use crate::tui::theme::Role;

/// Lines of a message at most.
const MESSAGE_LINES: usize = 4;

/// Draws it; gives the place of the cursor while something is typed.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, app: &App) -> Option<Position> {
    if let Some(prompt) = &app.typing.prompt {
        return Some(typed(buffer, area, app, prompt));
    }
    // What is said stands above the keys, or above what the player says of itself.
    if let Some(player) = app.open_player() {
        super::player::bar(buffer, area, app, player);
        let end = message(buffer, area.y, area, app);
        super::player::card(buffer, end, area, app, player);
    } else {
        buffer.set_line(area.x, area.y, &hints(app, usize::from(area.width)), area.width);
        message(buffer, area.y, area, app);
    }
    None
}

/// Draws the message above a row; gives the row where it begins.
fn message(buffer: &mut Buffer, end: u16, area: Rect, app: &App) -> u16 {
    let welcome = || super::welcome::sentence(app).map(|text| Message { text, error: false });
    let Some(message) = app.said.message.clone().or_else(welcome) else { return end };
    let style = app.theme().style(if message.error { Role::Error } else { Role::Current });
    let width = usize::from(area.width).saturating_sub(2);
    let text = app.theme().text(&message.text);
    let mut lines = vec![text.clone()];
    if text::width(&text) > width && end > 2 {
        // A long sentence covers what is above, until the next key.
        lines = wrapped(&text, width);
        let most = usize::from(end - 2).min(MESSAGE_LINES);
        if lines.len() > most {
            let rest = lines.split_off(most - 1).join(" ");
            lines.push(rest);
        }
    }
    let start = end.saturating_sub(lines.len() as u16);
    for (line, y) in lines.iter().zip(start..end) {
        let line = text::fit(line, width, app.theme().ellipsis());
        let row = Rect { y, height: 1, ..area };
        Clear.render(row, buffer);
        buffer.set_line(row.x, row.y, &Line::from(vec![Span::raw(" "), Span::styled(line, style)]), row.width);
    }
    start
}

fn typed(buffer: &mut Buffer, area: Rect, app: &App, prompt: &Prompt) -> Position {
    let theme = app.theme();
    let before = theme.text(prompt.before_cursor());
    let all = theme.text(prompt.text());
    let label = format!(" {}", prompt.purpose.label());
    let room = usize::from(area.width).saturating_sub(text::width(&label) + 1);
    // A text longer than the line is shown around its cursor.
    let hidden = text::width(&before).saturating_sub(room);
    let mut skipped = 0;
    let start = all.char_indices().find(|(_, character)| {
        let here = skipped >= hidden;
        skipped += text::width(character.encode_utf8(&mut [0; 4]));
        here
    });
    let shown = start.map_or("", |(start, _)| &all[start..]);
    let mut line = vec![Span::styled(label.clone(), theme.style(Role::Key)), Span::raw(shown.to_string())];
    for (index, name) in prompt.completions.words.iter().enumerate().skip(prompt.picked.unwrap_or(0)).take(40) {
        let role = if prompt.picked == Some(index) { Role::Current } else { Role::Dim };
        line.push(Span::styled(format!("  {}", theme.text(name)), theme.style(role)));
    }
    buffer.set_line(area.x, area.y, &Line::from(line), area.width);
    let column = text::width(&label) + text::width(&before).saturating_sub(hidden);
    Position::new(area.x + (column as u16).min(area.width.saturating_sub(1)), area.y)
}

/// Keys and their words, as many as fit; help and quit always.
fn hints(app: &App, width: usize) -> Line<'static> {
    // Those of the player stand in its bar.
    let specs = COMMANDS.iter().filter(|spec| spec.group != Group::Replaying);
    let hinted = specs.flat_map(|spec| spec.keys).filter(|key| !key.hint.is_empty());
    let known = hinted.filter_map(|key| Some((readable(app.input.keys.keys_of(key.line).first()?), key.hint)));
    let (always, all): (Vec<_>, Vec<_>) = known.partition(|(_, word)| matches!(*word, "command" | "help" | "quit"));
    let columns = |(key, word): &(String, &str)| text::width(key) + text::width(word) + 3;
    let count = app.input.count.map(|count| format!(" {count}"));
    let mut room =
        width.saturating_sub(always.iter().map(columns).sum::<usize>() + count.as_ref().map_or(0, String::len));
    // Where space is short, going forward matters more than going back; where an error is made, why.
    let wrong = app.at().is_some_and(|op| op.status == Status::Diverges);
    let weight = |(_, word): &(String, &str)| match *word {
        "why" if wrong => 0,
        "why" => 3,
        "step" | "next" | "continue" => 0,
        "back" | "goto" | "break" | "finish" => 1,
        _ => 2,
    };
    let mut chosen = vec![false; all.len()];
    for round in 0..=3 {
        for (index, hint) in all.iter().enumerate().filter(|(_, hint)| weight(hint) == round) {
            if columns(hint) <= room {
                chosen[index] = true;
                room -= columns(hint);
            }
        }
    }
    let chosen = all.into_iter().zip(chosen).filter_map(|(hint, chosen)| chosen.then_some(hint));
    let mut spans = vec![Span::styled(count.unwrap_or_default(), app.theme().style(Role::Current))];
    for (key, word) in chosen.chain(always) {
        spans.push(Span::styled(format!(" {key}"), app.theme().style(Role::Key)));
        spans.push(Span::styled(format!(" {word} "), app.theme().style(Role::Dim)));
    }
    Line::from(spans)
}
