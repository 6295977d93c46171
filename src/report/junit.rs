//! A test suite for CI, in the XML of JUnit, as Jenkins and GitLab read it.
//!
//! A test is an activation, not a layer: its name is the same in every run, so that a dashboard can say since when
//! `layers.2.self_attn.q_rope` fails, and its class (`layers.2.self_attn`) folds the hundreds of them into a tree. Only what
//! was computed wrong fails: what follows from it is skipped, or one bug would be a hundred failures. The verdict itself is
//! the first test, because an answer such as `inputs_differ` has no activation.

use minijinja::Value;
use minijinja::value::Serde;
use serde::Serialize;

use super::document::Document;
use super::row::Cells;
use super::template::render;
use crate::debugger::in_layers;
use crate::diagnose::report::bare;
use crate::diagnose::{ActivationRow, Divergence, Report, Status};

/// One test.
#[derive(Serialize)]
struct Case {
    class: String,
    name: String,
    /// Why it fails: kind, message, more.
    failure: Option<(String, String, String)>,
    /// Why it says nothing.
    skipped: Option<String>,
}

/// The test suite of a document.
pub fn junit(document: &Document) -> String {
    let mut cases = vec![verdict(document)];
    cases.extend(document.report.activations.iter().map(|row| case(row, &document.report)));
    let values = [
        ("failures", Value::from(cases.iter().filter(|case| case.failure.is_some()).count())),
        ("skipped", Value::from(cases.iter().filter(|case| case.skipped.is_some()).count())),
        ("cases", Value::from(Serde(&cases))),
    ];
    render("suite.xml", include_str!("suite.xml"), document, values)
}

fn verdict(document: &Document) -> Case {
    let Report { verdict, sentence, .. } = &document.report;
    let reasons = || reasons(document.report.first_divergence()).join("\n");
    let failure = (!verdict.agrees()).then(|| (document.verdict.into(), sentence.clone(), reasons()));
    Case { class: "layerstep.diff".into(), name: "verdict".into(), failure, skipped: None }
}

fn case(row: &ActivationRow, report: &Report) -> Case {
    let cells = Cells::of(row);
    // `layers.3@1`, the output of a block, belongs to the layer as its parts do.
    let (path, step) = bare(cells.short);
    let (class, name) = match path.rsplit_once('.') {
        Some(_) if in_layers(path).is_some_and(|inside| !inside.contains('.')) => (path, "output"),
        Some(parts) => parts,
        None => ("model", path),
    };
    let name = if step == 0 { name.to_string() } else { format!("{name}@{step}") };
    let Cells { error, local, floor, ratio, worst, .. } = &cells;
    let failure = (row.status == Status::Bad).then(|| {
        let found = report.divergences.iter().find(|found| found.name == row.name);
        let kind = found.and_then(|found| found.suspects.first()).map_or("bad", |suspect| suspect.id);
        let message = found.map_or_else(
            || format!("it is not what its own inputs give: local error {local}, {ratio} times the noise"),
            |found| found.summary.clone(),
        );
        let mut more = reasons(found);
        more.push(format!("error {error}, local {local}, floor {floor}, ratio {ratio}"));
        if !worst.is_empty() {
            more.push(format!("worst at {worst}"));
        }
        (kind.to_string(), message, more.join("\n"))
    });
    let skipped = match row.status {
        Status::Missing => Some("not in the dump".into()),
        Status::Propagated => Some(format!("it is what its inputs give, and those were wrong: error {error}")),
        _ => None,
    };
    Case { class: class.into(), name, failure, skipped }
}

/// Where it is, what makes it, and what to do.
fn reasons(found: Option<&Divergence>) -> Vec<String> {
    let Some(found) = found else { return Vec::new() };
    let mut lines = vec![format!("where: {}", found.bracket())];
    for suspect in &found.suspects {
        lines.push(format!("why: {}: {}", suspect.id, suspect.summary));
        if !suspect.fix.is_empty() {
            lines.push(format!("fix: {}", suspect.fix));
        }
    }
    lines
}
