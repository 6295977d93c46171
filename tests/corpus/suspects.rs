//! The table of docs/suspects.md: for every suspect, a planted mistake that it stands for, where it was located, and what was
//! named.

use std::fmt::Write;

use crate::answer::Answer;
use crate::case::Case;

/// One line for each suspect: the first planted case in f32 with all activations, alone where there is one.
pub(crate) fn table(answers: &[(&Case, Answer)]) -> String {
    let mut out =
        String::from("| planted | dump | located | named | explained | residual |\n|---|---|---|---|---|---|\n");
    let mut ids: Vec<&str> = answers.iter().flat_map(|(case, _)| case.suspects()).collect();
    ids.sort_unstable();
    ids.dedup();
    for id in ids {
        let plain = |(case, _): &&(&Case, Answer)| case.suspects() == [id] && !case.is_small() && !case.is_one_by_one();
        let rank = |(case, answer): &&(&Case, Answer)| {
            let coarse = case.expect.precision != "float32" || case.expect.coverage != "all";
            let named = answer.cause(case, id).is_some();
            let knob = case.expect.bug.starts_with("knob-");
            (!named, coarse, case.expect.bug != id, case.candidate.is_none(), knob, case.name.clone())
        };
        let Some((case, answer)) = answers.iter().filter(plain).min_by_key(rank) else { continue };
        writeln!(out, "{}", line(id, case, answer)).expect("a string");
    }
    out
}

fn line(id: &str, case: &Case, answer: &Answer) -> String {
    let dump = format!("{}, {}", case.model_name(), case.expect.precision.replace("float", "f"));
    let located = format!("`{}`", answer.located());
    let Some((named, explained, residual)) = answer.cause(case, id) else {
        return format!("| {} | {dump} | {located} | - | - | - |", case.expect.bug);
    };
    // Digits of noise differ from machine to machine: the power of ten above it does not.
    let residual = match residual {
        residual if named == "unknown" => format!("{residual:.0e}"),
        residual => format!("< 1e{}", residual.log10().ceil().max(-6.0)),
    };
    let share = if explained > 0.0 { format!("{:.2} %", 100.0 * explained) } else { "-".to_string() };
    format!("| {} | {dump} | {located} | `{named}` | {share} | {residual} |", case.expect.bug)
}
