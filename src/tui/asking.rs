//! What happens while something is typed at the bottom: a command with completion and history, search as one types.

use ratatui::crossterm::event::KeyEvent;

use super::app::App;
use super::outline::Line;
use super::prompt::{Outcome, Prompt, Purpose};
use crate::debugger::completion::complete;

/// Opens a prompt with a text in it.
pub(crate) fn open_prompt(app: &mut App, purpose: Purpose, begun: &str) {
    let mut prompt = Prompt::new(purpose, (app.outline.selected, app.outline.offset));
    prompt.insert(begun);
    prompt.begun = Some(begun.trim().to_string()).filter(|begun| !begun.is_empty());
    app.typing.prompt = Some(prompt);
    list_completions(app);
}

/// A key while a prompt is open.
pub(crate) fn key(app: &mut App, key: KeyEvent) {
    let Some(prompt) = &mut app.typing.prompt else { return };
    let search = prompt.purpose == Purpose::Search;
    match prompt.key(key) {
        Outcome::Moved => {}
        Outcome::Edited if search => search_from_origin(app),
        Outcome::Edited => list_completions(app),
        Outcome::Complete(forwards) if search => {
            let text = prompt.text().to_string();
            find(app, &text, app.selected_row(), forwards);
        }
        Outcome::Complete(forwards) => prompt.complete(forwards),
        Outcome::Recall(back) if search => {
            let text = prompt.text().to_string();
            find(app, &text, app.selected_row(), !back);
        }
        Outcome::Recall(back) => {
            let begun = prompt.recalled_from().to_string();
            let now = prompt.recalled;
            if let Some((index, line)) = app.typing.history.recall(&begun, now, back) {
                let line = line.to_string();
                prompt.put(&line, index, begun);
            }
            list_completions(app);
        }
        Outcome::Cancelled => {
            let origin = prompt.origin;
            app.typing.prompt = None;
            if search {
                (app.outline.selected, app.outline.offset) = origin;
            }
        }
        Outcome::Accepted => accept(app),
    }
}

/// Takes in pasted text. Whole lines are obeyed one after the other, as those of a script, the first of them together
/// with what is typed already; what is not ended is put into the prompt, and waits for Enter.
pub(crate) fn paste(app: &mut App, text: &str) {
    if app.typing.prompt.as_ref().is_some_and(|prompt| prompt.purpose == Purpose::Search) {
        insert(app, text);
        return search_from_origin(app);
    }
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut lines: Vec<&str> = text.split('\n').collect();
    let rest = lines.pop().unwrap_or_default();
    if let Some((first, others)) = lines.split_first() {
        insert(app, first);
        let typed = app.typing.prompt.take().map_or_else(|| (*first).to_string(), |prompt| prompt.text().to_string());
        let lines =
            [&typed[..]].into_iter().chain(others.iter().copied()).map(str::trim).filter(|line| !line.is_empty());
        let lines: Vec<String> = lines.map(str::to_string).collect();
        for line in &lines {
            app.typing.history.push(line);
        }
        // After what is still to be obeyed; the next is the last.
        app.script.lines.splice(..0, lines.into_iter().rev());
        app.said.message = None;
    }
    if !rest.trim().is_empty() {
        if app.typing.prompt.is_none() {
            open_prompt(app, Purpose::Command, "");
        }
        insert(app, rest);
        list_completions(app);
    }
}

/// Puts text where the cursor is, if something is being typed.
fn insert(app: &mut App, text: &str) {
    if let Some(prompt) = &mut app.typing.prompt {
        prompt.insert(text);
    }
}

fn list_completions(app: &mut App) {
    let Some(prompt) = app.typing.prompt.as_mut().filter(|prompt| prompt.purpose == Purpose::Command) else { return };
    let marks = app.player.as_ref().and_then(|player| player.completions(prompt.text()));
    prompt.completions = marks.unwrap_or_else(|| {
        let names: Vec<String> = app.listing.rows.iter().map(|op| op.short.clone()).collect();
        complete(prompt.text(), &names)
    });
    prompt.picked = None;
}

/// Does what was typed.
pub(crate) fn accept(app: &mut App) {
    let Some(prompt) = app.typing.prompt.take() else { return };
    let text = prompt.text().trim().to_string();
    match prompt.purpose {
        Purpose::Search => accept_search(app, &text, &prompt),
        Purpose::Command if text.is_empty() => {}
        Purpose::Command => {
            app.typing.history.push(&text);
            let op = app.selected_op().map(|op| op.short.clone());
            let line = text.replace('%', op.as_deref().unwrap_or("%"));
            // A command that is begun and nothing else, as g and Enter: nothing was meant.
            if prompt.begun.as_deref() != Some(text.as_str()) {
                app.obey_line(&line);
            }
        }
    }
}

/// Goes back to where the search began, and from there by a line to what it has found: that is what is recorded.
fn accept_search(app: &mut App, text: &str, prompt: &Prompt) {
    let found = app.outline.selected;
    (app.outline.selected, app.outline.offset) = prompt.origin;
    if text.is_empty() {
        if app.typing.search.is_empty() {
            return app.said.refuse("nothing was searched for yet");
        }
        let again = format!("search {}", app.typing.search);
        return app.obey_line(&again);
    }
    // Tab may have gone on from the first.
    let Some(first) = next_match(app, text, app.selected_row(), true) else {
        return app.said.refuse(format!("no op is called like this: {text}"));
    };
    app.typing.search = text.to_string();
    let line = if Line::Op(first) == found { format!("search {text}") } else { app.selecting(found) };
    app.obey_line(&line);
}

/// Selects the next op whose name contains a text.
pub(crate) fn search_for(app: &mut App, text: &str) {
    app.typing.search = text.to_string();
    if !find(app, text, app.selected_row(), true) {
        app.said.complain(format!("no op is called like this: {text}"));
    }
}

fn search_from_origin(app: &mut App) {
    let Some(prompt) = &app.typing.prompt else { return };
    let (text, origin) = (prompt.text().to_string(), prompt.origin);
    (app.outline.selected, app.outline.offset) = origin;
    find(app, &text, super::outline::row_of(origin.0, &app.listing), true);
}

/// Selects the next op whose name contains the text, round the end; false if there is none.
fn find(app: &mut App, text: &str, from: Option<usize>, forwards: bool) -> bool {
    let found = next_match(app, text, from, forwards);
    if let Some(row) = found.filter(|_| !text.is_empty()) {
        app.outline.selected = Line::Op(row);
    }
    found.is_some()
}

fn next_match(app: &App, text: &str, from: Option<usize>, forwards: bool) -> Option<usize> {
    let count = app.listing.rows.len();
    let from = from.unwrap_or(0);
    let candidate = |step: usize| (if forwards { from + step } else { from + count - step }) % count;
    (1..=count).map(candidate).find(|row| row_matches(app, text, Some(*row)))
}

fn row_matches(app: &App, text: &str, row: Option<usize>) -> bool {
    let Some(op) = row.and_then(|row| app.listing.rows.get(row)) else { return false };
    let text = text.to_lowercase();
    [&op.name, &op.short, &op.label].iter().any(|name| name.to_lowercase().contains(&text))
}
