//! Scripts about dumps that a test makes: a row of a batch, and a dump that is written again.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use layerstep::formats::{Archive, write_safetensors};
use ndarray::{ArrayD, Axis, stack};

use super::{layerstep_in, text};

const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/reference/tiny/llama");
const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/reference/demo");

/// Runs a script in a folder; what it prints, or the error.
fn run(folder: &Path, script: &str) -> String {
    fs::write(folder.join("a.script"), script).expect("a script");
    let output = layerstep_in(folder, &["run", "a.script"], "");
    text(&output.stdout) + &text(&output.stderr)
}

#[test]
fn a_row_of_a_batched_dump_is_picked() {
    let folder = tempfile::tempdir().expect("a folder");
    let archive = Archive::open(&Path::new(TINY).join("reference.safetensors")).expect("a dump");
    let prefill = archive.entries().iter().filter(|entry| !entry.name.contains('@'));
    let rows: Vec<(String, ArrayD<f32>)> = prefill
        .map(|entry| {
            let right = archive.read(&entry.name).expect("a tensor").into_f32();
            // The sequence before it went wrong at once.
            let wrong = &right * 2.0;
            (entry.name.clone(), stack(Axis(0), &[wrong.view(), right.view()]).expect("alike"))
        })
        .collect();
    let ids: Vec<u32> = serde_json::from_str(&archive.metadata()["input_ids"]).expect("ids");
    let ids = &ids[..13];
    let metadata = [("input_ids", format!("[{ids:?}, {ids:?}]")), ("steps", "[13]".to_string())];
    let metadata: BTreeMap<String, String> = metadata.map(|(name, text)| (name.to_string(), text)).into();
    let views: Vec<_> = rows.iter().map(|(name, values)| (name.clone(), values.view())).collect();
    write_safetensors(&folder.path().join("batch.safetensors"), &views, &metadata).expect("a dump");
    let script =
        |more: &str| format!("debug {TINY} --reference batch.safetensors {more}\ncontinue\ninfo divergences\n");
    let picked = run(folder.path(), &script("--batch 1"));
    assert!(picked.starts_with("the end of the last forward\n"), "{picked}");
    assert!(picked.ends_with("nothing diverges so far\n"), "{picked}");
    let other = run(folder.path(), &script("--batch 0"));
    assert!(other.starts_with("divergence at embed_tokens\n"), "{other}");
    let none = run(folder.path(), &script(""));
    assert!(none.contains("it was fed a batch of 2 sequences; choose one with --batch 0 to 1"), "{none}");
}

#[test]
fn a_dump_that_is_written_again_is_reloaded() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::copy(format!("{DEMO}/candidate.safetensors"), folder.path().join("c.safetensors")).expect("a copy");
    let script = format!(
        "debug {DEMO}/model --reference {DEMO}/reference.safetensors --candidate c.safetensors\n\
         break 3.mlp\nreload\ncontinue\nexport! ref:2.q_rope c.safetensors\nreload\nreload\ninfo breakpoints\ncontinue\n"
    );
    let printed = run(folder.path(), &script);
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(
        [&lines[..3], &lines[4..9]].concat(),
        [
            "breakpoint 1: break 3.mlp",
            "reloaded: nothing has changed",
            "divergence at 2.q_rope",
            "ref:2.q_rope [4 head, 15 token, 32 head_dim] is in c.safetensors as model.layers.2.self_attn.q_rope",
            "reloaded candidate: 2.q_rope was bad, agrees now; embed_tokens, 0.input_layernorm and 39 more are not there any \
             more; no divergence up to here",
            "reloaded: nothing has changed",
            "  1  break 3.mlp  hit 0 times",
            "stopped by 1: break 3.mlp",
        ],
        "{printed}"
    );
}
