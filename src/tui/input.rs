//! What keys do to the screen, and what of it has to wait.

use ratatui::crossterm::event::{KeyEvent, MouseEvent};

use super::app::App;
use super::keymap;
use super::message::Request;
use crate::debugger::Command;
use crate::debugger::command::ScreenCommand;

/// Keys and clicks held at most while they cannot be obeyed.
const HELD: usize = 512;
/// The largest count.
const LARGEST_COUNT: usize = 1_000_000;
/// What waits to be obeyed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Held {
    /// A key.
    Key(KeyEvent),
    /// A click, or a turn of the wheel.
    Mouse(MouseEvent),
}

impl App {
    /// What the terminal sends: obeyed now, or held until what came before it is done.
    pub(crate) fn hear(&mut self, input: Held, requests: &mut Vec<Request>) {
        match input {
            Held::Key(key) => self.key(key, requests),
            Held::Mouse(mouse) if !self.wait(input) => self.mouse(mouse, requests),
            Held::Mouse(_) => {}
        }
    }

    /// Obeys what was held, until something makes the rest wait again.
    pub(crate) fn release(&mut self, requests: &mut Vec<Request>) {
        while let Some(input) = self.held.front().copied() {
            if self.must_wait(input) {
                break;
            }
            self.held.pop_front();
            match input {
                Held::Key(key) => self.press(key, requests),
                Held::Mouse(mouse) => self.mouse(mouse, requests),
            }
        }
    }

    /// Holds what cannot be obeyed yet; false if it can be.
    fn wait(&mut self, input: Held) -> bool {
        let waits = self.must_wait(input) || !self.held.is_empty();
        if waits && self.held.len() < HELD {
            self.held.push_back(input);
        }
        waits
    }

    fn must_wait(&self, input: Held) -> bool {
        match input {
            _ if self.seeks() => true,
            Held::Key(key) => self.key_must_wait(key),
            Held::Mouse(mouse) => self.mouse_must_wait(mouse),
        }
    }

    fn key(&mut self, key: KeyEvent, requests: &mut Vec<Request>) {
        let name = keymap::name(key);
        let stops = matches!(name.as_deref(), Some("esc" | "C-c"));
        // What is being typed waits for nothing, and is closed first.
        let busy = self.running.is_some() || self.seeks() || self.prompt.is_none();
        if stops && (busy && self.stop_playing() || self.running.is_some()) {
            self.held.clear();
            self.script.clear();
            if let Some(running) = &mut self.running {
                running.interrupted = true;
                requests.push(Request::Interrupt);
            }
        } else if stops {
            self.held.clear();
            self.press(key, requests);
        } else if !self.wait(Held::Key(key)) {
            self.press(key, requests);
        }
    }

    /// Whether a key's meaning depends on something that is still under way. During a long command only commands
    /// wait: the user may look around.
    fn key_must_wait(&self, key: KeyEvent) -> bool {
        use ScreenCommand as S;
        let Some(running) = &self.running else { return false };
        let Some(name) = keymap::name(key) else { return false };
        if self.prompt.is_some() {
            return name == "ret";
        }
        match self.keys.command(&name) {
            Some(Command::Quit | Command::Screen(S::Suspend)) => false,
            Some(Command::Screen(S::Enter | S::Prompt(_) | S::Seek(_) | S::Live)) => true,
            Some(Command::Screen(_) | Command::Help(_)) | None => !running.long,
            Some(_) => true,
        }
    }

    /// Obeys a key.
    fn press(&mut self, key: KeyEvent, requests: &mut Vec<Request>) {
        self.message = None;
        self.sourced = 0;
        if self.prompt.is_some() {
            return self.prompt_key(key, requests);
        }
        let Some(name) = keymap::name(key) else { return };
        #[cfg(debug_assertions)]
        assert!(name != "C-p", "asked for by a key that only debug builds have");
        let digit = name.parse::<usize>().ok().filter(|digit| *digit < 10);
        if let Some(digit) = digit.filter(|digit| *digit > 0 || self.count.is_some()) {
            self.count = Some((self.count.unwrap_or(0) * 10 + digit).min(LARGEST_COUNT));
            return;
        }
        let count = self.count.take();
        let op = self.selected_row().and_then(|row| self.listing.rows.get(row)).map(|op| op.short.clone());
        let Some(line) = self.keys.line(&name, op.as_deref(), count) else { return };
        // Where it is open already, the key closes it.
        let closes = self.is_diagnosed() && matches!(Command::parse(&line), Ok(Some(Command::Diagnose(_))));
        self.obey_line(if closes { "escape" } else { &line }, requests);
    }
}
