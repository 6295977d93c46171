//! The program as it is run: exit status, one line for each error, and the JSON that scripts read.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use crate::contract;
use crate::support::{SOME, repository};
use layerstep::formats::{Archive, write_safetensors};
use ndarray::{ArrayD, ArrayViewD, IxDyn};
use serde_json::{Value, json};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_layerstep");

fn run(args: &[&str]) -> Output {
    let mut command = assert_cmd::Command::new(PROGRAM);
    command.env("HF_HUB_CACHE", "/nowhere").env_remove("RUST_BACKTRACE").args(args);
    command.output().expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// Runs to a result: the exit status and stdout.
#[track_caller]
fn ran(args: &[&str]) -> (i32, String) {
    let output = run(args);
    let status = output.status.code().expect("no signal");
    assert!(status < 2, "{args:?}: {}", text(&output.stderr));
    (status, text(&output.stdout))
}

#[track_caller]
fn json_of(args: &[&str]) -> (i32, Value) {
    let (status, out) = ran(args);
    (status, serde_json::from_str(&out).unwrap_or_else(|error| panic!("{args:?}: {error}: {out}")))
}

/// Exit status 2, nothing on stdout, and on stderr one line of error, after notes if there are any.
#[track_caller]
fn refused(args: &[&str], says: &[&str]) {
    let output = run(args);
    let err = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {err}");
    assert_eq!(text(&output.stdout), "", "{args:?}");
    let lines: Vec<&str> = err.lines().collect();
    let (last, notes) = lines.split_last().expect("a line");
    assert!(last.starts_with("error: ") && notes.iter().all(|line| line.starts_with("note: ")), "{args:?}: {err}");
    assert!(!err.contains("panicked"), "{args:?}: {err}");
    assert!(last.matches("(os error").count() < 2, "a cause is said once: {last}");
    for words in says {
        assert!(last.contains(words), "{args:?}: {words:?} is not in: {last}");
    }
}

fn path(parts: &str) -> String {
    repository(parts).display().to_string()
}

fn tiny(name: &str) -> String {
    path(&format!("reference/tiny/{name}"))
}

fn tiny_dump(name: &str) -> String {
    path(&format!("reference/tiny/{name}/reference.safetensors"))
}

const DEMO: &str = "reference/demo/model";

fn demo_dump(name: &str) -> String {
    path(&format!("reference/demo/{name}.safetensors"))
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn inside(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).display().to_string()
}

/// A copy of a tiny model, to be spoilt.
fn copy(name: &str) -> TempDir {
    let folder = folder();
    for file in fs::read_dir(tiny(name)).expect("a tiny model") {
        let file = file.expect("a file");
        fs::copy(file.path(), folder.path().join(file.file_name())).expect("a copy");
    }
    folder
}

fn edit_config(folder: &Path, change: impl Fn(&mut Value)) {
    let file = folder.join("config.json");
    let mut config = serde_json::from_slice(&fs::read(&file).expect("config.json")).expect("JSON");
    change(&mut config);
    fs::write(file, config.to_string()).expect("written");
}

/// Writes the tensors of a file that `change` keeps, and its metadata after `meta`.
fn rewrite(
    from: &str,
    to: &Path,
    meta: impl Fn(&mut BTreeMap<String, String>),
    change: impl Fn(&str, ArrayD<f32>) -> Option<ArrayD<f32>>,
) {
    let archive = Archive::open(Path::new(from)).expect("a file of tensors");
    let read = |name: &str| archive.read(name).expect("a tensor").into_f32();
    let kept: Vec<(String, ArrayD<f32>)> = archive
        .entries()
        .iter()
        .filter_map(|entry| change(&entry.name, read(&entry.name)).map(|values| (entry.name.clone(), values)))
        .collect();
    let views: Vec<(String, ArrayViewD<f32>)> = kept.iter().map(|(name, v)| (name.clone(), v.view())).collect();
    let mut metadata = archive.metadata().clone();
    meta(&mut metadata);
    write_safetensors(to, &views, &metadata).expect("written");
}

fn truncate(file: &Path) {
    let bytes = fs::read(file).expect("a file");
    fs::write(file, &bytes[..bytes.len() * 2 / 3]).expect("written");
}

#[test]
fn a_dump_that_is_not_there_is_named_with_its_cause() {
    let demo = repository("reference/demo/model").display().to_string();
    let dump = "/nowhere/dump.safetensors";
    refused(&["diff", "--model", &demo, "--reference", dump], &["/nowhere/dump.safetensors: cannot open: "]);
}

#[test]
fn models_that_cannot_be_loaded() {
    let generate = |model: &str, says: &[&str]| refused(&["generate", model, "--ids", "1,2"], says);
    generate("/nowhere/model", &["/nowhere/model"]);
    generate("nobody/nothing", &["nobody/nothing", "Hugging Face cache"]);
    generate(&path("Cargo.toml"), &["Cargo.toml", "folder"]);
    generate(folder().path().to_str().expect("UTF-8"), &["config.json"]);

    let spoilt = |spoil: &dyn Fn(&Path), says: &[&str]| {
        let folder = copy("qwen2");
        spoil(folder.path());
        let model = folder.path().to_str().expect("UTF-8");
        generate(model, says);
        refused(&["diff", "--model", model, "--reference", &tiny_dump("qwen2")], says);
    };
    let up = "model.layers.1.mlp.up_proj.weight";
    let weights = |folder: &Path, change: &dyn Fn(ArrayD<f32>) -> Option<ArrayD<f32>>| {
        let file = folder.join("model.safetensors");
        let from = tiny("qwen2") + "/model.safetensors";
        rewrite(&from, &file, |_| {}, |name, values| if name == up { change(values) } else { Some(values) });
    };
    spoilt(&|folder| weights(folder, &|_| None), &[up]);
    spoilt(&|folder| weights(folder, &|_| Some(ArrayD::zeros(IxDyn(&[96, 63])))), &[up, "96", "63", "64"]);
    spoilt(&|folder| truncate(&folder.join("model.safetensors")), &["model.safetensors"]);
    spoilt(&|folder| fs::remove_file(folder.join("model.safetensors")).expect("removed"), &["safetensors"]);
    spoilt(
        &|folder| fs::write(folder.join("config.json"), "{\"model_type\": \"qwen2\",\n").expect("written"),
        &["config.json"],
    );
    spoilt(&|folder| edit_config(folder, |config| config["model_type"] = json!("gpt2")), &["gpt2"]);
    spoilt(&|folder| edit_config(folder, |config| config["num_attention_heads"] = json!(0)), &["num_attention_heads"]);
    let mrope = json!({ "rope_type": "mrope", "factor": 4.0 });
    spoilt(&|folder| edit_config(folder, |config| config["rope_scaling"] = mrope.clone()), &["mrope"]);
    spoilt(&|folder| fs::write(folder.join("tokenizer.json"), "{}\n\n{").expect("written"), &["tokenizer.json"]);

    let shards = copy("llama");
    truncate(&shards.path().join("model-00002-of-00002.safetensors"));
    generate(shards.path().to_str().expect("UTF-8"), &["model-00002-of-00002.safetensors"]);
}

#[test]
fn dumps_that_cannot_be_read() {
    let folder = folder();
    let diff = |dump: &str, says: &[&str]| {
        for role in ["--reference", "--candidate"] {
            refused(&["diff", "--model", &tiny("qwen2"), role, dump], says);
        }
        refused(&["debug", &tiny("qwen2"), "--reference", dump], says);
    };
    diff("/nowhere/dump.safetensors", &["/nowhere/dump.safetensors"]);
    diff(&tiny_dump("llama"), &["does not fit"]);
    diff(&path("Cargo.toml"), &["Cargo.toml", "not a dump"]);
    let empty = inside(&folder, "empty");
    fs::create_dir(&empty).expect("a folder");
    diff(&empty, &["empty"]);
    let cut = inside(&folder, "cut.safetensors");
    fs::copy(tiny_dump("qwen2"), &cut).expect("a copy");
    truncate(Path::new(&cut));
    diff(&cut, &["cut.safetensors"]);

    let with_ids = |name: &str, ids: &str| {
        let file = inside(&folder, name);
        let meta = |meta: &mut BTreeMap<String, String>| drop(meta.insert("input_ids".into(), ids.into()));
        rewrite(&tiny_dump("qwen2"), Path::new(&file), meta, |_, values| Some(values));
        file
    };
    diff(&with_ids("large.safetensors", "[1,2,192,4,5,6,7,8,9,10,11,12,13,14,15,16,17]"), &["192", "vocabulary"]);
    diff(&with_ids("negative.safetensors", "[-1]"), &["-1", "vocabulary"]);
    diff(&with_ids("text.safetensors", "hello"), &["input_ids", "hello"]);
    diff(&with_ids("none.safetensors", "[]"), &["empty"]);
    diff(&with_ids("few.safetensors", "[1,2]"), &["few.safetensors"]);

    // Nothing tells the ids.
    let silent = inside(&folder, "silent.safetensors");
    let keep = |name: &str, values| (!name.contains("embed")).then_some(values);
    rewrite(&tiny_dump("qwen2"), Path::new(&silent), BTreeMap::clear, keep);
    diff(&silent, &["--ids"]);
    refused(&["diff", "--model", &tiny("qwen2"), "--reference", &silent, "--ids", "1,2,3"], &["silent.safetensors"]);

    let map = inside(&folder, "map.toml");
    fs::write(&map, "nonsense").expect("written");
    let reference = tiny_dump("qwen2");
    refused(&["diff", "--model", &tiny("qwen2"), "--reference", &reference, "--map", &map], &["map.toml", "line 1"]);
}

#[test]
fn tokens_that_cannot_be_fed() {
    let (demo, tiny) = (path(DEMO), tiny("qwen2"));
    let generate = |args: &[&str], says: &[&str]| refused(&[&["generate"], args].concat(), says);
    generate(&[&tiny], &["--prompt", "--ids"]);
    generate(&[&tiny, "--ids", "1,192"], &["192", "0 to 191"]);
    generate(&[&tiny, "--ids", "1,x"], &["'x'", "--ids"]);
    generate(&[&tiny, "--ids", "1,,2"], &["--ids"]);
    generate(&[&tiny, "--ids", "-1"], &["-1"]);
    generate(&[&tiny, "--ids", "99999999999"], &["99999999999"]);
    generate(&[&tiny, "--ids", ""], &["--ids"]);
    generate(&[&tiny, "--prompt", "hello"], &["tokenizer.json", "--ids"]);
    generate(&[&demo, "--prompt", ""], &["no tokens"]);
    generate(&[&demo, "--prompt", "hello", "--ids", "1"], &["--prompt", "--ids"]);
    generate(&[&demo, "--prompt", "hello", "--chat"], &["chat template"]);
    generate(&[&demo, "--ids", "1", "--chat"], &["--ids", "--chat"]);
    generate(&[&demo, "--chat"], &["--prompt"]);
    let reference = tiny_dump("qwen2");
    refused(&["diff", "--model", &tiny, "--reference", &reference, "--ids", "1,192"], &["192", "command line"]);
}

#[test]
fn arguments_that_make_no_sense() {
    let (tiny, dump) = (tiny("qwen2"), tiny_dump("qwen2"));
    refused(&["nonsense"], &["nonsense", "--help"]);
    refused(&["gnerate"], &["generate"]);
    refused(&["generate"], &["<MODEL>"]);
    refused(&["diff", "--nonsense"], &["--nonsense"]);
    refused(&["diff", "--model", &tiny], &["--reference", "--candidate"]);
    refused(&["diff", "--reference", &dump], &["--model"]);
    refused(&["diff", "--model", &tiny, "--reference", &dump, "--threads", "0"], &["--threads"]);
    refused(&["diff", "--model", &tiny, "--reference", &dump, "--threads", "100000"], &["--threads", "1024"]);
    refused(&["completions", "tcl"], &["tcl", "bash"]);
    for (option, value) in [
        ("--temperature", "-1"),
        ("--temperature", "NaN"),
        ("--temperature", "inf"),
        ("--top-p", "1.5"),
        ("--min-p", "-0.1"),
        ("--repetition-penalty", "0"),
        ("--top-k", "-3"),
        ("--max-tokens", "many"),
        ("--seed", "x"),
        ("--stop", ""),
    ] {
        refused(&["generate", &tiny, "--ids", "1", &format!("{option}={value}")], &[option]);
    }
}

#[test]
fn captures_that_cannot_be_written() {
    let folder = folder();
    let model = tiny("qwen2");
    let capture = |out: &str, more: &[&str], says: &[&str]| {
        refused(&[&["capture", &model, "--ids", "1,2", "-o", out], more].concat(), says);
    };
    capture(&inside(&folder, "dump.pt"), &[], &["dump.pt", ".safetensors", ".npz"]);
    capture(&inside(&folder, "dump"), &[], &[".safetensors"]);
    capture(&inside(&folder, "missing/dump.safetensors"), &[], &["dump.safetensors"]);
    fs::create_dir(folder.path().join("folder.npz")).expect("a folder");
    capture(&inside(&folder, "folder.npz"), &[], &["folder.npz"]);
    let out = inside(&folder, "dump.safetensors");
    capture(&out, &["--only", "*.q_norm"], &["*.q_norm", "no activation"]);
    capture(&out, &["--only", "*.q_rope", "--only", "typo"], &["typo"]);
    capture(&out, &["--only", ""], &["--only"]);
    capture(&out, &["--only", "["], &["\"[\""]);
    refused(&["capture", &model, "--ids", "1,2"], &["--output"]);
    assert!(!Path::new(&out).exists());
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing half written is left");
}

#[cfg(target_os = "linux")]
/// What was expected, in which file or argument, and what to do: never only what a library says.
#[test]
fn errors_are_in_words_of_our_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("written");
        path.display().to_string()
    };
    let model = path("reference/tiny/llama");
    let dump = path("reference/tiny/llama/reference.safetensors");
    let files: [(String, &str); 5] = [
        (file("cut.npz", b"PK\x03\x04 and no more"), "it was cut off, or is still being written"),
        (file("cut.pt", b"PK\x03\x04 and no more"), "it was cut off, or is still being written"),
        (file("text.safetensors", b"not yet"), "it is text, \"not yet\"; expected .safetensors"),
        (file("none.npz", b""), "it is empty; expected .safetensors"),
        (file("none.safetensors", b""), "it is empty; expected .safetensors"),
    ];
    for (name, says) in &files {
        refused(&["diff", "--model", &model, "--candidate", name, "--ids", "1,2"], &[name, says]);
    }
    let words = "token ids are whole numbers from 0 with commas between them";
    for ids in ["a,b", "1;2", "1,,2", "1.5", "99999999999"] {
        refused(&["diff", "--model", &model, "--candidate", &dump, "--ids", ids], &[words]);
    }
    refused(&["diff", "--model", &model, "--candidate", &dump, "--batch", "x"], &["a whole number was expected"]);
}

/// What is asked for and is not there, or cannot be computed, is said before anything is computed.
#[test]
fn what_a_dump_does_not_have_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = path("reference/tiny/llama");
    let dump = path("reference/tiny/llama/reference.safetensors");
    let batch = "leave --batch out";
    for row in ["0", "3"] {
        refused(&["diff", "--model", &model, "--candidate", &dump, "--batch", row], &[batch]);
        refused(&["diff", "--reference", &dump, "--candidate", &dump, "--batch", row], &[batch]);
    }
    let archive = Archive::open(Path::new(&dump)).expect("a dump");
    let blocks = ["model.layers.0", "model.layers.1"]
        .map(|name| (name.to_string(), archive.read(name).expect("there").into_f32()));
    let views: Vec<(String, ArrayViewD<f32>)> =
        blocks.iter().map(|(name, values)| (name.clone(), values.view())).collect();
    let mine = folder.path().join("mine.safetensors");
    write_safetensors(&mine, &views, &BTreeMap::new()).expect("written");
    // Scores of more ids than any machine holds.
    let ids: Vec<String> = (0..60_000).map(|id| (id % 10).to_string()).collect();
    let mine = mine.display().to_string();
    let says = ["--ids has 60000 tokens, the dump 13 rows", "GB are free"];
    refused(&["diff", "--model", &model, "--candidate", &mine, "--ids", &ids.join(",")], &says);
}

/// The demo has its own dumps; another dump than the recorded one is not passed over in silence.
#[test]
fn a_replay_says_which_dumps_it_takes() {
    let folder = tempfile::tempdir().expect("a folder");
    let name = folder.path().join("short").display().to_string();
    let dump = path("reference/demo/candidate.safetensors");
    ran(&["debug", "--batch", "--record", &name, "-c", "step"]);
    refused(&["replay", "--check", "--candidate", &dump, &name], &["the session is of the built-in demo"]);
    let (model, right) = (path("reference/demo/model"), path("reference/demo/reference.safetensors"));
    let again = folder.path().join("again").display().to_string();
    ran(&["debug", &model, "--reference", &right, "--batch", "--record", &again, "-c", "step"]);
    let (status, same) = ran(&["replay", "--check", "--reference", &right, &again]);
    assert!(status == 0 && !same.contains("is not the one"), "{same}");
    let (_, other) = ran(&["replay", "--check", "--reference", &dump, &again]);
    assert!(other.contains("is not the one that was recorded") || other.contains("differs"), "{other}");
}

#[test]
fn a_full_disk_is_an_error() {
    let full = || Stdio::from(fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full"));
    for args in [&["completions", "bash"][..], &["generate", &tiny("qwen2"), "--ids", "1", "--max-tokens", "3"]] {
        let mut command = std::process::Command::new(PROGRAM);
        let output = command.args(args).stdout(full()).stderr(Stdio::piped()).output().expect("the program runs");
        let err = text(&output.stderr);
        assert!(output.status.code() == Some(2) && err.starts_with("error: ") && err.lines().count() == 1, "{err}");
    }
}

/// What is read is not lost, by whichever name it is called.
#[test]
fn results_are_not_written_over_what_they_are_made_of() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::create_dir(path("model")).expect("a folder");
    for name in ["config.json", "model.safetensors", "reference.safetensors"] {
        fs::copy(repository("reference/tiny/qwen2").join(name), folder.path().join("model").join(name))
            .expect("copied");
    }
    let (model, dump) = (path("model"), path("model/reference.safetensors"));
    let (weights, again) = (path("model/model.safetensors"), path("model/../model/reference.safetensors"));
    let before = [fs::read(&weights).expect("weights"), fs::read(&dump).expect("a dump")];
    for output in ["--html", "--markdown", "--junit"] {
        refused(&["diff", "--model", &model, "--reference", &dump, output, &again], &["is read", "another name"]);
    }
    refused(&["capture", &model, "--ids", "1,2,3", "-o", &weights], &["is read", "another name"]);
    for ending in ["session", "safetensors"] {
        fs::copy(repository("sessions/gqa").with_extension(ending), path(&format!("gqa.{ending}"))).expect("copied");
    }
    for (session, output) in [("gqa", "gqa.session"), ("gqa.session", "gqa.session"), ("gqa", "gqa.safetensors")] {
        refused(&["report", &path(session), "--html", &path(output)], &["is read", "another name"]);
    }
    assert!(before == [fs::read(&weights).expect("weights"), fs::read(&dump).expect("a dump")]);
}

#[test]
fn the_screen_needs_a_terminal() {
    for args in [&[][..], &["debug", &tiny("qwen2"), "--ids", "1,2"]] {
        refused(args, &["terminal", "diff"]);
    }
    refused(&["debug", &tiny("qwen2")], &["--prompt", "--ids", "--reference"]);
}

#[track_caller]
fn diff(model: &str, args: &[&str]) -> (i32, Value) {
    let found = json_of(&[&["diff", "--json", "--model", model], args].concat());
    assert_eq!(contract::broken(&found.1), Vec::<String>::new());
    found
}

#[test]
fn engines_that_agree_match() {
    for name in SOME {
        let (status, document) = diff(&tiny(name), &["--reference", &tiny_dump(name)]);
        assert_eq!((status, &document["verdict"]), (0, &json!("match")), "{name}");
        assert_eq!(document["first_divergence"], Value::Null);
        assert_eq!(document["divergences"], json!([]));
        let rows = document["activations"].as_array().expect("a list");
        assert!(rows.iter().all(|row| row["status"] == "ok"), "{name}");
        assert_eq!(rows.len(), Archive::open(Path::new(&tiny_dump(name))).expect("a dump").entries().len());
    }
    let (status, out) = ran(&["diff", "--model", &tiny("qwen2"), "--candidate", &tiny_dump("qwen2")]);
    assert!(status == 0 && out.starts_with("match: "), "{out}");
}

#[test]
fn the_bug_of_the_demo_is_named() {
    let (reference, candidate) = (demo_dump("reference"), demo_dump("candidate"));
    let (status, document) = diff(&path(DEMO), &["--reference", &reference, "--candidate", &candidate]);
    assert_eq!((status, &document["verdict"]), (1, &json!("diverged")));
    let first = &document["first_divergence"];
    assert_eq!(first["name"], "model.layers.2.self_attn.q_rope");
    assert_eq!((&first["culprit"], &first["token"]), (&json!("candidate"), &json!(1)));
    assert_eq!((&first["exact"], &first["layer"], &first["step"]), (&json!(true), &json!(2), &json!(0)));
    assert_eq!(first["bracket"], json!(["model.layers.2.self_attn.v_proj", "model.layers.2.self_attn.q_rope"]));
    // Queries and keys are rotated by the same code, in the prefill and in every step: one mistake.
    assert_eq!(document["divergences"].as_array().map(Vec::len), Some(1));
    let rows = document["activations"].as_array().expect("a list");
    let bad: Vec<&Value> = rows.iter().filter(|row| row["status"] == "bad").map(|row| &row["name"]).collect();
    let rope = |step: &str| ["q", "k"].map(|of| format!("model.layers.2.self_attn.{of}_rope{step}"));
    assert_eq!(json!(bad), json!(["", "@1", "@2"].map(rope).concat()));
    let (status, out) = ran(&["diff", "--model", &path(DEMO), "--reference", &reference, "--candidate", &candidate]);
    assert!(
        status == 1 && out.starts_with("diverged: candidate: rope_interleaved in layer 2: ") && out.contains("\nfix: "),
        "{out}"
    );

    // The other way round, the reference is wrong; and alone, each dump is judged on its own inputs.
    let (_, document) = diff(&path(DEMO), &["--reference", &candidate, "--candidate", &reference]);
    assert_eq!(document["first_divergence"]["culprit"], "reference");
    let (status, document) = diff(&path(DEMO), &["--candidate", &candidate]);
    assert_eq!(status, 1);
    assert_eq!(document["first_divergence"]["name"], "model.layers.2.self_attn.q_rope");
    assert_eq!(document["first_divergence"]["culprit"], "candidate");
    let (status, _) = diff(&path(DEMO), &["--reference", &reference]);
    assert_eq!(status, 0);
}

#[test]
fn a_gap_leaves_a_bracket() {
    let folder = folder();
    let blocks = inside(&folder, "blocks.safetensors");
    let block = |name: &str| name.split('.').count() == 3 && name.starts_with("model.layers") && !name.contains('@');
    rewrite(&demo_dump("candidate"), Path::new(&blocks), |_| {}, |name, values| block(name).then_some(values));
    let (status, document) = diff(&path(DEMO), &["--reference", &demo_dump("reference"), "--candidate", &blocks]);
    assert_eq!(status, 1);
    let first = &document["first_divergence"];
    assert_eq!((&first["exact"], &first["bracket"]), (&json!(false), &json!(["model.layers.1", "model.layers.2"])));
    assert_eq!(document["activations"][1]["status"], "missing");
}

#[test]
fn other_ids_are_no_divergence() {
    let folder = folder();
    let model = tiny("qwen2");
    let other = inside(&folder, "other.safetensors");
    ran(&["capture", &model, "--ids", "1,2,3", "-o", &other]);
    let (status, document) = diff(&model, &["--reference", &tiny_dump("qwen2"), "--candidate", &other]);
    assert_eq!((status, &document["verdict"]), (1, &json!("inputs_differ")));
    assert_eq!(document["sources"]["candidate"]["ids"], json!([1, 2, 3]));
    assert_eq!(document["sources"]["reference"]["ids"].as_array().map(Vec::len), Some(17));
    let (status, document) = diff(&model, &["--candidate", &other, "--ids", "1,2,4"]);
    assert_eq!((status, &document["verdict"]), (1, &json!("inputs_differ")));
    let (status, out) = ran(&["diff", "--model", &model, "--candidate", &other, "--ids", "1,7,3"]);
    assert!(status == 1 && out.contains("token 1 is") && out.contains('7') && out.contains('2'), "{out}");
    refused(&["debug", &model, "--candidate", &other, "--ids", "1,7,3"], &["token 1 is"]);
    // The same beginning, but another number of tokens in the prefill.
    let ids = document_ids(&tiny_dump("qwen2"));
    let short = ids[..5].iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let (status, document) = diff(&model, &["--reference", &tiny_dump("qwen2"), "--ids", &short]);
    assert_eq!((status, &document["verdict"]), (1, &json!("inputs_differ")));
    ran(&["capture", &model, "--ids", &short, "-o", &other]);
    let (status, document) = diff(&model, &["--reference", &tiny_dump("qwen2"), "--candidate", &other]);
    assert_eq!((status, &document["verdict"]), (1, &json!("inputs_differ")));
    // All of the prefill and fewer decode steps are the same session.
    let prefill = ids[..13].iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let (status, document) = diff(&model, &["--reference", &tiny_dump("qwen2"), "--ids", &prefill]);
    assert_eq!((status, &document["verdict"]), (0, &json!("match")));
}

#[test]
fn two_dumps_need_no_model() {
    let (reference, candidate) = (demo_dump("reference"), demo_dump("candidate"));
    let two = ["diff", "--reference", &reference, "--candidate", &candidate];
    let (status, document) = json_of(&[&two[..], &["--json"]].concat());
    assert_eq!(contract::broken(&document), Vec::<String>::new());
    assert_eq!((status, &document["verdict"]), (1, &json!("diverged")));
    let first = &document["first_divergence"];
    assert_eq!((&first["name"], &first["token"]), (&json!("model.layers.2.self_attn.q_rope"), &json!(1)));
    assert_eq!(document["sources"].as_object().map(serde_json::Map::len), Some(2));
    let (status, out) = ran(&["diff", "--reference", &reference, "--candidate", &reference]);
    assert!(status == 0 && out.starts_with("match: 225 activations"), "{out}");
    // The ids may be typed, and are checked.
    let ids = document_ids(&reference).iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    assert_eq!(json_of(&[&two[..], &["--json", "--ids", &ids]].concat()).1["verdict"], "diverged");
    let (status, document) = json_of(&[&two[..], &["--json", "--ids", "1,2"]].concat());
    assert_eq!(contract::broken(&document), Vec::<String>::new());
    assert_eq!((status, &document["verdict"]), (1, &json!("inputs_differ")));
    refused(&[&two[..], &["--prompt", "Emma"]].concat(), &["--model", "--ids"]);
    refused(&["diff", "--candidate", &candidate], &["--model", "other dump"]);
    refused(&["diff", "--reference", &reference, "--candidate", "/nowhere/dump"], &["/nowhere/dump"]);
}

/// The ids that a dump's metadata names.
fn document_ids(dump: &str) -> Vec<u32> {
    crate::support::Reference::open(Path::new(dump)).ids
}

#[test]
fn a_stop_text_needs_a_tokenizer() {
    refused(&["generate", &tiny("qwen2"), "--ids", "1,2", "--stop", "end"], &["no tokenizer.json", "--stop"]);
}

/// What comes before the two sides were fed other tokens is judged as usual.
#[test]
fn other_tokens_from_a_step_on() {
    let folder = folder();
    let (model, reference) = (tiny("llama"), tiny_dump("llama"));
    let dump = inside(&folder, "others.safetensors");
    let other = |meta: &mut BTreeMap<String, String>| {
        let mut ids: Vec<u32> = serde_json::from_str(&meta["input_ids"]).expect("ids");
        ids[15] = 9;
        meta.insert("input_ids".into(), format!("{ids:?}"));
    };
    let change = |name: &str, values: ArrayD<f32>| Some(if name.ends_with("@3") { values * 3.0 } else { values });
    rewrite(&reference, Path::new(&dump), other, change);
    for model in [&["--model", &model][..], &[]] {
        let args = [model, &["--reference", &reference, "--candidate", &dump]].concat();
        let (status, text) = ran(&[&["diff"][..], &args].concat());
        let told = text.lines().take_while(|line| !line.starts_with("activation")).collect::<Vec<_>>().join(" ");
        let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            status == 0 && told.starts_with("match: ") && told.contains("from step 3 on they fed other tokens"),
            "{told}"
        );
        assert!(told.contains("candidate: step 3 was fed 9, which is not the likeliest"), "{told}");
        assert_eq!(told.contains("--force-ids "), !model.is_empty(), "{told}");
        let (_, json) = ran(&[&["diff", "--json"][..], &args].concat());
        let document: Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!((&document["fed_until"], &document["output"]["top1_agreement"]), (&json!(3), &json!(1.0)));
    }
    let debug = [
        "debug",
        &model,
        "--reference",
        &reference,
        "--candidate",
        &dump,
        "--batch",
        "-c",
        "run",
        "-c",
        "info verdict",
    ];
    assert_eq!(ran(&debug).0, 0);
}

/// What is not finite is said as that: the size of the rest is in order.
#[test]
fn what_is_not_finite_has_no_size() {
    let folder = folder();
    let dump = inside(&folder, "nan.safetensors");
    let spoilt = |name: &str, mut values: ArrayD<f32>| {
        if name == "model.layers.1.mlp.down_proj" {
            values[[5, 17]] = f32::NAN;
        }
        Some(values)
    };
    rewrite(&tiny_dump("llama"), Path::new(&dump), |_| (), spoilt);
    let lines = ["-c", "continue", "-c", "info divergences"];
    let (_, text) = ran(&[&["debug", &tiny("llama"), "--candidate", &dump, "--batch"][..], &lines].concat());
    assert!(text.contains("1.down_proj  1 not finite") && text.contains("  1 not finite  DIVERGES"), "{text}");
    assert!(!text.contains("floor"), "{text}");
}

#[test]
fn numbers_that_are_none_are_strings() {
    let folder = folder();
    let model = tiny("qwen2");
    for (value, layer) in [(f32::NAN, 1), (f32::INFINITY, 0), (f32::NEG_INFINITY, 2)] {
        let dump = inside(&folder, "special.safetensors");
        let spoilt = format!("model.layers.{layer}.self_attn.q_proj");
        let spoil = |name: &str, mut values: ArrayD<f32>| {
            if name == spoilt {
                values[[4, 3]] = value;
            }
            Some(values)
        };
        rewrite(&tiny_dump("qwen2"), Path::new(&dump), |_| {}, spoil);
        let (status, document) = diff(&model, &["--reference", &dump]);
        assert_eq!(status, 1);
        assert_eq!(document["first_divergence"]["name"], json!(spoilt));
        assert_eq!(document["first_divergence"]["token"], 4);
        let rows = document["activations"].as_array().expect("a list");
        let bad = rows.iter().find(|row| row["name"] == json!(spoilt)).expect("its row");
        // The error is that of the others.
        assert_eq!((&bad["status"], &bad["nonfinite"]), (&json!("bad"), &json!(1)));
        assert!(bad["error"].as_f64().is_some_and(|error| error < 1e-5), "{bad}");
        assert_eq!(bad["worst"]["token"], 4);
        // Nothing follows from it: the dump is wrong, not what was computed.
        let (status, out) = ran(&["diff", "--model", &model, "--reference", &dump, "--full"]);
        assert!(
            status == 1 && out.starts_with("mislabelled: reference: first non-finite: ") && out.contains(&spoilt),
            "{out}"
        );
    }
    // All of it.
    let dump = inside(&folder, "nan.safetensors");
    rewrite(&tiny_dump("qwen2"), Path::new(&dump), |_| {}, |_, values| Some(values * f32::NAN));
    let (status, document) = diff(&model, &["--reference", &dump]);
    assert_eq!((status, &document["verdict"]), (1, &json!("diverged")));
    assert_eq!(document["first_divergence"]["name"], "model.embed_tokens");
}

#[test]
fn dumps_with_nothing_in_common_are_inconclusive() {
    let folder = folder();
    let part = |name: &str, keep: &'static str| {
        let file = inside(&folder, name);
        rewrite(&tiny_dump("qwen2"), Path::new(&file), |_| {}, |name, values| name.contains(keep).then_some(values));
        file
    };
    let (reference, candidate) = (part("a.safetensors", "q_proj"), part("b.safetensors", "k_proj"));
    let (status, document) = diff(&tiny("qwen2"), &["--reference", &reference, "--candidate", &candidate]);
    assert_eq!((status, &document["verdict"]), (1, &json!("inconclusive")));
}

#[test]
fn our_own_capture_has_the_keys_of_pytorch_and_matches() {
    let folder = folder();
    for name in SOME {
        let model = tiny(name);
        let reference = Archive::open(Path::new(&tiny_dump(name))).expect("a dump");
        let ids: Vec<u32> = serde_json::from_str(&reference.metadata()["input_ids"]).expect("ids");
        let prompt = ids[..13].iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        let dump = inside(&folder, &format!("{name}.safetensors"));
        let decode = (ids.len() - 13).to_string();
        ran(&["capture", &model, "--ids", &prompt, "--decode", &decode, "-o", &dump]);
        let ours = Archive::open(Path::new(&dump)).expect("our dump");
        assert_eq!(ours.metadata()["steps"], reference.metadata()["steps"].replace(' ', ""));
        let shapes = |archive: &Archive| -> BTreeMap<String, Vec<usize>> {
            // Behind a sliding window, PyTorch keeps fewer keys.
            let all = |name: &str| name.contains(".scores@") || name.contains(".probs@");
            let shape = |name: &str, shape: &[usize]| if all(name) { shape[..2].to_vec() } else { shape.to_vec() };
            archive.entries().iter().map(|entry| (entry.name.clone(), shape(&entry.name, &entry.shape))).collect()
        };
        assert_eq!(shapes(&ours), shapes(&reference), "{name}");
        let (status, document) = diff(&model, &["--candidate", &dump]);
        assert_eq!((status, &document["verdict"]), (0, &json!("match")), "{name}");
        let rows = document["activations"].as_array().expect("a list");
        assert!(rows.iter().all(|row| row["error"] == 0.0), "{name}: our own numbers are the same bits");
    }
}

#[test]
fn captures_of_a_part_and_as_npz() {
    let folder = folder();
    let model = tiny("qwen3");
    let capture = |file: &str, more: &[&str]| {
        let dump = inside(&folder, file);
        ran(&[&["capture", &model, "--ids", "5,6,7,8", "--decode", "2", "-o", &dump], more].concat());
        dump
    };
    let names = |dump: &str| -> Vec<String> {
        Archive::open(Path::new(dump)).expect("a dump").entries().iter().map(|entry| entry.name.clone()).collect()
    };
    let whole = capture("whole.safetensors", &[]);
    let archive = Archive::open(Path::new(&whole)).expect("a dump");
    let ids: Vec<u32> = serde_json::from_str(&archive.metadata()["input_ids"]).expect("ids");
    let typed = ids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    assert_eq!(ids[..4], [5, 6, 7, 8]);

    let npz = capture("whole.npz", &[]);
    assert_eq!(names(&npz).len(), names(&whole).len());
    let (status, document) = diff(&model, &["--candidate", &npz, "--reference", &whole]);
    assert_eq!((status, &document["verdict"]), (0, &json!("match")));
    // Alone, its ids are found in its embeddings.
    let (status, document) = diff(&model, &["--candidate", &npz]);
    assert_eq!((status, &document["verdict"]), (0, &json!("match")));
    assert_eq!(document["sources"]["candidate"]["ids"], json!(ids));
    assert!(document["notes"].as_array().expect("a list").iter().any(|n| n.to_string().contains("recovered")));

    // Without them, the ids are typed, and the keys show which of them were decode steps.
    let part = capture("part.npz", &["--only", "*.q_rope", "--only", "0.mlp"]);
    let mut expected: Vec<String> = Vec::new();
    for step in ["", "@1", "@2"] {
        expected.extend((0..3).map(|layer| format!("model.layers.{layer}.self_attn.q_rope{step}")));
        expected.push(format!("model.layers.0.mlp.down_proj{step}"));
    }
    let mut found = names(&part);
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    refused(&["diff", "--model", &model, "--candidate", &part], &["--ids"]);
    let (status, document) = diff(&model, &["--candidate", &part, "--ids", &typed]);
    assert_eq!((status, &document["verdict"]), (0, &json!("match")));
    let compared = document["activations"].as_array().expect("a list").iter().filter(|row| row["status"] == "ok");
    assert_eq!(compared.count(), 12);
}

#[track_caller]
fn generate(model: &str, args: &[&str]) -> Value {
    let (status, document) = json_of(&[&["generate", model, "--json"], args].concat());
    assert_eq!(status, 0);
    document
}

#[test]
fn greedy_tokens_are_those_of_pytorch() {
    for name in SOME {
        let file = PathBuf::from(tiny(name)).join("greedy.json");
        let expected: Value = serde_json::from_slice(&fs::read(file).expect("greedy.json")).expect("JSON");
        let prompt = expected["prompt"].as_array().expect("ids").iter().map(Value::to_string).collect::<Vec<_>>();
        let args = ["--ids", &prompt.join(","), "--ignore-eos", "--max-tokens", "32"];
        let document = generate(&tiny(name), &[&args[..], &["--temperature", "0"]].concat());
        assert_eq!(document["ids"], expected["greedy"], "{name}");
        assert_eq!((&document["prompt_ids"], &document["text"]), (&expected["prompt"], &json!("")));
        if !["llama", "qwen3", "qwen3_moe"].contains(name) {
            // Their generation_config.json does not ask for sampling.
            assert_eq!(generate(&tiny(name), &args)["ids"], expected["greedy"], "{name}");
        }
        // Without a tokenizer, text is ids.
        let (_, out) = ran(&[&["generate", &tiny(name), "--temperature", "0"], &args[..]].concat());
        assert_eq!(format!("[{}]", out.trim_end()), expected["greedy"].to_string());
    }
}

#[test]
fn a_seed_says_what_is_drawn() {
    let draw = |seed: &str, more: &[&str]| {
        let args = ["--ids", "1,2,3", "--ignore-eos", "--max-tokens", "24", "--seed", seed];
        generate(&tiny("llama"), &[&args[..], more].concat())["ids"].clone()
    };
    assert_eq!(draw("7", &[]), draw("7", &[]));
    assert_ne!(draw("7", &[]), draw("8", &[]));
    assert_ne!(draw("7", &["--temperature", "2"]), draw("7", &["--temperature", "2", "--repetition-penalty", "1.5"]));
    assert_eq!(draw("7", &["--top-k", "1"]), draw("8", &["--temperature", "0"]));
}

#[test]
fn the_demo_goes_on_as_pytorch_does() {
    let file = fs::read(repository("reference/demo/demo.json")).expect("demo.json");
    let demo: Value = serde_json::from_slice(&file).expect("JSON");
    let prompt = demo["prompt"].as_str().expect("a prompt");
    let args = ["--prompt", prompt, "--max-tokens", "24"];
    let document = generate(&path(DEMO), &args);
    assert_eq!(document["prompt_ids"], demo["prompt_ids"]);
    assert_eq!(document["ids"], demo["reference_continuation_ids"]);
    assert_eq!(document["text"], demo["reference_continuation"]);
    let whole = document["text"].as_str().expect("text").to_string();

    // Streamed text is the text of the JSON, whole or up to a stop string that may lie across tokens.
    let streamed = |more: &[&str]| ran(&[&["generate", &path(DEMO)], &args[..], more].concat()).1;
    assert_eq!(streamed(&[]), format!("{whole}\n"));
    for stop in [" man", "ery good so", "K", ", and Mr. Kn", "never said"] {
        let expected = whole.split(stop).next().expect("a part");
        assert_eq!(generate(&path(DEMO), &[&args[..], &["--stop", stop]].concat())["text"], expected, "{stop}");
        assert_eq!(streamed(&["--stop", stop]), format!("{expected}\n"), "{stop}");
    }
    let two = ["--stop", "of man", "--stop", "very"];
    assert_eq!(streamed(&two), format!("{}\n", whole.split("very").next().expect("a part")));
    let none = ["generate", &path(DEMO), "--prompt", prompt, "--max-tokens", "0", "--json"];
    assert_eq!(json_of(&none).1["ids"], json!([]));
}

#[test]
fn bench_has_the_figures_of_the_contract() {
    let (status, document) = json_of(&["bench", &tiny("qwen2"), "--repeat", "1", "--json"]);
    assert_eq!(status, 0);
    for key in ["load_ms", "first_token_ms", "decode_ms", "capture_overhead", "peak_rss_mb", "threads"] {
        assert!(document[key].as_f64().is_some_and(|value| value > 0.0), "{key}: {document}");
    }
    for tokens in ["1", "32", "128", "512"] {
        assert!(document["prefill_ms"][tokens].as_f64().is_some_and(|value| value > 0.0), "{tokens}: {document}");
    }
    let (status, out) = ran(&["--threads", "1", "bench", &tiny("qwen2"), "--repeat", "1"]);
    assert!(status == 0 && out.contains("1 threads") && out.contains("first token"), "{out}");
}

#[test]
fn suspects_that_cannot_be_switched_on() {
    let debug = |model: &str, suspect: &str, says: &[&str]| {
        refused(&["debug", &tiny(model), "--ids", "1,2,3", "--suspect", suspect], says);
    };
    debug("llama", "rope_interleavd", &["rope_interleaved"]);
    debug("llama", "unknown", &["no suspect is called"]);
    debug("llama", "ref_token_rows", &["mistake of a dump"]);
    debug("llama", "qk_norm_missing", &["this model has no q_norm and k_norm"]);
    debug("llama", "bias_missing", &["nothing that it changes"]);
    debug("llama", "rope_position_offset", &["only a dump tells"]);
    debug("llama", "mask_off_by_one:9", &["2 ways", "1 a query sees the token after it; 2 a query does not"]);
    debug("llama", "mask_off_by_one:0", &["2 ways"]);
    debug("llama", "mask_off_by_one:x", &["\"x\" is no number"]);
    debug("llama", "rope_interleaved@3", &["there is no layer 3: the layers are 0 to 2"]);
    debug("llama", "rope_interleaved@1-x", &["layers look like"]);
}

#[test]
fn suspects_are_explained() {
    let (status, list) = ran(&["explain"]);
    assert_eq!(status, 0);
    let ids: Vec<&str> = list.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(ids.len() > 40 && ids.contains(&"bias_missing") && ids.last() == Some(&"unknown"), "{list}");
    for id in ids {
        let (status, text) = ran(&["explain", id]);
        assert!(status == 0 && text.starts_with(&format!("{id}: ")), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 100 || line.starts_with(id)), "{text}");
    }
    let (_, text) = ran(&["explain", "rope_interleaved"]);
    for line in ["\nfix    rotate channel i", "\nops    q_rope, k_rope\n", "--suspect rope_interleaved\n"] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(ran(&["explain", "unknown"]).1.contains("rank one"));
    refused(&["explain", "rope_interleavd"], &["rope_interleaved"]);
    refused(&["explain", "zzz"], &["layerstep explain"]);
}

#[test]
fn help_version_and_completions() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let (status, script) = ran(&["completions", shell]);
        assert!(status == 0 && script.contains("layerstep") && script.contains("capture"), "{shell}");
    }
    let (status, version) = ran(&["--version"]);
    assert_eq!((status, version), (0, format!("layerstep {}\n", env!("CARGO_PKG_VERSION"))));
    let (status, help) = ran(&["--help"]);
    assert!(status == 0 && ["debug", "diff", "capture", "generate", "bench"].iter().all(|word| help.contains(word)));
    assert!(ran(&["diff", "--help"]).1.contains("--candidate"));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let (reference, candidate) = (demo_dump("reference"), demo_dump("candidate"));
    let diff = ["diff", "--model", &path(DEMO), "--reference", &reference, "--candidate", &candidate];
    let demo = path(DEMO);
    let commands: [&[&str]; 7] = [
        &diff,
        &[&diff[..], &["--json"]].concat(),
        &["generate", &demo, "--prompt", "Emma", "--max-tokens", "5"],
        &["generate", &demo, "--prompt", "Emma", "--max-tokens", "5", "--json"],
        &["completions", "bash"],
        &["--help"],
        &["bench", &tiny("qwen2"), "--repeat", "1"],
    ];
    for args in commands {
        let mut command = std::process::Command::new(PROGRAM);
        command.args(args).stdin(Stdio::null()).stderr(Stdio::piped());
        // A pipe that nobody reads any more.
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = command.stdout(writer).output().expect("the program runs");
        // What was found stays found.
        let status = i32::from(args[0] == "diff");
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(status), String::new()), "{args:?}");
    }
}

#[test]
fn the_number_of_threads_changes_no_byte() {
    let (reference, candidate) = (demo_dump("reference"), demo_dump("candidate"));
    let diff = |threads: &str| {
        ran(&[
            "diff",
            "--model",
            &path(DEMO),
            "--reference",
            &reference,
            "--candidate",
            &candidate,
            "--json",
            "--threads",
            threads,
        ])
    };
    assert_eq!(diff("1"), diff("2"));
}
