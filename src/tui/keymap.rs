//! Keys: what the screen does itself, beside the debugger's own table of commands. Help and hints come from both.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::debugger::{COMMANDS, Spec};

/// What a key means.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Meaning {
    /// A command of the debugger.
    Command(&'static Spec),
    /// Something the screen does.
    Screen(Action),
}

/// What the screen does without asking the debugger. Each is described by its row of [`BINDINGS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Down,
    Up,
    Left,
    Right,
    PageDown,
    PageUp,
    First,
    Last,
    RowStart,
    RowEnd,
    Enter,
    Focus,
    Errors,
    NextPlane,
    PreviousPlane,
    NextShown,
    PreviousShown,
    Search,
    BreakPattern,
    Information,
    Help,
    Escape,
    Interrupt,
    Suspend,
    Quit,
    #[cfg(debug_assertions)]
    Panic,
}

/// One row of [`BINDINGS`].
#[derive(Debug)]
pub(crate) struct Binding {
    /// Its keys.
    pub(crate) keys: &'static [&'static str],
    /// What it does.
    pub(crate) action: Action,
    /// The word for it among the hints of the bottom line, if it belongs there.
    pub(crate) hint: Option<&'static str>,
    /// One sentence; empty for what help does not list.
    pub(crate) doc: &'static str,
}

impl Binding {
    /// Its keys as people read them.
    pub(crate) fn readable_keys(&self) -> Vec<String> {
        let readable = |key: &&str| match *key {
            "ret" => "Enter".to_string(),
            "pgdn" => "PgDn".to_string(),
            "pgup" => "PgUp".to_string(),
            key if key.starts_with("C-") => key.replace("C-", "Ctrl-"),
            key if key.chars().count() > 1 => key[..1].to_uppercase() + &key[1..],
            key => key.to_string(),
        };
        self.keys.iter().map(readable).collect()
    }
}

const fn bind(keys: &'static [&'static str], action: Action, hint: Option<&'static str>, doc: &'static str) -> Binding {
    Binding { keys, action, hint, doc }
}

/// Every key of the screen.
#[rustfmt::skip]
pub(crate) const BINDINGS: &[Binding] = &[
    bind(&["j", "down"], Action::Down, None, "Move the selection, or scroll the numbers; 10j moves ten."),
    bind(&["k", "up"], Action::Up, None, "The same, upwards."),
    bind(&["h", "left"], Action::Left, None, "Close the layer, or scroll the numbers."),
    bind(&["l", "right"], Action::Right, None, "Open the layer, or scroll the numbers."),
    bind(&["pgdn", "C-d"], Action::PageDown, None, "A page down."),
    bind(&["pgup", "C-u"], Action::PageUp, None, "A page up."),
    bind(&["home"], Action::First, None, "To the first row."),
    bind(&["end", "G"], Action::Last, None, "To the last row."),
    bind(&["0", "^"], Action::RowStart, None, "To the first column of the numbers."),
    bind(&["$"], Action::RowEnd, None, "To the last column of the numbers."),
    bind(&["ret", "space"], Action::Enter, None, "Go to the selected op, open the layer, or try the suspect."),
    bind(&["tab"], Action::Focus, Some("pane"), "Give the keys to the other pane."),
    bind(&["e"], Action::Errors, Some("errors"), "Show the errors over layers and ops, or the tensor again."),
    bind(&["t"], Action::NextShown, Some("who"), "Show the engine, the reference, the candidate, the difference in turn."),
    bind(&["T"], Action::PreviousShown, None, "The same, backwards."),
    bind(&["]"], Action::NextPlane, None, "The next head."),
    bind(&["["], Action::PreviousPlane, None, "The head before."),
    bind(&["/"], Action::Search, Some("search"), "Search the program; n steps, so / and Enter again finds the next."),
    bind(&["B"], Action::BreakPattern, None, "Set or clear breakpoints by name or pattern: *.q_rope."),
    bind(&["i"], Action::Information, None, "Model, tokens and notes."),
    bind(&["?", "F1"], Action::Help, Some("help"), "This help."),
    bind(&["esc"], Action::Escape, None, "Interrupt what runs; else close what is open."),
    bind(&["C-c"], Action::Interrupt, None, "Interrupt what runs; else quit."),
    bind(&["C-z"], Action::Suspend, None, "Suspend; fg comes back."),
    bind(&["q"], Action::Quit, Some("quit"), "Quit, without asking."),
    #[cfg(debug_assertions)]
    bind(&["C-p"], Action::Panic, None, ""),
];

/// What a key means outside a prompt.
pub(crate) fn meaning(key: KeyEvent) -> Option<Meaning> {
    let name = name(key)?;
    if let Some(spec) = COMMANDS.iter().find(|spec| spec.key == name) {
        return Some(Meaning::Command(spec));
    }
    let binding = BINDINGS.iter().find(|binding| binding.keys.contains(&name.as_str()))?;
    Some(Meaning::Screen(binding.action))
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
];

/// The name of a key, as the tables and the tests write it: `s`, `tab`, `C-c`.
pub(crate) fn name(key: KeyEvent) -> Option<String> {
    let named = NAMED.iter().find(|(_, code)| *code == key.code).map(|(name, _)| (*name).to_string());
    let name = match (named, key.code) {
        (Some(name), _) if name != "lt" => name,
        (_, KeyCode::Char(character)) => character.to_string(),
        _ => return None,
    };
    if key.modifiers.intersects(KeyModifiers::ALT | KeyModifiers::SUPER | KeyModifiers::META) {
        return None;
    }
    Some(if key.modifiers.contains(KeyModifiers::CONTROL) { format!("C-{name}") } else { name })
}

/// Keys as tests write them: characters for themselves, names in angle brackets: `ss2n/rope<ret>`, `<C-c>`.
pub(crate) fn parse(keys: &str) -> Vec<KeyEvent> {
    let mut events = Vec::new();
    let mut rest = keys;
    while let Some(character) = rest.chars().next() {
        let bracketed = rest.strip_prefix('<').and_then(|rest| rest.split_once('>'));
        let event = bracketed.and_then(|(name, after)| Some((named(name)?, after)));
        let (event, after) = event.unwrap_or_else(|| {
            (KeyEvent::new(KeyCode::Char(character), KeyModifiers::NONE), &rest[character.len_utf8()..])
        });
        events.push(event);
        rest = after;
    }
    events
}

fn named(name: &str) -> Option<KeyEvent> {
    let (modifiers, name) = match name.strip_prefix("C-") {
        Some(name) => (KeyModifiers::CONTROL, name),
        None => (KeyModifiers::NONE, name),
    };
    let mut characters = name.chars();
    let code = match (characters.next(), characters.next(), modifiers.is_empty()) {
        (Some(character), None, false) => KeyCode::Char(character),
        _ => NAMED.iter().find(|(known, _)| *known == name)?.1,
    };
    Some(KeyEvent::new(code, modifiers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_means_two_things() {
        let screen = BINDINGS.iter().flat_map(|binding| binding.keys);
        let mut keys: Vec<&str> = COMMANDS.iter().map(|spec| spec.key).chain(screen.copied()).collect();
        let count = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), count);
    }

    #[test]
    fn every_key_of_the_tables_can_be_typed_and_is_one_sentence() {
        for binding in BINDINGS {
            for key in binding.keys {
                let typed = if key.chars().count() == 1 { (*key).to_string() } else { format!("<{key}>") };
                let events = parse(&typed);
                assert!(events.len() == 1 && name(events[0]).as_deref() == Some(key), "{key}: {events:?}");
                assert!(
                    matches!(meaning(events[0]), Some(Meaning::Screen(action)) if action == binding.action),
                    "{key}"
                );
            }
            assert!(binding.doc.is_empty() || binding.doc.ends_with('.'), "{}", binding.doc);
        }
        for spec in COMMANDS {
            assert!(matches!(meaning(parse(spec.key)[0]), Some(Meaning::Command(found)) if found.name == spec.name));
        }
    }
}
