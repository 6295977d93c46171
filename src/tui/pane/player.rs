//! The player of a recording: its bar at the bottom, and above it what is to be read about a line.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Widget};

use crate::debugger::{COMMANDS, Command, Group};
use crate::tui::app::App;
use crate::tui::keymap::readable;
use crate::tui::player::{CardKind, Doing, Player};
use crate::tui::text;
use crate::tui::text::wrapped;
use crate::tui::theme::Role;

/// Columns between the parts of the bar.
const GAP: usize = 2;
/// Columns that the last line and the mark keep at least when they are cut.
const LEAST: usize = 12;

/// A part of the bar.
struct Part {
    /// The key that the text is the word for.
    key: Option<String>,
    text: String,
    role: Option<Role>,
    /// Which parts find their room first: those of the smallest weight.
    weight: usize,
    /// Whether it is understood when cut.
    cut: bool,
}

/// Draws the bar.
pub(super) fn bar(buffer: &mut Buffer, area: Rect, app: &App, player: &Player) {
    let width = usize::from(area.width);
    let parts = parts(app, player);
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by_key(|index| parts[*index].weight);
    let mut room = width.saturating_sub(1);
    let mut shown = vec![String::new(); parts.len()];
    for index in order {
        let part = &parts[index];
        let key = part.key.as_ref().map_or(0, |key| text::width(key) + 1);
        let cut = text::fit(&part.text, room.saturating_sub(key), app.theme().ellipsis());
        let enough = cut == part.text || part.cut && text::width(&cut) >= LEAST;
        if !cut.is_empty() && enough {
            room = room.saturating_sub(key + text::width(&cut) + GAP);
            shown[index] = cut;
        }
    }
    let mut spans = vec![Span::raw(" ")];
    for (part, text) in parts.iter().zip(shown).filter(|(_, text)| !text.is_empty()) {
        let style = part.role.map_or_else(Default::default, |role| app.theme().style(role));
        if let Some(key) = &part.key {
            spans.extend([Span::styled(key.clone(), app.theme().style(Role::Key)), Span::raw(" ")]);
        }
        spans.extend([Span::styled(text, style), Span::raw(" ".repeat(GAP))]);
    }
    Clear.render(area, buffer);
    buffer.set_line(area.x, area.y, &Line::from(spans), area.width);
}

/// The parts, from left to right.
fn parts(app: &App, player: &Player) -> Vec<Part> {
    let theme = app.theme();
    let part = |weight, role, text: String| Part { key: None, text, role, weight, cut: false };
    let title = theme.text(&player.recording.title);
    let mut parts = vec![
        part(7, Some(Role::Title(true)), format!("replay {title}")),
        part(0, None, format!("{}/{}", player.played, player.lines())),
        part(2, None, doing(app, player)),
    ];
    match player.differing.iter().filter(|line| **line <= player.played).count() {
        0 => {}
        1 => parts.push(part(1, Some(Role::Error), "1 differs".to_string())),
        count => parts.push(part(1, Some(Role::Error), format!("{count} differ"))),
    }
    if let Some(line) = last_command(player) {
        parts.push(Part { cut: true, ..part(3, Some(Role::Label), format!(":{}", theme.text(line))) });
    }
    if let Some(mark) = player.mark() {
        parts.push(Part { cut: true, ..part(6, Some(Role::Current), format!("mark: {}", theme.text(mark))) });
    }
    parts.push(part(10, Some(Role::Dim), theme.text(&player.recording.source)));
    let specs = COMMANDS.iter().filter(|spec| spec.group == Group::Replaying);
    for key in specs.flat_map(|spec| spec.keys).filter(|key| !key.hint.is_empty()) {
        let Some(bound) = app.input.keys.keys_of(key.line).first().map(|bound| readable(bound)) else { continue };
        let (word, weight) = match key.hint {
            "play" if player.doing != Doing::Paused => ("pause", 4),
            "play" => ("play", 4),
            "next" => ("next", 5),
            "mark" => ("mark", 8),
            other => (other, 9),
        };
        parts.push(Part { key: Some(bound), ..part(weight, Some(Role::Dim), word.to_string()) });
    }
    parts
}

/// The line played last, unless it is a text, which stands elsewhere.
fn last_command(player: &Player) -> Option<&str> {
    let line = &player.recording.lines.get(player.played.checked_sub(1)?)?.text;
    let text = |command| matches!(command, None | Some(Command::Mark(_) | Command::Note(_)));
    Command::parse(line).is_ok_and(|command| !text(command)).then_some(line.trim())
}

fn doing(app: &App, player: &Player) -> String {
    let times = app.theme().glyph("×", "x");
    let speed = match player.speed {
        100 => String::new(),
        whole if whole % 100 == 0 => format!(" {times}{}", whole / 100),
        part => format!(" {times}{}", f64::from(part) / 100.0),
    };
    match player.doing {
        Doing::Seeking(target) => format!("going to {target}"),
        Doing::Playing => format!("{} playing{speed}", app.theme().glyph("▸", ">")),
        Doing::Paused if player.played == player.lines() => "the end".to_string(),
        Doing::Paused => format!("paused{speed}"),
    }
}

/// Draws what is to be read about the last line, above a row.
pub(super) fn card(buffer: &mut Buffer, end: u16, area: Rect, app: &App, player: &Player) {
    let Some(card) = player.card.as_ref().filter(|_| area.width >= 20 && end > 4) else { return };
    let (title, role) = match card.kind {
        CardKind::Story => ("", None),
        CardKind::Note => (" note ", None),
        CardKind::Difference => (" differs from the recording ", Some(Role::Error)),
    };
    let width = usize::from(area.width) - 4;
    let mut lines = wrapped(&app.theme().text(&card.text), width);
    let most = usize::from(end / 2).max(1);
    if lines.len() > most {
        let rest = lines.split_off(most - 1).join(" ");
        lines.push(rest);
    }
    let height = lines.len() as u16 + 2;
    let frame = Rect { y: end.saturating_sub(height), height, ..area };
    Clear.render(frame, buffer);
    let titles = if title.is_empty() { Vec::new() } else { vec![Line::raw(title)] };
    let inside = super::framed(buffer, frame, app.theme(), titles, true);
    let style = role.map_or_else(Default::default, |role| app.theme().style(role));
    for (line, y) in lines.iter().zip(inside.top()..inside.bottom()) {
        let line = text::fit(line, width, app.theme().ellipsis());
        buffer.set_stringn(inside.x + 1, y, line, width, style);
    }
}
