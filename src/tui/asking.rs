//! What happens while something is typed at the bottom: a command with completion and history, search as one types.

use ratatui::crossterm::event::KeyEvent;

use super::app::App;
use super::message::Request;
use super::outline::Line;
use super::prompt::{Outcome, Prompt, Purpose};
use crate::debugger::completion::complete;

impl App {
    /// Opens a prompt with a text in it.
    pub(crate) fn open_prompt(&mut self, purpose: Purpose, begun: &str) {
        let mut prompt = Prompt::new(purpose, (self.outline.selected, self.outline.offset));
        prompt.insert(begun);
        prompt.begun = Some(begun.trim().to_string()).filter(|begun| !begun.is_empty());
        self.prompt = Some(prompt);
        self.list_completions();
    }

    /// A key while a prompt is open.
    pub(crate) fn prompt_key(&mut self, key: KeyEvent, requests: &mut Vec<Request>) {
        let Some(prompt) = &mut self.prompt else { return };
        let search = prompt.purpose == Purpose::Search;
        match prompt.key(key) {
            Outcome::Moved => {}
            Outcome::Edited if search => self.search_from_origin(),
            Outcome::Edited => self.list_completions(),
            Outcome::Complete(forwards) if search => {
                let text = prompt.text().to_string();
                self.find(&text, self.selected_row(), forwards);
            }
            Outcome::Complete(forwards) => prompt.complete(forwards),
            Outcome::Recall(back) if search => {
                let text = prompt.text().to_string();
                self.find(&text, self.selected_row(), !back);
            }
            Outcome::Recall(back) => {
                let begun = prompt.recalled_from().to_string();
                let now = prompt.recalled;
                if let Some((index, line)) = self.history.recall(&begun, now, back) {
                    let line = line.to_string();
                    prompt.put(&line, index, begun);
                }
                self.list_completions();
            }
            Outcome::Cancelled => {
                let origin = prompt.origin;
                self.prompt = None;
                if search {
                    (self.outline.selected, self.outline.offset) = origin;
                }
            }
            Outcome::Accepted => self.accept(requests),
        }
    }

    /// Takes pasted text into the prompt; without one it is ignored: it was not meant as commands.
    pub(crate) fn paste(&mut self, text: &str) {
        let Some(prompt) = &mut self.prompt else { return };
        prompt.insert(text);
        if prompt.purpose == Purpose::Search {
            self.search_from_origin();
        } else {
            self.list_completions();
        }
    }

    fn list_completions(&mut self) {
        let Some(prompt) = self.prompt.as_mut().filter(|prompt| prompt.purpose == Purpose::Command) else { return };
        let marks = self.player.as_ref().and_then(|player| player.completions(prompt.text()));
        prompt.completions = marks.unwrap_or_else(|| {
            let names: Vec<String> = self.listing.rows.iter().map(|op| op.short.clone()).collect();
            complete(prompt.text(), &names)
        });
        prompt.picked = None;
    }

    /// Does what was typed.
    pub(crate) fn accept(&mut self, requests: &mut Vec<Request>) {
        let Some(prompt) = self.prompt.take() else { return };
        let text = prompt.text().trim().to_string();
        match prompt.purpose {
            Purpose::Search => self.accept_search(&text, &prompt, requests),
            Purpose::Command if text.is_empty() => {}
            Purpose::Command => {
                self.history.push(&text);
                let op = self.selected_row().and_then(|row| self.listing.rows.get(row)).map(|op| op.short.clone());
                let line = text.replace('%', op.as_deref().unwrap_or("%"));
                // A command that is begun and nothing else, as g and Enter: nothing was meant.
                if prompt.begun.as_deref() != Some(text.as_str()) {
                    self.obey_line(&line, requests);
                }
            }
        }
    }

    /// Goes back to where the search began, and from there by a line to what it has found: that is what is recorded.
    fn accept_search(&mut self, text: &str, prompt: &Prompt, requests: &mut Vec<Request>) {
        let found = self.outline.selected;
        (self.outline.selected, self.outline.offset) = prompt.origin;
        if text.is_empty() {
            if self.search.is_empty() {
                return self.refuse("nothing was searched for yet");
            }
            let again = format!("search {}", self.search);
            return self.obey_line(&again, requests);
        }
        // Tab may have gone on from the first.
        let Some(first) = self.next_match(text, self.selected_row(), true) else {
            return self.refuse(format!("no op is called like this: {text}"));
        };
        self.search = text.to_string();
        let line = if Line::Op(first) == found { format!("search {text}") } else { self.selecting(found) };
        self.obey_line(&line, requests);
    }

    /// Selects the next op whose name contains a text.
    pub(crate) fn search_for(&mut self, text: &str) {
        self.search = text.to_string();
        if !self.find(text, self.selected_row(), true) {
            self.complain(format!("no op is called like this: {text}"));
        }
    }

    fn search_from_origin(&mut self) {
        let Some(prompt) = &self.prompt else { return };
        let (text, origin) = (prompt.text().to_string(), prompt.origin);
        (self.outline.selected, self.outline.offset) = origin;
        self.find(&text, super::outline::row_of(origin.0, &self.listing), true);
    }

    /// Selects the next op whose name contains the text, round the end; false if there is none.
    fn find(&mut self, text: &str, from: Option<usize>, forwards: bool) -> bool {
        let found = self.next_match(text, from, forwards);
        if let Some(row) = found.filter(|_| !text.is_empty()) {
            self.outline.selected = Line::Op(row);
        }
        found.is_some()
    }

    fn next_match(&self, text: &str, from: Option<usize>, forwards: bool) -> Option<usize> {
        let count = self.listing.rows.len();
        let from = from.unwrap_or(0);
        let candidate = |step: usize| (if forwards { from + step } else { from + count - step }) % count;
        (1..=count).map(candidate).find(|row| self.row_matches(text, Some(*row)))
    }

    fn row_matches(&self, text: &str, row: Option<usize>) -> bool {
        let Some(op) = row.and_then(|row| self.listing.rows.get(row)) else { return false };
        let text = text.to_lowercase();
        [&op.name, &op.short, &op.label].iter().any(|name| name.to_lowercase().contains(&text))
    }
}
