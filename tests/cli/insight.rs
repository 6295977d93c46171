//! `lens` and `sweep`: the documents that programs read, what is printed, and what is refused.

use std::process::{Command, Output};

use serde_json::Value;

use crate::support::repository;

const DEMO: &str = "reference/demo/model";

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_layerstep"));
    command.current_dir(repository("")).env_remove("RUST_BACKTRACE").args(arguments);
    command.output().expect("the program runs")
}

#[track_caller]
fn printed(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[track_caller]
fn document(arguments: &[&str]) -> Value {
    serde_json::from_str(&printed(arguments)).expect("JSON")
}

#[track_caller]
fn refused(arguments: &[&str], says: &str) {
    let output = run(arguments);
    let error = String::from_utf8(output.stderr).expect("text");
    assert!(output.status.code() == Some(2) && output.stdout.is_empty(), "{arguments:?}");
    assert!(error.starts_with("error: ") && error.lines().count() == 1 && error.contains(says), "{error}");
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is a number"))
}

#[test]
fn the_lens_as_a_document() {
    let all = document(&["lens", DEMO, "--prompt", "Harriet could not", "--position", "all", "--top", "2", "--json"]);
    assert_eq!(all["schema"], "layerstep.lens/1");
    let positions = all["positions"].as_array().expect("a list");
    assert_eq!(positions.len(), all["ids"].as_array().expect("ids").len());
    for (index, position) in positions.iter().enumerate() {
        assert_eq!((&position["position"], &position["id"]), (&index.into(), &all["ids"][index]));
        let rows = position["rows"].as_array().expect("rows");
        let names: Vec<&str> = rows.iter().map(|row| row["name"].as_str().expect("a name")).collect();
        assert_eq!((names[0], names[1], names[5]), ("model.embed_tokens", "model.layers.0", "lm_head"));
        let last = &rows[5];
        assert_eq!((&last["rank"], &last["kl_nats"]), (&1.into(), &0.0.into()));
        assert_eq!(last["top"][0]["id"], position["followed"]["id"]);
        assert!(rows.iter().all(|row| row["top"].as_array().is_some_and(|top| top.len() == 2)));
        assert_eq!(position["attribution"].is_null(), index + 1 < positions.len());
    }
    // What is attributed adds up.
    let found = &positions[positions.len() - 1]["attribution"];
    let layers = found["layers"].as_array().expect("layers");
    let parts: f64 = layers.iter().map(|layer| number(&layer["attention"]) + number(&layer["mlp"])).sum();
    let sum =
        parts + number(&found["embedding"]["embed_tokens"]) + number(&found["norm_bias"]) + number(&found["rest"]);
    assert!((sum - number(&found["logit"])).abs() < 1e-6 && number(&found["rest"]).abs() < 1e-3, "{found}");
    assert!(layers.iter().all(|layer| layer["heads"].as_array().is_some_and(|heads| heads.len() == 4)));
    // By default the last position is shown.
    let last = document(&["lens", DEMO, "--prompt", "Harriet could not", "--top", "2", "--json"]);
    assert_eq!(last["positions"], Value::Array(vec![positions[positions.len() - 1].clone()]));
    let followed = document(&["lens", DEMO, "--prompt", "Harriet", "--token", " not", "--json"]);
    assert_eq!(followed["positions"][0]["followed"]["text"], " not");
    let text = printed(&["lens", DEMO, "--prompt", "Harriet could not", "--token", " not"]);
    assert!(text.starts_with("position 3, after \" not\": \" not\" among 1024 tokens\nafter "), "{text}");
}

#[test]
fn a_sweep_as_a_document() {
    for (of, count) in [("heads", 16), ("layers", 4), ("mlp", 4)] {
        let found = document(&["sweep", DEMO, of, "--ids", "40,920,393,314", "--token", "7", "--json"]);
        assert_eq!((&found["schema"], &found["of"]), (&"layerstep.sweep/1".into(), &of.into()));
        assert_eq!((&found["token"]["id"], &found["ids"]), (&7.into(), &serde_json::json!([40, 920, 393, 314])));
        let parts = found["parts"].as_array().expect("parts");
        assert_eq!(parts.len(), count, "{of}");
        assert!(parts.windows(2).all(|pair| number(&pair[0]["kl_nats"]) >= number(&pair[1]["kl_nats"])));
        assert!(parts.iter().all(|part| part["head"].is_null() != (of == "heads")));
        assert!(parts.iter().all(|part| part["likeliest"]["text"].is_string() && number(&part["logit_change"]) != 0.0));
    }
    // Without a tokenizer tokens have no texts.
    let found = document(&["sweep", "reference/tiny/llama", "mlp", "--ids", "1,2,3", "--json"]);
    assert!(found["token"]["text"].is_null() && found["token"]["id"].is_u64());
}

#[test]
fn what_cannot_be_asked() {
    for command in [&["lens", DEMO][..], &["sweep", DEMO, "heads"]] {
        refused(command, "give --prompt TEXT or --ids 1,2,3");
        refused(&[command, &["--prompt", "Emma", "--token", "99999"]].concat(), "there is no token 99999");
        refused(&[command, &["--prompt", "Emma", "--token", "not a token"]].concat(), "not a token is not one token");
    }
    refused(&["lens", DEMO, "--prompt", "Emma", "--position", "9"], "there is no position 9: the prompt has 0 to ");
    refused(&["lens", DEMO, "--prompt", "Emma", "--position", "-1"], "-1");
    refused(&["lens", DEMO, "--prompt", "Emma", "--position", "last"], "give a number, or all");
    refused(&["sweep", DEMO, "experts", "--prompt", "Emma"], "experts");
}

#[test]
fn a_model_without_a_head_says_that_it_has_none() {
    for (name, gives) in [("bert", "normalized"), ("roberta", "pooled"), ("modernbert", "final_norm")] {
        let model = format!("reference/tiny/{name}");
        let says = format!("the model has no head, so it scores no next token: it gives {gives}");
        let fed = ["--ids", "5,6,7"];
        refused(&[&["lens", &model][..], &fed].concat(), &says);
        refused(&[&["generate", &model][..], &fed].concat(), &says);
        refused(&[&["sweep", &model, "heads"][..], &fed].concat(), &says);
        refused(&[&["sensitivity", &model, "--quantise", "q8_0"][..], &fed].concat(), &says);
        let output = std::env::temp_dir().join(format!("layerstep-{name}.safetensors"));
        let output = output.to_str().expect("text");
        refused(&[&["capture", &model, "--decode", "1", "-o", output][..], &fed].concat(), &says);
    }
}
