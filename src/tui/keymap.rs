//! Keys: names for them, the command line that each stands for, and those that wait. The bindings themselves are in the table of commands.

use std::collections::VecDeque;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseEvent};

use crate::debugger::{COMMANDS, Command};

/// Which line each key stands for.
#[derive(Clone, Debug)]
pub struct Keymap {
    lines: Vec<(String, String)>,
}

impl Default for Keymap {
    fn default() -> Self {
        let keys = COMMANDS.iter().flat_map(|spec| spec.keys);
        Self { lines: keys.map(|key| (key.key.to_string(), key.line.to_string())).collect() }
    }
}

impl Keymap {
    /// The line of a key, with `op` for the selected op and `count` after a command that takes one.
    pub(crate) fn line(&self, key: &str, op: Option<&str>, count: Option<usize>) -> Option<String> {
        let (_, line) = self.lines.iter().find(|(known, _)| known == key)?;
        let line = line.replace('%', op.unwrap_or_default());
        Some(match (line.strip_prefix("prompt "), count) {
            // `5g` goes to layer 5 without asking.
            (Some(begun), Some(count)) if !begun.trim().is_empty() => format!("{begun}{count}"),
            (None, Some(count)) if takes_count(&line) => format!("{line} {count}"),
            _ => line,
        })
    }

    /// What a key means, where no op is selected.
    pub(crate) fn command(&self, key: &str) -> Option<Command> {
        Command::parse(&self.line(key, Some("0"), None)?).ok().flatten()
    }

    /// The keys whose line is this one.
    pub(crate) fn keys_of(&self, line: &str) -> Vec<&str> {
        self.lines.iter().filter(|(_, known)| known == line).map(|(key, _)| key.as_str()).collect()
    }

    /// The keys of a command and what they stand for beyond it, in the order of the table: `next` for a key of
    /// `back next`. Keys that open the command line with the command in it belong to that command.
    pub(crate) fn of_command(&self, name: &str) -> Vec<(&str, &str)> {
        let of = |line: &'_ str| {
            let line = line.strip_prefix("prompt ").filter(|begun| !begun.is_empty()).unwrap_or(line);
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            (word == name).then_some(rest.len())
        };
        let found = self.lines.iter().filter_map(|(key, line)| Some((key, line, of(line)?)));
        found.map(|(key, line, rest)| (key.as_str(), line[line.len() - rest..].trim().trim_end_matches('%'))).collect()
    }

    /// Every key and its line.
    pub fn lines(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines.iter().map(|(key, line)| (key.as_str(), line.as_str()))
    }

    /// Gives a key another line; an empty one takes the key away.
    ///
    /// # Errors
    /// One sentence: there is no such key, or the line cannot be read.
    pub fn bind(&mut self, key: &str, line: &str) -> Result<(), String> {
        if named(key).is_none() {
            return Err(format!("there is no key {key}: keys are called x, C-x, M-x, ret, esc, tab, space, pgup, F1"));
        }
        if let Some((_, same)) = SAME.iter().find(|(known, _)| *known == key) {
            return Err(format!("terminals send {same} for {key}: bind that"));
        }
        if matches!(key, "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9") {
            return Err(format!("{key} begins a number, as in {key}s, and cannot be bound"));
        }
        if !line.trim().is_empty() && Command::parse(&line.replace('%', "0"))?.is_none() {
            return Err(format!("{line} is not a command"));
        }
        self.lines.retain(|(known, _)| known != key);
        if !line.trim().is_empty() {
            self.lines.push((key.to_string(), line.to_string()));
        }
        Ok(())
    }
}

/// What is typed.
#[derive(Debug, Default)]
pub(crate) struct Input {
    /// Which line each key stands for.
    pub(crate) keys: Keymap,
    /// A number typed before a command.
    pub(crate) count: Option<usize>,
    /// Keys and clicks that could not be obeyed yet.
    pub(crate) held: VecDeque<Held>,
}

/// What waits to be obeyed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Held {
    /// A key.
    Key(KeyEvent),
    /// A click, or a turn of the wheel.
    Mouse(MouseEvent),
}

/// Keys that a terminal does not tell from others.
const SAME: &[(&str, &str)] = &[("C-i", "tab"), ("C-m", "ret"), ("C-[", "esc")];

fn takes_count(line: &str) -> bool {
    let word = line.split_whitespace().next().unwrap_or_default();
    COMMANDS.iter().any(|spec| spec.name == word && (spec.takes_count || spec.arguments.contains("next")))
        && !line.ends_with('%')
}

/// A key as people read it: `Enter`, `Ctrl-d`.
pub(crate) fn readable(key: &str) -> String {
    match key {
        "ret" => "Enter".to_string(),
        "pgdn" => "PgDn".to_string(),
        "pgup" => "PgUp".to_string(),
        "backtab" => "Shift-Tab".to_string(),
        key if key.starts_with("C-") => key.replace("C-", "Ctrl-"),
        key if key.starts_with("M-") => key.replace("M-", "Alt-"),
        key if key.chars().count() > 1 => key[..1].to_uppercase() + &key[1..],
        key => key.to_string(),
    }
}

/// Keys that have a name rather than a character.
const NAMED: &[(&str, KeyCode)] = &[
    ("ret", KeyCode::Enter),
    ("esc", KeyCode::Esc),
    ("tab", KeyCode::Tab),
    ("backtab", KeyCode::BackTab),
    ("space", KeyCode::Char(' ')),
    ("lt", KeyCode::Char('<')),
    ("backspace", KeyCode::Backspace),
    ("del", KeyCode::Delete),
    ("up", KeyCode::Up),
    ("down", KeyCode::Down),
    ("left", KeyCode::Left),
    ("right", KeyCode::Right),
    ("pgup", KeyCode::PageUp),
    ("pgdn", KeyCode::PageDown),
    ("home", KeyCode::Home),
    ("end", KeyCode::End),
    ("F1", KeyCode::F(1)),
    ("F2", KeyCode::F(2)),
    ("F3", KeyCode::F(3)),
    ("F4", KeyCode::F(4)),
    ("F5", KeyCode::F(5)),
    ("F6", KeyCode::F(6)),
    ("F7", KeyCode::F(7)),
    ("F8", KeyCode::F(8)),
    ("F9", KeyCode::F(9)),
    ("F10", KeyCode::F(10)),
    ("F11", KeyCode::F(11)),
    ("F12", KeyCode::F(12)),
];

/// The name of a key, as the tables and the tests write it: `s`, `tab`, `C-c`.
pub(crate) fn name(key: KeyEvent) -> Option<String> {
    let named = NAMED.iter().find(|(_, code)| *code == key.code).map(|(name, _)| (*name).to_string());
    let name = match (named, key.code) {
        (Some(name), _) if name != "lt" => name,
        (_, KeyCode::Char(character)) => character.to_string(),
        _ => return None,
    };
    if key.modifiers.intersects(KeyModifiers::SUPER | KeyModifiers::META) {
        return None;
    }
    let control = if key.modifiers.contains(KeyModifiers::CONTROL) { "C-" } else { "" };
    let alt = if key.modifiers.contains(KeyModifiers::ALT) { "M-" } else { "" };
    Some(format!("{control}{alt}{name}"))
}

/// Keys as tests write them: characters for themselves, names in angle brackets: `ss2n/rope<ret>`, `<C-c>`.
pub(crate) fn parse(keys: &str) -> Vec<KeyEvent> {
    let mut events = Vec::new();
    let mut rest = keys;
    while let Some(character) = rest.chars().next() {
        let bracketed = rest.strip_prefix('<').and_then(|rest| rest.split_once('>'));
        let event = bracketed.filter(|(name, _)| name.len() > 1).and_then(|(name, after)| Some((named(name)?, after)));
        let (event, after) = event.unwrap_or_else(|| {
            (KeyEvent::new(KeyCode::Char(character), KeyModifiers::NONE), &rest[character.len_utf8()..])
        });
        events.push(event);
        rest = after;
    }
    events
}

fn named(name: &str) -> Option<KeyEvent> {
    let (control, name) = name.strip_prefix("C-").map_or((KeyModifiers::NONE, name), |n| (KeyModifiers::CONTROL, n));
    let (alt, name) = name.strip_prefix("M-").map_or((KeyModifiers::NONE, name), |n| (KeyModifiers::ALT, n));
    let modifiers = control | alt;
    let mut characters = name.chars();
    let code = match (characters.next(), characters.next()) {
        (Some(character), None) => KeyCode::Char(character),
        _ => NAMED.iter().find(|(known, _)| *known == name)?.1,
    };
    Some(KeyEvent::new(code, modifiers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_table_can_be_typed() {
        for key in COMMANDS.iter().flat_map(|spec| spec.keys) {
            let typed = if key.key.chars().count() == 1 { key.key.to_string() } else { format!("<{}>", key.key) };
            let events = parse(&typed);
            assert!(events.len() == 1 && name(events[0]).as_deref() == Some(key.key), "{}: {events:?}", key.key);
        }
    }

    #[test]
    fn keys_stand_for_lines() {
        let mut keys = Keymap::default();
        for (key, op, count, line) in [
            ("s", None, None, "step"),
            ("s", None, Some(10), "step 10"),
            ("N", None, Some(2), "back next 2"),
            ("b", Some("3.q_rope"), None, "toggle 3.q_rope"),
            ("g", None, None, "prompt goto "),
            ("g", None, Some(5), "goto 5"),
            ("]", None, Some(3), "head next 3"),
            ("r", None, Some(3), "restart"),
        ] {
            assert_eq!(keys.line(key, op, count).as_deref(), Some(line));
        }
        assert_eq!(keys.bind("x", "break *.probs if nan"), Ok(()));
        assert_eq!(keys.line("x", None, None).as_deref(), Some("break *.probs if nan"));
        assert_eq!(keys.bind("s", ""), Ok(()));
        assert_eq!(keys.line("s", None, None), None);
        assert!(keys.bind("C-i", "step").is_err_and(|error| error.contains("terminals send tab for C-i")));
        assert!(keys.bind("3", "step").is_err_and(|error| error.contains("begins a number")));
        assert!(keys.bind("hyper", "step").is_err_and(|error| error.contains("no key hyper")));
        assert!(keys.bind("x", "stpe").is_err_and(|error| error.contains("is it step?")));
    }
}
