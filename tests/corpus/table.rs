//! The table of planted mistakes: one line for each kind.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::answer::Answer;
use crate::case::Case;

/// One line for each kind of mistake: how many cases were located, and the one that stood out least from the noise.
pub(crate) fn table(answers: &[(&Case, Answer)]) -> String {
    let mut kinds: BTreeMap<&str, Vec<&(&Case, Answer)>> = BTreeMap::new();
    for answer in answers {
        kinds.entry(&answer.0.expect.bug).or_default().push(answer);
    }
    let mut lines = vec![
        ["mistake", "op", "bracket", "missed", "least: model", "precision", "coverage", "located", "error", "ratio"]
            .map(String::from),
    ];
    lines.extend(kinds.iter().map(|(bug, answers)| line(bug, answers)));
    aligned(&lines)
}

/// How many of the mistakes of the catalogue are named where only some blocks or sublayers were dumped.
pub(crate) fn named_over_spans(answers: &[(&Case, Answer)]) -> String {
    const SPARSE: &[&str] = &["blocks", "second", "third", "attention"];
    let of = |coverages: &[&str]| {
        let known = |case: &Case| coverages.contains(&case.expect.coverage.as_str()) && case.suspects() != ["unknown"];
        let known: Vec<_> = answers.iter().filter(|(case, _)| known(case)).collect();
        let named = known.iter().filter(|(case, answer)| answer.names_all(case)).count();
        format!("{named} of {}", known.len())
    };
    format!(
        "mistakes of the catalogue that are named: {} by blocks alone, {} in all sparse dumps",
        of(&SPARSE[..1]),
        of(SPARSE)
    )
}

fn line(bug: &str, answers: &[&(&Case, Answer)]) -> [String; 10] {
    let right = |answer: &Answer| answer.wrong.is_empty() && answer.figures().is_some();
    let count = |of: &dyn Fn(&Answer) -> bool| answers.iter().filter(|(_, answer)| of(answer)).count().to_string();
    let least = answers
        .iter()
        .filter(|(_, answer)| right(answer))
        .min_by(|(_, a), (_, b)| ratio(a).total_cmp(&ratio(b)))
        .or(answers.first())
        .expect("a kind has a case");
    let (case, answer) = least;
    let (error, ratio) = answer.figures().unwrap_or((f64::NAN, f64::NAN));
    [
        bug.into(),
        count(&|answer| right(answer) && answer.is_exact()),
        count(&|answer| right(answer) && !answer.is_exact()),
        count(&|answer| !right(answer)),
        case.model_name().into(),
        case.expect.precision.clone(),
        case.expect.coverage.clone(),
        answer.located(),
        format!("{error:.1e}"),
        format!("{ratio:.1e}"),
    ]
}

fn ratio(answer: &Answer) -> f64 {
    answer.figures().map_or(f64::INFINITY, |(_, ratio)| ratio)
}

fn aligned<const N: usize>(lines: &[[String; N]]) -> String {
    let widths: [usize; N] =
        std::array::from_fn(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0));
    let mut out = String::new();
    for line in lines {
        let cells: Vec<String> = line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        writeln!(out, "{}", cells.join("  ").trim_end()).expect("a string");
    }
    out
}
