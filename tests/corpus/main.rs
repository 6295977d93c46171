//! The corpus of `reference/make_corpus.py`: what the program must say of dumps whose story is known.
//!
//! `LAYERSTEP_CORPUS` names the folders of one or more corpora, with `:` between them; `.ci/run` makes them, and runs this
//! with `--ignored`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the table is for people: cargo test -- --nocapture")]

mod answer;
mod case;
#[path = "../support/contract.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod contract;
mod suspects;
mod table;

use std::path::PathBuf;

use answer::Answer;
use case::Case;
use rayon::prelude::*;

/// Cases that are not yet right, and why. One that comes right has to leave the list.
const KNOWN: &[(&str, &str)] = &[
    ("planted/smollm2/float32/norm_eps-3/around-3/alone", EPSILON),
    ("clean/mixtral/float32/weights-unknown/blocks/12+4", ROUTED),
    ("planted/smollm2/float32/norm_eps-3/around-3/pair", EPSILON),
    ("clean/llama_yarn/float32/weights-unknown/blocks/12+4", TWO_LAYERS),
    ("clean/llama_dynamic/float32/weights-unknown/blocks/12+4", TWO_LAYERS),
    ("clean/llama_longrope/float32/weights-unknown/blocks/12+4", TWO_LAYERS),
    ("clean/llama4/float32/padded-left/told", PADDED),
    ("clean/lfm2/float32/padded-left/told", PADDED),
    ("clean/granitemoehybrid/float32/padded-left/told", PADDED),
    ("clean/granitemoehybrid_dense/float32/padded-left/told", PADDED),
    ("clean/falcon_h1/float32/padded-left/told", PADDED),
    ("clean/nemotron_h/float32/padded-left/told", PADDED),
    ("clean/nemotron_h/bfloat16/untold/12+4", UNTOLD),
    ("planted/phimoe/float32/knob-rope_theta/blocks/alone", AS_LARGE),
    ("planted/phimoe/float32/knob-rope_theta/blocks/pair", AS_LARGE),
    ("planted/gemma4_keys/float32/knob-rms_norm_eps/blocks/alone", AS_LARGE),
    ("planted/gemma4_keys/float32/knob-rms_norm_eps/blocks/pair", AS_LARGE),
    ("planted/gemma4_shared/float32/knob-rms_norm_eps/blocks/alone", AS_LARGE),
    ("planted/gemma4_shared/float32/knob-rms_norm_eps/blocks/pair", AS_LARGE),
    ("planted/gpt_oss/float32/knob-sinks_reversed/blocks/alone", AS_LARGE),
    ("planted/gpt_oss/float32/knob-sinks_reversed/blocks/pair", AS_LARGE),
    ("planted/qwen3_next/float32/knob-norm_topk_prob/blocks/alone", AS_LARGE),
    ("planted/qwen3_next/float32/knob-norm_topk_prob/blocks/pair", AS_LARGE),
];

const TWO_LAYERS: &str = "two blocks are too few to show that all are as far off as the bits of an unknown format say";

const PADDED: &str = "PyTorch itself computes otherwise behind pads on the left: queries grow with the place in the batch, and the bias of \
     what a convolution reads is not masked";

const UNTOLD: &str =
    "steps of time have a floor in forwards of several tokens only, and the dump does not say its forwards";

const AS_LARGE: &str =
    "products in low precision would make an error as large, and no mistake is found that makes all of it";

/// Why a case is answered wrongly, where that is known.
fn known(name: &str) -> Option<&'static str> {
    KNOWN.iter().find(|(known, _)| *known == name).map(|(_, why)| *why)
}

const ROUTED: &str =
    "weights of an unknown format give tokens to other experts, and the error is not that of their bits";

const EPSILON: &str = "it moves the norm by less than rounding may, and one norm before it is too few to show that rounding moves it less";

/// How many cases each group has, without those of SmolLM2.
const CASES: &[(&str, usize)] = &[("clean", 5617), ("planted", 4358), ("founding", 10)];

/// What the program says of every case. All groups share one pool of threads.
fn answers(cases: &[Case]) -> Vec<(&Case, Answer)> {
    cases.par_iter().with_max_len(1).map(|case| (case, Answer::to(case))).collect()
}

/// The cases of a group: as many as there have to be.
fn cases(group: &str) -> Vec<Case> {
    let folders = std::env::var_os("LAYERSTEP_CORPUS");
    let folders = folders.expect("LAYERSTEP_CORPUS is not set: python reference/make_corpus.py makes reference/corpus");
    let folders: Vec<PathBuf> = std::env::split_paths(&folders).collect();
    let cases = folders.iter().flat_map(|folder| Case::read_all(folder)).filter(|case| case.group == group);
    let cases: Vec<Case> = cases.collect();
    let tiny = cases.iter().filter(|case| !case.name.contains("/smollm2/")).count();
    let wanted = CASES.iter().find(|(known, _)| *known == group).map(|(_, count)| *count);
    // A corpus of SmolLM2 alone, made by hand, is as large as one likes.
    let by_hand = tiny == 0 && !cases.is_empty();
    assert!(
        by_hand || Some(tiny) == wanted,
        "{tiny} cases of the group {group}, {wanted:?} expected: is the corpus new?"
    );
    cases
}

/// Every case that is not as it should be, all together.
#[track_caller]
fn judge(answers: &[(&Case, Answer)]) {
    let mut wrong = Vec::new();
    for (case, answer) in answers {
        match known(&case.name) {
            None if answer.wrong.is_empty() => {}
            None => wrong.push(format!("{}: {}", case.name, answer.wrong.join("; "))),
            Some(_) if answer.wrong.is_empty() => {
                wrong.push(format!("{} is right now: it has to leave KNOWN", case.name));
            }
            Some(why) => println!("{} is a known limit: {why}", case.name),
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases are wrong:\n{}", wrong.len(), answers.len(), wrong.join("\n"));
    println!("{} cases are right", answers.len());
}

#[test]
#[ignore = "needs a corpus of reference/make_corpus.py: .ci/run makes it"]
fn clean_dumps_accuse_nobody() {
    let cases = cases("clean");
    judge(&answers(&cases));
}

#[test]
#[ignore = "needs a corpus of reference/make_corpus.py: .ci/run makes it"]
fn planted_mistakes_are_located() {
    let cases = cases("planted");
    let answers = answers(&cases);
    println!("{}", table::table(&answers));
    println!("{}", table::named_over_spans(&answers));
    judge(&answers);
    // Corpora of other models have no part in it.
    let tiny: Vec<_> = answers.into_iter().filter(|(case, _)| !case.name.contains("/smollm2/")).collect();
    let table = suspects::table(&tiny);
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/suspects.md")).expect("a page");
    assert!(tiny.is_empty() || page.contains(&table), "docs/suspects.md, section What is named, should hold:\n{table}");
}

#[test]
#[ignore = "needs a corpus of reference/make_corpus.py: .ci/run makes it"]
fn the_founding_story_is_told() {
    let cases = cases("founding");
    judge(&answers(&cases));
}
