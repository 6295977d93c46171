//! `layerstep inspect`, from the outside.

use std::path::PathBuf;

use assert_cmd::Command;
use predicates::str::contains;
use serde_json::Value;

fn tiny(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("reference/tiny").join(path)
}

fn layerstep() -> Command {
    Command::new(assert_cmd::cargo::cargo_bin!("layerstep"))
}

fn json(command: &mut Command) -> Value {
    serde_json::from_slice(&command.assert().success().get_output().stdout).expect("JSON")
}

#[test]
fn a_model_is_described() {
    let model = tiny("mistral");
    layerstep().arg("inspect").arg(&model).assert().success().stdout(contains("mistral, 3 layers"));
    layerstep().arg("inspect").arg(&model).assert().stdout(contains("6 keys in all layers"));
    let found = json(layerstep().arg("inspect").arg(&model).args(["--names", "--tokens", "5", "--json"]));
    assert_eq!(found["schema"], "layerstep.inspect/1");
    assert_eq!((&found["kind"], &found["parameters"], &found["tensors"]), (&"model".into(), &97104.into(), &30.into()));
    let activations = found["activations"].as_array().expect("a list");
    assert_eq!(activations.len(), 57);
    assert_eq!(activations[5]["name"], "model.layers.0.self_attn.q_rope");
    assert_eq!(activations[5]["axes"][1], serde_json::json!({ "name": "token", "length": 5 }));
}

#[test]
fn how_positions_are_told_apart_is_said() {
    let cases = [
        ("opt", ", learned"),
        ("bloom", ", slopes for each head (ALiBi)"),
        ("granitemoehybrid", ", nothing is rotated or added"),
        ("granitemoehybrid_dense", ", RoPE"),
    ];
    for (name, said) in cases {
        let output = layerstep().arg("inspect").arg(tiny(name)).output().expect("the program runs");
        let text = String::from_utf8(output.stdout).expect("text");
        let line = text.lines().find(|line| line.starts_with("positions")).expect("a line");
        assert!(line.contains(said), "{name}: {line}");
    }
}

#[test]
fn a_recipe_says_what_a_port_does_otherwise() {
    let recipe = |name: &str, more: &[&str]| {
        let mut command = layerstep();
        command.arg("inspect").arg(tiny(name)).arg("--recipe").args(more);
        command
    };
    recipe("gemma3", &[])
        .assert()
        .success()
        .stdout(contains("otherwise than llama:\n  [ ] embeddings  a row of the table"));
    recipe("gemma3", &[]).assert().stdout(contains("RoPE        layer 2: pairs (i, i + d/2), speeds of linear"));
    recipe("olmo", &["--against", "olmo"]).assert().stdout(contains("nothing is otherwise but sizes and constants"));
    let mut less = recipe("llama", &["--against", "qwen3"]);
    less.assert().stdout(contains("[ ] q and k     qwen3 has this, the model does not: normed over each head"));
    let found = json(recipe("qwen2", &["--against", "mistral", "--json"]).arg("--names"));
    assert_eq!(found["recipe"]["against"], "mistral");
    let steps = found["recipe"]["steps"].as_array().expect("a list");
    let otherwise: Vec<&Value> =
        steps.iter().filter(|step| step["otherwise"] == true).map(|step| &step["topic"]).collect();
    assert_eq!(otherwise, ["q, k and v", "mask", "logits"]);
    recipe("llama", &["--against", "lama"]).assert().code(2).stderr(contains("--against lama: no such family"));
    let dump = tiny("qwen3/reference.safetensors");
    layerstep().arg("inspect").arg(dump).arg("--recipe").assert().code(2).stderr(contains("--recipe is of a model"));
}

#[test]
fn a_dump_is_described_and_planned() {
    let (model, dump) = (tiny("qwen3"), tiny("qwen3/reference.safetensors"));
    layerstep().arg("inspect").arg(&dump).assert().success().stdout(contains("315 (315 f32)"));
    let found = json(layerstep().arg("inspect").arg(&dump).arg("--model").arg(&model).arg("--json"));
    assert_eq!((&found["kind"], &found["format"]), (&"dump".into(), &"safetensors".into()));
    assert_eq!(found["ids"]["steps"], serde_json::json!([13, 1, 1, 1, 1]));
    let plan = found["plan"].as_array().expect("a plan");
    assert_eq!(plan.len(), 315);
    assert!(plan.iter().all(|taken| taken["steps"] == serde_json::json!([])), "nothing has to be done");
    assert_eq!(found["unmatched"], serde_json::json!([]));
}

#[test]
fn what_cannot_be_inspected_is_refused() {
    let other = tiny("qwen3/reference.safetensors");
    let wrong = layerstep().arg("inspect").arg(other).arg("--model").arg(tiny("llama")).assert().code(2);
    wrong
        .stderr(contains("has shape [13, 40], which does not fit model.embed_tokens: expected [13, 48] for 13 tokens"));
    layerstep().args(["inspect", "/nowhere"]).assert().code(2).stdout("");
}
