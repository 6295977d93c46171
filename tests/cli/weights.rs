//! `layerstep diff --weights`: what a converter has done to each matrix.

use std::collections::BTreeMap;

use assert_cmd::Command;
use layerstep::formats::{Archive, write_safetensors};
use ndarray::{ArrayD, ArrayViewD, Axis};

use crate::support::repository;

const MODEL: &str = "tests/cases/models/plain";

/// What is done to a tensor of the checkpoint; `None`: it is left out.
type Change = fn(&str, ArrayD<f32>) -> Option<ArrayD<f32>>;

fn check(change: Change, status: i32, says: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("converted.safetensors");
    let archive = Archive::open(&repository(MODEL).join("model.safetensors")).expect("weights");
    let names = archive.entries().iter().map(|entry| entry.name.as_str());
    let changed: Vec<(String, ArrayD<f32>)> = names
        .filter_map(|name| Some((name.into(), change(name, archive.read(name).expect("a tensor").into_f32())?)))
        .collect();
    let views: Vec<(String, ArrayViewD<f32>)> = changed.iter().map(|(name, v)| (name.clone(), v.view())).collect();
    write_safetensors(&file, &views, &BTreeMap::new()).expect("written");
    let mut command = Command::cargo_bin("layerstep").expect("the program");
    let output = command.current_dir(repository("")).args(["diff", "--weights", MODEL]).arg(&file).output();
    let output = output.expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).replace(&file.display().to_string(), "FILE");
    assert_eq!(output.status.code(), Some(status), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.lines().collect::<Vec<_>>(), says, "{text}");
}

#[test]
fn a_checkpoint_is_compared_matrix_by_matrix() {
    check(
        |_, values| Some(values),
        0,
        &["the weights agree: 39 tensors of FILE are those of tests/cases/models/plain", "  39 tensors: equal"],
    );
    let changed: Change = |name, values| {
        let permuted = |values: &ArrayD<f32>, width: usize| {
            let order: Vec<usize> = (0..values.len_of(Axis(0)))
                .map(|row| row / width * width + row % width % 2 * (width / 2) + row % width / 2)
                .collect();
            values.select(Axis(0), &order)
        };
        match name.rsplit_once("layers.").map_or(name, |(_, rest)| rest) {
            "model.norm.weight" => None,
            "model.embed_tokens.weight" => Some(values.mapv(|value| half::bf16::from_f32(value).to_f32())),
            rest if rest.ends_with("q_proj.weight") => Some(permuted(&values, 16)),
            "1.mlp.down_proj.weight" => Some(values.mapv(|value| value * 2.0)),
            "2.input_layernorm.weight" => Some(values.mapv(|value| value + 1.0)),
            _ => Some(values),
        }
    };
    check(
        changed,
        1,
        &[
            "the weights differ: 6 of 38 tensors of FILE are not those of tests/cases/models/plain",
            "  model.layers.*.input_layernorm.weight in layer 2: +1.0000 added to every number",
            "  model.layers.*.mlp.down_proj.weight in layer 1: times 2.0000",
            "  model.layers.*.self_attn.q_proj.weight in layers 0-3: the rows of each head permuted for RoPE: pairs (2i, 2i + 1) \
             where the first has (i, i + d/2)",
            "  31 tensors: equal",
            "  1 tensor: equal, rounded to bf16",
            "  only tests/cases/models/plain has model.norm.weight",
        ],
    );
}

#[test]
fn weights_are_no_dump() {
    let mut command = Command::cargo_bin("layerstep").expect("the program");
    let output = command
        .current_dir(repository(""))
        .args(["diff", "--model", MODEL, "--candidate", MODEL])
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("holds the weights of a model ("), "{text}");
}
