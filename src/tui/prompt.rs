//! The line at the bottom while something is typed into it: its text, its cursor, its completions.

use ratatui::crossterm::event::{KeyCode, KeyEvent};

use super::history::History;
use super::keymap;
use super::outline::Line;
use crate::debugger::completion::Completions;

/// Characters a prompt holds at most: a pasted book must not slow the screen.
const LONGEST: usize = 200;

/// What is typed at the bottom, and was.
#[derive(Debug, Default)]
pub(crate) struct Typing {
    /// What is being typed.
    pub(crate) prompt: Option<Prompt>,
    /// The command lines typed before.
    pub(crate) history: History,
    /// What was last searched for.
    pub(crate) search: String,
}

/// What a prompt is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A command.
    Command,
    /// Search the listing.
    Search,
}

impl Purpose {
    /// What stands before the text.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Command => ":",
            Self::Search => "/",
        }
    }
}

/// What a key did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The text changed.
    Edited,
    /// Only the cursor moved, or nothing happened.
    Moved,
    /// The text is meant.
    Accepted,
    /// The prompt is to go.
    Cancelled,
    /// The next completion is wanted, or the one before.
    Complete(bool),
    /// What was typed before is wanted, or after.
    Recall(bool),
}

/// A prompt.
#[derive(Clone, Debug)]
pub(crate) struct Prompt {
    /// What it is for.
    pub(crate) purpose: Purpose,
    /// The selected line and the first line of the program when it opened: cancelling a search returns there.
    pub(crate) origin: (Line, usize),
    /// What the last word may become.
    pub(crate) completions: Completions,
    /// The completion now in the text.
    pub(crate) picked: Option<usize>,
    /// The line of the history that is now the text.
    pub(crate) recalled: Option<usize>,
    /// What it was opened with.
    pub(crate) begun: Option<String>,
    /// What was typed before a line was recalled.
    typed: String,
    text: String,
    /// In bytes.
    cursor: usize,
}

impl Prompt {
    /// An empty one.
    pub(crate) fn new(purpose: Purpose, origin: (Line, usize)) -> Self {
        Self {
            purpose,
            origin,
            completions: Completions::default(),
            picked: None,
            recalled: None,
            begun: None,
            typed: String::new(),
            text: String::new(),
            cursor: 0,
        }
    }

    /// What was typed.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// What stands before the cursor.
    pub(crate) fn before_cursor(&self) -> &str {
        &self.text[..self.cursor]
    }

    /// What a recalled line has to begin with.
    pub(crate) fn recalled_from(&self) -> &str {
        if self.recalled.is_some() { &self.typed } else { &self.text }
    }

    /// Puts a line of the history in the place of the text.
    pub(crate) fn put(&mut self, line: &str, recalled: Option<usize>, typed: String) {
        self.text = line.to_string();
        self.cursor = self.text.len();
        self.recalled = recalled;
        self.typed = typed;
        self.picked = None;
    }

    /// Puts the next or previous completion into the text; what all share first.
    pub(crate) fn complete(&mut self, forwards: bool) {
        let Completions { start, words } = &self.completions;
        let count = words.len();
        if count == 0 {
            return;
        }
        let shared = shared_prefix(words);
        let word = if self.picked.is_none() && shared.len() > self.text.len() - start && count > 1 {
            shared.to_string()
        } else {
            let next = match (self.picked, forwards) {
                (None, true) => 0,
                (None, false) => count - 1,
                (Some(picked), true) => (picked + 1) % count,
                (Some(picked), false) => (picked + count - 1) % count,
            };
            self.picked = Some(next);
            words[next].clone()
        };
        self.text.truncate(*start);
        self.text.push_str(&word);
        self.cursor = self.text.len();
    }

    /// Inserts text where the cursor is, without its control characters.
    pub(crate) fn insert(&mut self, text: &str) {
        for character in text.chars().filter(|character| !character.is_control()) {
            if self.text.chars().count() >= LONGEST {
                break;
            }
            self.text.insert(self.cursor, character);
            self.cursor += character.len_utf8();
        }
        (self.picked, self.recalled) = (None, None);
    }

    /// Edits by one key.
    pub(crate) fn key(&mut self, key: KeyEvent) -> Outcome {
        let length = self.text.len();
        match keymap::name(key).as_deref() {
            Some("ret") => return Outcome::Accepted,
            Some("esc" | "C-c") => return Outcome::Cancelled,
            Some("tab") => return Outcome::Complete(true),
            Some("backtab") => return Outcome::Complete(false),
            Some("up" | "C-p") => return Outcome::Recall(true),
            Some("down" | "C-n") => return Outcome::Recall(false),
            Some("backspace" | "C-h") if length == 0 => return Outcome::Cancelled,
            Some("backspace" | "C-h") => self.remove(self.left(), self.cursor),
            Some("del" | "C-d") => self.remove(self.cursor, self.right()),
            Some("C-u") => self.remove(0, self.cursor),
            Some("C-k") => self.remove(self.cursor, length),
            Some("C-w") => self.remove(self.word(), self.cursor),
            Some("left" | "C-b") => self.cursor = self.left(),
            Some("right" | "C-f") => self.cursor = self.right(),
            Some("home" | "C-a") => self.cursor = 0,
            Some("end" | "C-e") => self.cursor = length,
            Some(name) if !(name.starts_with("C-") || name.starts_with("M-")) || name.len() == 1 => {
                if let KeyCode::Char(character) = key.code {
                    self.insert(character.encode_utf8(&mut [0; 4]));
                    return Outcome::Edited;
                }
            }
            _ => {}
        }
        if self.text.len() == length { Outcome::Moved } else { Outcome::Edited }
    }

    fn remove(&mut self, start: usize, end: usize) {
        self.text.replace_range(start..end, "");
        self.cursor = start;
        self.picked = None;
    }

    fn left(&self) -> usize {
        self.before_cursor().char_indices().next_back().map_or(0, |(index, _)| index)
    }

    fn right(&self) -> usize {
        self.text[self.cursor..].chars().next().map_or(self.cursor, |character| self.cursor + character.len_utf8())
    }

    fn word(&self) -> usize {
        let trimmed = self.before_cursor().trim_end_matches([' ', '.']);
        trimmed.rfind([' ', '.']).map_or(0, |index| index + 1)
    }
}

fn shared_prefix(names: &[String]) -> &str {
    let Some((first, rest)) = names.split_first() else { return "" };
    let mut length = first.len();
    for name in rest {
        let same = first.char_indices().zip(name.chars()).take_while(|((_, a), b)| a == b).last();
        length = length.min(same.map_or(0, |((index, character), _)| index + character.len_utf8()));
    }
    &first[..length]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &str) -> Prompt {
        let mut prompt = Prompt::new(Purpose::Command, (Line::Op(0), 0));
        for key in keymap::parse(keys) {
            prompt.key(key);
        }
        prompt
    }

    #[test]
    fn lines_are_edited_as_in_a_shell() {
        assert_eq!(typed("2.q_rope<C-w>mlp").text(), "2.mlp");
        assert_eq!(typed("abc<left><left><del>é<backspace>x<end>!").text(), "axc!");
        assert_eq!(typed("abc<C-a><C-k>z<C-u>").text(), "");
        assert_eq!(typed(&"x".repeat(500)).text().len(), LONGEST);
    }

    #[test]
    fn completion_takes_what_is_shared_and_then_turns() {
        let mut prompt = typed("goto 2.q");
        prompt.completions = Completions { start: 5, words: ["2.q_proj", "2.q_rope"].map(String::from).to_vec() };
        let mut seen = Vec::new();
        for _ in 0..4 {
            prompt.complete(true);
            seen.push(prompt.text().to_string());
        }
        assert_eq!(seen, ["goto 2.q_", "goto 2.q_proj", "goto 2.q_rope", "goto 2.q_proj"]);
    }
}
