//! Links of the README and the book: a path leads to a file, an anchor to a heading, and the book is complete in itself.

use std::collections::BTreeSet;
use std::path::Path;

use super::{book, page, root, text_lines};

/// Pages outside the book whose links are followed, too.
const OTHERS: &[&str] = &[
    "README.md",
    "CONTRIBUTING.md",
    "reference/README.md",
    "reference/demo/README.md",
    "reference/tiny/README.md",
    "sessions/README.md",
];

/// The targets of `[text](target)` in a line, without those in code.
fn targets(line: &str) -> Vec<&str> {
    let plain = line.split('`').step_by(2);
    let inside = plain.flat_map(|part| part.split("](").skip(1).filter_map(|rest| rest.split_once(')')));
    // A link whose text has code in it is cut in two; its second half begins with `](`, as any other.
    inside.map(|(target, _)| target).collect()
}

/// The anchor that GitHub and mdBook give a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(path: &str) -> BTreeSet<String> {
    let page = page(path);
    let headings = text_lines(&page).into_iter().filter_map(|(_, line)| line.strip_prefix('#'));
    headings.map(|heading| anchor(heading.trim_start_matches('#').trim())).collect()
}

/// `docs/a.md` and `../b.md` are `b.md`; nothing where a path leaves the repository.
fn joined(from: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "." => {}
            ".." => _ = parts.pop()?,
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// What is wrong with a link, if anything is.
fn wrong(from: &str, target: &str) -> Option<String> {
    if target.starts_with("https://") {
        return None;
    }
    let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
    let file = if path.is_empty() { from.to_string() } else { joined(from, path)? };
    if !root().join(&file).exists() {
        return Some(format!("there is no {file}"));
    }
    if from.starts_with("docs/") && !file.starts_with("docs/") {
        return Some("a page of the book leads out of it: the built book has no such file".to_string());
    }
    let anchor = anchor?;
    let is_page = Path::new(&file).extension().is_some_and(|extension| extension == "md");
    (!is_page || !anchors(&file).contains(anchor)).then(|| format!("{file} has no heading #{anchor}"))
}

#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    let mut followed = 0;
    for path in OTHERS.iter().map(ToString::to_string).chain(book()) {
        for (number, line) in text_lines(&page(&path)) {
            for target in targets(line) {
                followed += 1;
                broken.extend(wrong(&path, target).map(|why| format!("{path}:{number}: ({target}): {why}")));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(followed > 40, "only {followed} links were found");
}

#[test]
fn broken_links_are_seen() {
    assert_eq!(targets("a [b](c.md#d) `[e](f)` ![g](h.svg) [`i`](j)"), ["c.md#d", "h.svg", "j"]);
    assert_eq!(anchor("What `diff` says, and why"), "what-diff-says-and-why");
    assert!(wrong("README.md", "docs/nothing.md").is_some_and(|why| why.contains("no docs/nothing.md")));
    assert!(wrong("README.md", "#nothing").is_some_and(|why| why.contains("no heading #nothing")));
    assert!(wrong("docs/dumps.md", "../README.md").is_some_and(|why| why.contains("leads out of it")));
    assert!(wrong("README.md", "CONTRIBUTING.md").is_none());
}

#[test]
fn every_page_is_in_the_table_of_contents() {
    let summary = page("docs/SUMMARY.md");
    let listed: BTreeSet<String> = summary.lines().flat_map(targets).map(|target| format!("docs/{target}")).collect();
    let there: BTreeSet<String> = book().into_iter().filter(|path| path != "docs/SUMMARY.md").collect();
    assert_eq!(listed, there);
}
