//! The keys of the pages, pressed one after another on a real terminal: a row of their tables is a key, what it does, and
//! words that the screen has then.

use std::fs;
use std::path::Path;

use super::transcripts::follow;
use super::{page, workplace};
use crate::pty::Pty;

/// `| `KEY` | what it does | `words on the screen` |`.
fn rows(page: &str) -> Vec<(String, String)> {
    let code = |cell: &str| cell.trim().strip_prefix('`')?.strip_suffix('`').map(str::to_string);
    let row = |line: &str| {
        let cells: Vec<&str> = line.strip_prefix('|')?.strip_suffix('|')?.split('|').collect();
        let [key, _, words] = cells[..] else { return None };
        Some((code(key)?, code(words)?))
    };
    page.lines().filter_map(row).collect()
}

/// What a terminal sends for a key; a command line ends with Enter.
fn sent(key: &str) -> String {
    match key {
        "Enter" => "\r".to_string(),
        "Esc" => "\u{1b}".to_string(),
        line if line.starts_with(':') => format!("{line}\r"),
        key => key.to_string(),
    }
}

fn press(terminal: &mut Pty, rows: &[(String, String)]) {
    for (key, words) in rows {
        terminal.keys(&sent(key)).wait(words);
    }
}

#[test]
fn keys_of_stepping_do_what_the_page_says() {
    let rows = rows(&page("docs/stepping.md"));
    assert!(rows.len() > 25, "only {} keys", rows.len());
    let mut terminal = Pty::start(132, 40, &[]);
    terminal.wait("not started");
    press(&mut terminal, &rows);
}

#[test]
fn keys_of_pinpointing_do_what_the_page_says() {
    let rows = rows(&page("docs/pinpointing.md"));
    let again = rows.iter().position(|(key, _)| key == "R").expect("the dump is read again");
    let place = workplace();
    follow("docs/pinpointing.md", place.path());
    let file = |name: &str| place.path().join("reference/demo").join(name);
    fs::copy(file("candidate.safetensors"), file("yours.safetensors")).expect("copied");
    let [model, reference, yours] = ["model", "reference.safetensors", "yours.safetensors"].map(file);
    let typed = [Path::new("debug"), &model, "--reference".as_ref(), &reference, "--candidate".as_ref(), &yours];
    let mut terminal = Pty::start_with(&typed.map(|word| word.to_str().expect("text")), 132, 40, &[]);
    terminal.wait("not started");
    press(&mut terminal, &rows[..again]);
    fs::copy(file("mended.safetensors"), &yours).expect("copied");
    press(&mut terminal, &rows[again..]);
}

#[test]
fn keys_of_replaying_do_what_the_page_says() {
    let place = workplace();
    follow("docs/replaying.md", place.path());
    let session = place.path().join("reference/demo/bug.session");
    let mut terminal = Pty::start_with(&["replay", session.to_str().expect("text")], 132, 40, &[]);
    terminal.wait("paused");
    press(&mut terminal, &rows(&page("docs/replaying.md")));
}
