//! Public reports made again on tiny models: whether the answer is one that would have helped. README.md beside this file says
//! what the fields of `cases.json` mean.

#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::process::Command;
use std::sync::Mutex;

use predicates::Predicate;
use predicates::str::is_match;
use serde::Deserialize;
use serde_json::Value;
use support::repository;

#[derive(Deserialize)]
struct Case {
    id: String,
    right: Right,
    runs: Vec<Typed>,
}

#[derive(Deserialize)]
struct Typed {
    given: String,
    argv: Vec<String>,
    right: Option<Right>,
}

/// A right answer.
#[derive(Deserialize)]
struct Right {
    verdicts: Vec<String>,
    #[serde(rename = "where")]
    places: Vec<String>,
    cause: Vec<String>,
    says: Vec<String>,
}

const CALM: [&str; 2] = ["match", "rounding"];

/// What is missing in the answer to what was typed; empty where nothing is.
fn missing(argv: &[String], right: &Right) -> String {
    let ask = |how: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_layerstep"));
        let output = command.args(argv).arg(how).current_dir(repository("tests/cases")).output();
        let output = output.expect("the program runs");
        (String::from_utf8(output.stdout).expect("text"), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let ((text, _), (json, error)) = (ask("--full"), ask("--json"));
    let Ok(answer) = serde_json::from_str::<Value>(&json) else { return format!("no answer: {error}") };
    let verdict = answer["verdict"].as_str().unwrap_or_default();
    if !right.verdicts.iter().any(|fair| fair == verdict) {
        return format!("it is {verdict}: {}", answer["summary"]);
    }
    let says = |words: &str, text: &str| is_match(words).expect("an expression").eval(text);
    if CALM.contains(&verdict) {
        let silent = !right.says.is_empty() && !right.says.iter().any(|words| says(words, &text));
        return if silent { format!("it says nothing of {:?}", right.says) } else { String::new() };
    }
    let first = &answer["first_divergence"];
    let places = [&first["name"], &first["origin"], &first["bracket"][1]];
    let placed = places.iter().any(|place| right.places.iter().any(|fair| **place == fair.as_str()));
    if !right.places.is_empty() && !placed {
        return format!("it is located at {places:?}");
    }
    let ids: Vec<&str> = answer["suspects"]
        .as_array()
        .into_iter()
        .flatten()
        .take(3)
        .filter_map(|suspect| suspect["id"].as_str())
        .collect();
    let head = text.split("\nactivation ").next().unwrap_or_default();
    let named = right.cause.iter().any(|fair| fair != "unknown" && ids.contains(&fair.as_str()));
    let told = named || right.says.iter().any(|words| says(words, head));
    if told || (right.cause.is_empty() && right.says.is_empty()) { String::new() } else { format!("it names {ids:?}") }
}

#[test]
fn public_reports_are_answered() {
    let file = repository("tests/cases/cases.json");
    let cases: Vec<Case> = serde_json::from_str(&fs::read_to_string(file).expect("a file")).expect("cases");
    let runs: Vec<(&str, &Typed, &Right)> = cases
        .iter()
        .flat_map(|case| {
            case.runs.iter().map(move |run| (case.id.as_str(), run, run.right.as_ref().unwrap_or(&case.right)))
        })
        .filter(|(_, run, _)| run.argv[0] == "diff")
        .collect();
    assert_eq!(runs.len(), RUNS);
    let (next, wrong) = (Mutex::new(runs.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((id, run, right)) = next.lock().map(|mut next| next.next()).expect("no thread panics") {
                    let missing = missing(&run.argv, right);
                    if !missing.is_empty() {
                        let said = format!("{id}, {}: {missing}", run.given);
                        wrong.lock().expect("no thread panics").push(said);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("no thread panics");
    assert!(wrong.is_empty(), "{} of {RUNS} runs are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// So many comparisons.
const RUNS: usize = 47;
