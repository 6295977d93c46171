//! A text for an issue tracker.

use minijinja::Value;

use super::document::Document;
use super::template::{render, table};

/// Rows in the part that is folded away: an issue takes 65536 characters.
const MOST_ROWS: usize = 120;

/// The text of a document: GitHub's Markdown, which GitLab and Gitea read, too.
pub fn markdown(document: &Document) -> String {
    let mut worst = document.worst_of_each();
    let left_out = worst.len().saturating_sub(MOST_ROWS);
    worst.truncate(MOST_ROWS);
    let values = [
        ("telling", table(&document.telling())),
        ("worst", table(&worst)),
        ("left_out", Value::from(left_out)),
        ("compared", Value::from(document.compared().count())),
    ];
    let text = render("report.md", include_str!("report.md"), document, values);
    // What is left out leaves its empty lines behind.
    let mut lines: Vec<&str> = text.trim().lines().map(str::trim_end).collect();
    lines.dedup_by(|line, before| line.is_empty() && before.is_empty());
    lines.join("\n") + "\n"
}
