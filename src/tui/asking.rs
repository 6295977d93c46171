//! What happens while something is typed at the bottom: goto and breakpoints with completion, search as one types.

use ratatui::crossterm::event::KeyEvent;

use super::app::App;
use super::message::Request;
use super::outline::Line;
use super::prompt::{Outcome, Prompt, Purpose};
use crate::debugger::Command;

impl App {
    /// Opens a prompt.
    pub(crate) fn open_prompt(&mut self, purpose: Purpose, requests: &mut Vec<Request>) {
        self.prompt = Some(Prompt::new(purpose, self.outline.selected));
        self.ask_completions(requests);
    }

    /// A key while a prompt is open.
    pub(crate) fn prompt_key(&mut self, key: KeyEvent, requests: &mut Vec<Request>) {
        let Some(prompt) = &mut self.prompt else { return };
        let search = prompt.purpose == Purpose::Search;
        match prompt.key(key) {
            Outcome::Moved => {}
            Outcome::Edited if search => self.search_from_origin(),
            Outcome::Edited => {
                prompt.completions.clear();
                self.ask_completions(requests);
            }
            Outcome::Complete(forwards) if search => {
                let text = prompt.text().to_string();
                self.find(&text, self.selected_row(), forwards);
            }
            Outcome::Complete(forwards) => {
                // The names may still be on their way; the keys that follow wait for them.
                prompt.impatient = prompt.completions.is_empty();
                if prompt.impatient { self.ask_completions(requests) } else { prompt.complete(forwards) }
            }
            Outcome::Cancelled => {
                if search {
                    self.outline.selected = prompt.origin;
                }
                self.prompt = None;
            }
            Outcome::Accepted => self.accept(requests),
        }
    }

    /// Takes pasted text into the prompt; without one it is ignored: it was not meant as commands.
    pub(crate) fn paste(&mut self, text: &str, requests: &mut Vec<Request>) {
        let Some(prompt) = &mut self.prompt else { return };
        prompt.insert(text);
        if prompt.purpose == Purpose::Search {
            self.search_from_origin();
        } else {
            prompt.completions.clear();
            self.ask_completions(requests);
        }
    }

    /// Takes completions in, unless the text has moved on.
    pub(crate) fn completed(&mut self, prefix: &str, names: Vec<String>) {
        let Some(prompt) = self.prompt.as_mut().filter(|prompt| prompt.text() == prefix) else { return };
        prompt.completions = names;
        if std::mem::take(&mut prompt.impatient) {
            prompt.complete(true);
        }
    }

    fn ask_completions(&self, requests: &mut Vec<Request>) {
        if let Some(prompt) = self.prompt.as_ref().filter(|prompt| prompt.purpose != Purpose::Search) {
            requests.push(Request::Complete(prompt.text().to_string()));
        }
    }

    fn accept(&mut self, requests: &mut Vec<Request>) {
        let Some(prompt) = self.prompt.take() else { return };
        let text = prompt.text().trim().to_string();
        match prompt.purpose {
            Purpose::Search if text.is_empty() => {
                let again = self.search.clone();
                if again.is_empty() || !self.find(&again, self.selected_row(), true) {
                    self.complain("nothing was searched for yet");
                }
            }
            Purpose::Search => {
                let found = self.row_matches(&text, self.selected_row());
                self.search.clone_from(&text);
                if !found {
                    self.outline.selected = prompt.origin;
                    self.complain(format!("no op is called like this: {text}"));
                }
            }
            Purpose::Goto | Purpose::Break if text.is_empty() => {}
            Purpose::Goto => self.execute(Command::Goto(text), requests),
            Purpose::Break => self.execute(Command::Break(text), requests),
        }
    }

    fn search_from_origin(&mut self) {
        let Some(prompt) = &self.prompt else { return };
        let (text, origin) = (prompt.text().to_string(), prompt.origin);
        self.outline.selected = origin;
        self.find(&text, super::outline::row_of(origin, &self.listing), true);
    }

    /// Selects the next op whose name contains the text, round the end; false if there is none.
    fn find(&mut self, text: &str, from: Option<usize>, forwards: bool) -> bool {
        let count = self.listing.rows.len();
        let from = from.unwrap_or(0);
        let candidate = |step: usize| (if forwards { from + step } else { from + count - step }) % count;
        let found = (1..=count).map(candidate).find(|row| self.row_matches(text, Some(*row)));
        if let Some(row) = found.filter(|_| !text.is_empty()) {
            self.outline.selected = Line::Op(row);
        }
        found.is_some()
    }

    fn row_matches(&self, text: &str, row: Option<usize>) -> bool {
        let Some(op) = row.and_then(|row| self.listing.rows.get(row)) else { return false };
        let text = text.to_lowercase();
        [&op.name, &op.short, &op.label].iter().any(|name| name.to_lowercase().contains(&text))
    }
}
