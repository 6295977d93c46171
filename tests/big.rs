//! Real sizes against PyTorch. Runs only where `LAYERSTEP_SMOLLM2`, `LAYERSTEP_MINILM` and `LAYERSTEP_QWEN_SHAPE` name the
//! folders that `reference/make_big.sh` made; CONTRIBUTING.md says how.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the figures are for people: cargo test -- --nocapture")]

mod support;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use layerstep::diagnose::{Verdict, Witnesses, walk};
use layerstep::dump::{Dump, Options};
use layerstep::engine::sampling::argmax;
use layerstep::engine::{LogitRows, Run};
use layerstep::model::{Model, Tokenizer};

/// The folder that a variable names.
fn folder(variable: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(|| panic!("{variable} is not set: CONTRIBUTING.md says how"), PathBuf::from)
}

/// The largest chained error of a whole dump, decode steps included.
fn largest_error(model: &Arc<Model>, dump: &std::path::Path) -> f64 {
    let mut dump = Dump::open(dump, &model.graph, &Options::default()).expect("a dump of capture.py");
    let ids = dump.ids().expect("capture.py writes the ids").clone();
    dump.bind(&ids.ids, &ids.steps).expect("the dump fits its model");
    let witnesses = Witnesses { reference: Some(Arc::new(dump)), candidate: None };
    let report = walk(model, &ids.ids, &ids.steps, witnesses, &mut |_, _| ()).expect("readable");
    assert_eq!(report.verdict, Verdict::Match, "{}", report.sentence);
    assert!(report.activations.iter().all(|row| row.error.is_finite()), "every activation is in the dump");
    let worst = report.activations.iter().max_by(|a, b| a.error.total_cmp(&b.error)).expect("activations");
    println!("{}: largest of {} errors {:.2e} at {}", model.name, report.activations.len(), worst.error, worst.name);
    worst.error
}

#[test]
#[ignore = "needs the folders of reference/make_big.sh: CONTRIBUTING.md says how"]
fn smollm2_agrees_with_pytorch_at_every_activation() {
    let folder = folder("LAYERSTEP_SMOLLM2");
    let model = Arc::new(Model::load(&folder.join("smollm2")).expect("SmolLM2"));
    assert!(largest_error(&model, &folder.join("smollm2-ref.safetensors")) <= 2e-5);
}

#[test]
#[ignore = "needs the folders of reference/make_big.sh: CONTRIBUTING.md says how"]
fn smollm2_writes_the_same_greedy_tokens_as_pytorch() {
    let folder = folder("LAYERSTEP_SMOLLM2");
    let model = Arc::new(Model::load(&folder.join("smollm2")).expect("SmolLM2"));
    let tokenizer = Tokenizer::load(&folder.join("smollm2")).expect("readable").expect("tokenizer.json");
    let text = std::fs::read_to_string(folder.join("smollm2-greedy.json")).expect("greedy.json");
    let entries: Vec<serde_json::Value> = serde_json::from_str(&text).expect("JSON");
    assert!(entries.len() >= 5);
    for entry in entries {
        let ids = |key: &str| serde_json::from_value::<Vec<u32>>(entry[key].clone()).expect("ids");
        let prompt = tokenizer.encode(entry["prompt"].as_str().expect("text"), true).expect("tokens");
        assert_eq!(prompt, ids("ids"));
        let mut run = Run::new(Arc::clone(&model), &prompt, LogitRows::Last);
        for _ in 0..64 {
            run.finish_forward();
            let next = argmax(&run.last_logits().expect("complete").to_vec());
            run.begin_forward(&[next]);
        }
        assert_eq!(run.ids()[prompt.len()..], ids("greedy")[..64], "{}", entry["prompt"]);
    }
}

#[test]
#[ignore = "needs the folders of reference/make_big.sh: CONTRIBUTING.md says how"]
fn minilm_agrees_with_pytorch_at_every_activation() {
    let folder = folder("LAYERSTEP_MINILM");
    let model = Arc::new(Model::load(&folder.join("minilm")).expect("all-MiniLM-L6-v2"));
    let tokenizer = Tokenizer::load(&folder.join("minilm")).expect("readable").expect("tokenizer.json");
    let ids = tokenizer.encode("A device that turned.", true).expect("tokens");
    assert_eq!(ids, [101, 1037, 5080, 2008, 2357, 1012, 102], "with [CLS] and [SEP]");
    assert!(largest_error(&model, &folder.join("minilm-ref.safetensors")) <= 1e-5);
}

#[test]
#[ignore = "needs the folders of reference/make_big.sh: CONTRIBUTING.md says how"]
fn a_model_of_qwens_size_agrees_with_pytorch_and_loads_at_once() {
    let folder = folder("LAYERSTEP_QWEN_SHAPE");
    let started = Instant::now();
    let model = Arc::new(Model::load(&folder.join("qwen-shape")).expect("the model"));
    println!("loaded in {:?}", started.elapsed());
    assert!(largest_error(&model, &folder.join("qwen-ref.safetensors")) <= 1e-4);
}
