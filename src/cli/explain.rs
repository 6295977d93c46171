//! `layerstep explain`: the known mistakes of ports, from the table that `diff` searches.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use anyhow::anyhow;

use crate::diagnose::suspects::switch::find;
use crate::diagnose::suspects::{Suspect, all};

/// Explain a known mistake of ports.
///
/// `diff` names them after `why:`, the diagnosis of `debug` (key d) lists them, and `debug --suspect ID` switches one on in
/// our own engine. Without an id: all of them, each in one sentence.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Which: rope_interleaved, bias_missing, ..., unknown.
    id: Option<String>,
}

/// What the report says where no known mistake makes a tensor.
const UNKNOWN: &str = "unknown";
const UNKNOWN_SUMMARY: &str = "no known mistake makes the tensor; the shape of the error is described";
const UNKNOWN_TEXT: [(&str, &str); 4] = [
    (
        "means",
        "every known mistake was tried on the inputs that the dump has for this op, or for the ops that lead to it, and none \
         of them gives the tensor that it has for the output: something is wrong in a way that is not in the list",
    ),
    (
        "shape",
        "what the summary says of the error: scaled (a constant, also one for each head), one vector for all tokens (a \
         bias), one factor for each channel (a weight) or for each token (a norm), the op left out, the same channels in \
         another order, an error of rank one, or the few tokens or channels that it lies in; elements that are not finite \
         are counted",
    ),
    (
        "but",
        "a shape is a description and no cause; without a simple shape, the weights or the inputs of the op are the first \
         thing to look at",
    ),
    ("look", "layerstep debug MODEL --reference DUMP --candidate DUMP, then c, d, and t for the difference"),
];

/// Runs the command.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let text = match args.id.as_deref() {
        None => list(),
        Some(UNKNOWN) => {
            entry(UNKNOWN, UNKNOWN_SUMMARY, &UNKNOWN_TEXT.map(|(label, words)| (label, words.to_string())))
        }
        Some(id) => explanation(find(id).map_err(|sentence| anyhow!(sentence))?),
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Ids and what they are, in the order in which they are tried.
fn entries() -> impl Iterator<Item = (&'static str, String)> {
    let sentence = |suspect: &Suspect| {
        let reverse = suspect.back().is_some_and(|back| back.summary != suspect.summary);
        format!("{}{}", suspect.summary, if reverse { "; or the reverse" } else { "" })
    };
    all().map(move |suspect| (suspect.id, sentence(suspect))).chain([(UNKNOWN, UNKNOWN_SUMMARY.to_string())])
}

fn list() -> String {
    let width = entries().map(|(id, _)| id.len()).max().unwrap_or(0);
    entries().fold(String::new(), |text, (id, summary)| text + &format!("{id:width$}  {summary}\n"))
}

/// The suspects and what each is, as docs/suspects.md prints them; a test holds the two together.
pub fn suspect_table() -> String {
    entries().fold(String::from("| id | what it is |\n|---|---|\n"), |mut table, (id, summary)| {
        writeln!(table, "| `{id}` | {} |", summary.replace('|', "\\|")).expect("writing to a String cannot fail");
        table
    })
}

fn explanation(suspect: &Suspect) -> String {
    let ops: Vec<&str> = suspect.ops.iter().map(|op| op.row().short).collect();
    let (ops, look) = if ops.is_empty() {
        ("none: the dump is wrong, not an op".to_string(), "layerstep diff names it".to_string())
    } else {
        (ops.join(", "), format!("layerstep debug MODEL --prompt TEXT --suspect {}", suspect.id))
    };
    let back = suspect.back().map(|back| ("or", format!("{}: {}", back.summary, back.fix)));
    let mut rows = vec![
        ("shows", suspect.symptom.to_string()),
        ("cause", suspect.cause.to_string()),
        ("fix", suspect.fix.to_string()),
    ];
    rows.extend(back);
    rows.extend([("ops", ops), ("seen", suspect.seen.to_string()), ("look", look)]);
    entry(suspect.id, suspect.summary, &rows)
}

/// An id, its sentence, and labelled paragraphs.
fn entry(id: &str, summary: &str, rows: &[(&str, String)]) -> String {
    const LABEL: usize = 7;
    const WIDTH: usize = 100;
    let mut text = format!("{id}: {summary}\n\n");
    for (label, words) in rows {
        let mut line = format!("{label:<LABEL$}");
        for word in words.split(' ') {
            if line.chars().count() + word.chars().count() > WIDTH {
                text += line.trim_end();
                text += "\n";
                line = " ".repeat(LABEL);
            }
            line += word;
            line += " ";
        }
        text += line.trim_end();
        text += "\n";
    }
    text
}
