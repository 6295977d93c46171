//! The templates, and the words that they use for numbers and marks.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Value};

use super::document::Document;
use super::number;
use super::row::Cells;
use crate::diagnose::suspects::named;
use crate::diagnose::suspects::search::Accused;
use crate::diagnose::{ActivationRow, Culprit, Divergence, Effect, Verdict};

/// Sets a template with a document and what else it asks for. Its extension says what is escaped: everything in .html and
/// .xml, nothing in .md.
pub(super) fn render<const N: usize>(
    name: &'static str,
    text: &'static str,
    document: &Document,
    more: [(&'static str, Value); N],
) -> String {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.expect("its delimiters are those of Jinja"));
    environment.set_auto_escape_callback(|name| match name.rsplit('.').next() {
        Some("html" | "xml") => minijinja::AutoEscape::Html,
        _ => minijinja::AutoEscape::None,
    });
    environment.add_global("version", env!("CARGO_PKG_VERSION"));
    environment.add_filter("percent", number::percent);
    environment.add_filter("mark", mark);
    environment.add_filter("meaning", meaning);
    environment.add_filter("readings", readings);
    environment.add_filter("code", code);
    environment.add_filter("cell", cell);
    environment.add_filter("prose", prose);
    environment.add_filter("ranges", |numbers: Vec<usize>| crate::diagnose::finding::ranges(&numbers));
    environment.add_template(name, text).expect("the template is part of the program, and tests read it");
    let template = environment.get_template(name).expect("it has just been added");
    let report = &document.report;
    let values = [
        ("document", Value::from(Serde(document))),
        ("sentence", Value::from(&report.sentence)),
        ("divergences", report.divergences.iter().map(|found| divergence(found, report.verdict)).collect()),
        ("blind_spots", Value::from(Serde(&report.blind_spots))),
        ("output", report.effect.as_ref().and_then(Effect::describe).into()),
        ("notes", report.all_notes().map(Value::from).collect()),
        ("sources", Value::from(Serde(&report.sources))),
    ];
    let values = Value::from_pairs(values.into_iter().chain(more));
    template.render(values).expect("the template fits the document, and tests fill it")
}

/// A sign for a verdict or a status, so that no colour is needed to tell them apart.
fn mark(word: &str) -> &'static str {
    match word {
        "ok" | "match" => "✓",
        "rounding" => "≈",
        "equivalent" => "≡",
        "bad" | "diverged" => "✗",
        "propagated" => "→",
        "mislabelled" => "⇄",
        "inputs_differ" => "≠",
        "inconclusive" => "?",
        _ => "–",
    }
}

/// What a verdict means; empty for what is none.
fn meaning(word: &str) -> &'static str {
    match word {
        "match" => "everything compared agrees as f32 computations do",
        "rounding" => "every difference is explained by the precision of a dump",
        "diverged" => "a wrong value was computed",
        "mislabelled" => "a tensor is not what its name says; what was computed is right",
        "inputs_differ" => "the token ids are not the same",
        "inconclusive" => "there is a difference that the evidence does not settle",
        _ => "",
    }
}

/// A divergence, with what is known of the mistakes that make it.
fn divergence(found: &Divergence, verdict: Verdict) -> Value {
    let suspect = |accused: &Accused| {
        let known = named(accused.id);
        context([
            ("id", accused.id.into()),
            ("explained", accused.explained.into()),
            ("summary", Value::from(&accused.summary)),
            ("fix", accused.fix.into()),
            ("symptom", known.map_or("", |known| known.symptom).into()),
            ("cause", known.map_or("", |known| known.cause).into()),
        ])
    };
    context([
        ("name", Value::from(&found.name)),
        ("whose", whose(found.culprit, verdict).into()),
        ("suspects", found.suspects.iter().map(suspect).collect()),
        ("layers", Value::from(Serde(&found.layers))),
        ("step", found.step().into()),
        ("token", found.token.into()),
        ("last_good", Value::from(Serde(&found.last_good))),
        ("exact", found.exact.into()),
        ("summary", Value::from(&found.summary)),
    ])
}

/// Whose tensor is wrong, in one sentence.
fn whose(culprit: Culprit, verdict: Verdict) -> String {
    let name = culprit.name();
    match (verdict, culprit) {
        (Verdict::InputsDiffer, _) => "Nobody computed wrong: other tokens were fed.".into(),
        (_, Culprit::Engine) => "The dumps agree with each other, and not with our engine.".into(),
        (_, Culprit::Unknown) => "The evidence does not tell whose tensor is wrong.".into(),
        (Verdict::Mislabelled, _) => format!("The {name} has a tensor under a wrong name."),
        _ => format!("The {name} is wrong."),
    }
}

/// Of the lines of a plan, those that say something: `name f32 [15, 128] -> name` does not.
fn readings(plan: Vec<String>) -> Vec<String> {
    let plain = |line: &str| line.split_once(" -> ").is_some_and(|(from, to)| from.split(' ').next() == Some(to));
    plan.into_iter().filter(|line| !plain(line)).collect()
}

/// The same in a table, where a bar would end the cell, even in code.
fn cell(text: &str) -> String {
    code(text).replace('|', "\\|")
}

/// Markdown code that holds any text.
fn code(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// Markdown text that says what it says: nothing in it is a sign of Markdown or HTML.
fn prose(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut inside_word = false;
    for (index, c) in text.char_indices() {
        let follows_word = text[index + c.len_utf8()..].chars().next().is_some_and(char::is_alphanumeric);
        match c {
            '<' => escaped.push_str("&lt;"),
            '&' => escaped.push_str("&amp;"),
            '\\' | '`' | '*' | '[' | ']' | '|' | '~' => escaped.extend(['\\', c]),
            // Within a word it is a letter.
            '_' if !(inside_word && follows_word) => escaped.extend(['\\', c]),
            _ => escaped.push(c),
        }
        inside_word = c.is_alphanumeric() || c == '_';
    }
    escaped
}

/// The rows of a table.
pub(super) fn table(rows: &[&ActivationRow]) -> Value {
    rows.iter().map(|row| Value::from(Serde(Cells::of(row)))).collect()
}

/// A context from names and values.
pub(super) fn context<const N: usize>(values: [(&'static str, Value); N]) -> Value {
    Value::from_pairs(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_markdown() {
        for (text, escaped) in [
            ("model.layers.2.self_attn.q_rope", "model.layers.2.self_attn.q_rope"),
            ("_a_ <script> |x| `y` [z](u) a * b & c", "\\_a\\_ &lt;script> \\|x\\| \\`y\\` \\[z\\](u) a \\* b &amp; c"),
        ] {
            assert_eq!(prose(text), escaped);
        }
        for (text, fenced) in [("a", "`a`"), ("`a", "`` `a ``"), ("a``b", "```a``b```"), ("", "")] {
            assert_eq!(code(text), fenced);
        }
        assert_eq!((code("a|b"), cell("a|b")), ("`a|b`".into(), "`a\\|b`".into()));
    }
}
