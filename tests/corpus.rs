//! The corpus of `reference/make_corpus.py`: what the program must say of dumps whose story is known.
//!
//! Runs only where `LAYERSTEP_CORPUS` names the folders of one or more corpora, with `:` between them.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the table is for people: cargo test -- --nocapture")]

#[path = "corpus/answer.rs"]
mod answer;
#[path = "corpus/case.rs"]
mod case;
#[path = "support/contract.rs"]
mod contract;
#[path = "corpus/suspects.rs"]
mod suspects;
#[path = "corpus/table.rs"]
mod table;

use std::path::PathBuf;

use answer::Answer;
use case::Case;
use rayon::prelude::*;

/// Cases that are not yet right, and why. One that comes right has to leave the list.
const KNOWN: &[(&str, &str)] = &[
    ("planted/smollm2/float32/norm_eps-3/around-3/alone", EPSILON),
    ("planted/smollm2/float32/norm_eps-3/around-3/pair", EPSILON),
];

const EPSILON: &str = "it moves the norm by less than rounding may, and one norm before it is too few to show that rounding moves it less";

/// What the program says of every case. All groups share one pool of threads.
fn answers(cases: &[Case]) -> Vec<(&Case, Answer)> {
    cases.par_iter().with_max_len(1).map(|case| (case, Answer::to(case))).collect()
}

/// The cases of a group; `None`, and a word on stderr, without a corpus.
fn cases(group: &str) -> Option<Vec<Case>> {
    let Some(folders) = std::env::var_os("LAYERSTEP_CORPUS") else {
        eprintln!(
            "LAYERSTEP_CORPUS is not set: nothing was tested. python reference/make_corpus.py makes reference/corpus"
        );
        return None;
    };
    let folders: Vec<PathBuf> = std::env::split_paths(&folders).collect();
    let cases = folders.iter().flat_map(|folder| Case::read_all(folder));
    Some(cases.filter(|case| case.group == group).collect())
}

/// Every case that is not as it should be, all together.
#[track_caller]
fn judge(answers: &[(&Case, Answer)]) {
    let mut wrong = Vec::new();
    for (case, answer) in answers {
        let known = KNOWN.iter().find(|(name, _)| *name == case.name);
        match known {
            None if answer.wrong.is_empty() => {}
            None => wrong.push(format!("{}: {}", case.name, answer.wrong.join("; "))),
            Some((name, _)) if answer.wrong.is_empty() => {
                wrong.push(format!("{name} is right now: it has to leave KNOWN"));
            }
            Some((name, why)) => println!("{name} is a known limit: {why}"),
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases are wrong:\n{}", wrong.len(), answers.len(), wrong.join("\n"));
    println!("{} cases are right", answers.len());
}

#[test]
fn clean_dumps_accuse_nobody() {
    let Some(cases) = cases("clean") else { return };
    judge(&answers(&cases));
}

#[test]
fn planted_mistakes_are_located() {
    let Some(cases) = cases("planted") else { return };
    let answers = answers(&cases);
    println!("{}", table::table(&answers));
    judge(&answers);
    // Corpora of other models have no part in it.
    let tiny: Vec<_> = answers.into_iter().filter(|(case, _)| !case.name.contains("/smollm2/")).collect();
    let table = suspects::table(&tiny);
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("README.md");
    assert!(tiny.is_empty() || readme.contains(&table), "README.md, section What is named, should hold:\n{table}");
}

#[test]
fn the_founding_story_is_told() {
    let Some(cases) = cases("founding") else { return };
    judge(&answers(&cases));
}
