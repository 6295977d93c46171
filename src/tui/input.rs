//! What keys do to the screen, and what of it has to wait.

use ratatui::crossterm::event::KeyEvent;

use super::app::App;
use super::keymap::{self, Held};
use super::message::Request;
use super::pane::diagnosis::is_diagnosed;
use super::{asking, mouse};
use crate::debugger::Command;
use crate::debugger::command::ScreenCommand;

/// Keys and clicks held at most while they cannot be obeyed.
const HELD: usize = 512;
/// The largest count.
const LARGEST_COUNT: usize = 1_000_000;

/// What the terminal sends: obeyed now, or held until what came before it is done.
pub(crate) fn hear(app: &mut App, input: Held) {
    match input {
        Held::Key(pressed) => key(app, pressed),
        Held::Mouse(mouse) if !wait(app, input) => mouse::obey(app, mouse),
        Held::Mouse(_) => {}
    }
}

/// Obeys what was held, until something makes the rest wait again.
pub(crate) fn release(app: &mut App) {
    while let Some(input) = app.input.held.front().copied() {
        if must_wait(app, input) {
            break;
        }
        app.input.held.pop_front();
        match input {
            Held::Key(key) => press(app, key),
            Held::Mouse(mouse) => mouse::obey(app, mouse),
        }
    }
}

/// Holds what cannot be obeyed yet; false if it can be.
fn wait(app: &mut App, input: Held) -> bool {
    let waits = must_wait(app, input) || !app.input.held.is_empty();
    if waits && app.input.held.len() < HELD {
        app.input.held.push_back(input);
    }
    waits
}

fn must_wait(app: &App, input: Held) -> bool {
    match input {
        _ if app.seeks() => true,
        Held::Key(key) => key_must_wait(app, key),
        Held::Mouse(mouse) => mouse::must_wait(app, mouse),
    }
}

fn key(app: &mut App, key: KeyEvent) {
    let name = keymap::name(key);
    let stops = matches!(name.as_deref(), Some("esc" | "C-c"));
    // What is being typed waits for nothing, and is closed first.
    let busy = app.running.is_some() || app.seeks() || app.typing.prompt.is_none();
    if stops && (busy && app.stop_playing() || app.running.is_some()) {
        app.input.held.clear();
        app.script.lines.clear();
        if let Some(running) = &mut app.running {
            running.interrupted = true;
            app.requests.push(Request::Interrupt);
        }
    } else if stops {
        app.input.held.clear();
        press(app, key);
    } else if !wait(app, Held::Key(key)) {
        press(app, key);
    }
}

/// Whether a key's meaning depends on something that is still under way. During a long command only commands
/// wait: the user may look around.
fn key_must_wait(app: &App, key: KeyEvent) -> bool {
    use ScreenCommand as S;
    let Some(running) = &app.running else { return false };
    let Some(name) = keymap::name(key) else { return false };
    if app.typing.prompt.is_some() {
        return name == "ret";
    }
    match app.input.keys.command(&name) {
        Some(Command::Quit | Command::Screen(S::Suspend)) => false,
        Some(Command::Screen(S::Enter | S::Prompt(_) | S::Seek(_) | S::Live)) => true,
        Some(Command::Screen(_) | Command::Help(_)) | None => !running.long,
        Some(_) => true,
    }
}

/// Obeys a key.
fn press(app: &mut App, key: KeyEvent) {
    app.said.message = None;
    app.script.sourced = 0;
    if app.typing.prompt.is_some() {
        return asking::key(app, key);
    }
    let Some(name) = keymap::name(key) else { return };
    #[cfg(debug_assertions)]
    assert!(name != "C-p", "asked for by a key that only debug builds have");
    let digit = name.parse::<usize>().ok().filter(|digit| *digit < 10);
    if let Some(digit) = digit.filter(|digit| *digit > 0 || app.input.count.is_some()) {
        app.input.count = Some((app.input.count.unwrap_or(0) * 10 + digit).min(LARGEST_COUNT));
        return;
    }
    let count = app.input.count.take();
    let op = app.selected_op().map(|op| op.short.clone());
    let Some(line) = app.input.keys.line(&name, op.as_deref(), count) else { return };
    // Where it is open already, the key closes it.
    let closes = is_diagnosed(app) && matches!(Command::parse(&line), Ok(Some(Command::Diagnose(_))));
    app.obey_line(if closes { "escape" } else { &line });
}
