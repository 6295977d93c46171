//! The keys of `docs/stepping.md`, pressed one after another in the demo on a real terminal: a row of its tables is a key,
//! what it does, and words that the screen has then.

use super::page;
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

/// What a terminal sends for a key; a line after `:` or `g` ends with Enter.
fn sent(key: &str) -> String {
    match key {
        "Enter" => "\r".to_string(),
        "Esc" => "\u{1b}".to_string(),
        line if line.starts_with(':') => format!("{line}\r"),
        key => key.to_string(),
    }
}

#[test]
fn keys_do_what_the_page_says() {
    let page = page("docs/stepping.md");
    let rows = rows(&page);
    assert!(rows.len() > 15, "only {} keys", rows.len());
    let mut terminal = Pty::start(132, 40, &[]);
    terminal.wait("not started");
    for (key, words) in rows {
        terminal.keys(&sent(&key)).wait(&words);
    }
}
