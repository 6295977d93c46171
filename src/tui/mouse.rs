//! What the mouse does: each click and each turn of the wheel is a few command lines, obeyed and recorded like any.

use ratatui::crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Position;

use super::app::App;
use super::asking;
use super::layout;
use super::pane::spec;
use super::prompt::Purpose;
use crate::debugger::Command;

/// Lines a turn of the wheel moves.
const WHEEL: usize = 3;

/// Takes in the mouse: a click gives a pane the keys and selects; the wheel scrolls what it is over.
pub(crate) fn obey(app: &mut App, mouse: MouseEvent) {
    // A click elsewhere ends a search, and nothing more.
    if !matches!(mouse.kind, MouseEventKind::Up(_) | MouseEventKind::Drag(_) | MouseEventKind::Moved)
        && app.typing.prompt.as_ref().is_some_and(|prompt| prompt.purpose == Purpose::Search)
    {
        return asking::accept(app);
    }
    let said = lines(app, mouse);
    if !said.is_empty() {
        app.said.message = None;
    }
    for line in said {
        app.obey_line(&line);
    }
}

/// Whether the mouse has to wait, as a key would.
pub(crate) fn must_wait(app: &App, mouse: MouseEvent) -> bool {
    let Some(running) = &app.running else { return false };
    let looks = |line: &String| matches!(Command::parse(line), Ok(Some(Command::Screen(_))));
    !running.long || !lines(app, mouse).iter().all(looks)
}

/// The lines that do what the mouse is to do.
fn lines(app: &App, mouse: MouseEvent) -> Vec<String> {
    let wheel = match mouse.kind {
        MouseEventKind::ScrollDown => Some("down"),
        MouseEventKind::ScrollUp => Some("up"),
        MouseEventKind::ScrollRight => Some("right"),
        MouseEventKind::ScrollLeft => Some("left"),
        MouseEventKind::Down(MouseButton::Left) => None,
        _ => return Vec::new(),
    };
    if app.said.overlay.is_some() {
        return vec![wheel.map_or("escape".to_string(), |direction| format!("{direction} {WHEEL}"))];
    }
    let at = Position::new(mouse.column, mouse.row);
    let under = app.areas().panes.into_iter().find(|(_, area)| area.contains(at));
    let Some((pane, area)) = under else { return Vec::new() };
    let spec = spec(pane);
    if let Some(direction) = wheel {
        return vec![format!("scroll {} {direction} {WHEEL}", spec.part_of.unwrap_or(pane).name())];
    }
    let mut lines = Vec::new();
    if spec.part_of.is_none() && app.desk.focus != pane {
        lines.push(format!("focus {}", pane.name()));
    }
    lines.extend((spec.click)(app, layout::inside(area), (mouse.column, mouse.row)));
    lines
}
