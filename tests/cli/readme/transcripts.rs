//! Transcripts are what the program prints. A line `    $ layerstep ...` is typed as it stands, in a copy of the demo's files;
//! the indented lines behind it are its output, all of it but where `[...]` stands for left-out lines. `cd` and `echo $?`
//! are obeyed, and a block fenced as ```` ```toml FILE ```` is written to FILE.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use layerstep::formats::Archive;

use super::{book, page, root, workplace};

/// Needs a model that is not in the repository.
const BIG: &str = "docs/smollm2.md";

enum Step<'a> {
    /// A line after `$ `, and what is shown of its output.
    Typed(&'a str, Vec<&'a str>),
    /// A file, and what is in it.
    File(&'a str, String),
}

fn steps(page: &str) -> Vec<Step<'_>> {
    let mut steps: Vec<Step> = Vec::new();
    let (mut inside, mut fenced) = (false, false);
    for line in page.lines() {
        if let Some(fence) = line.strip_prefix("```") {
            (fenced, inside) = (!fenced, false);
            let file = fence.split_once(' ').filter(|_| fenced);
            steps.extend(file.map(|(_, file)| Step::File(file, String::new())));
        } else if fenced {
            if let Some(Step::File(_, text)) = steps.last_mut() {
                writeln!(text, "{line}").expect("a String takes it");
            }
        } else if let Some(typed) = line.strip_prefix("    $ ") {
            steps.push(Step::Typed(typed, Vec::new()));
            inside = true;
        } else if inside && (line.is_empty() || line.starts_with("    ")) {
            if let Some(Step::Typed(_, shown)) = steps.last_mut() {
                shown.extend(Some(line.trim()).filter(|line| !line.is_empty()));
            }
        } else {
            inside = false;
        }
    }
    steps
}

/// Types what a page says, from `folder` on; how many commands of the program that were.
pub(super) fn follow(path: &str, folder: &Path) -> usize {
    let page = page(path);
    let state = tempfile::tempdir().expect("a folder");
    let mut folder = folder.to_owned();
    let mut status = String::from("0");
    let mut obeyed = 0;
    for step in steps(&page) {
        let (typed, shown) = match step {
            Step::Typed(typed, shown) => (typed, shown),
            Step::File(file, text) => {
                fs::write(folder.join(file), text).expect("written");
                continue;
            }
        };
        let words = shlex::split(typed).unwrap_or_else(|| panic!("{path}: {typed}"));
        let printed = match &words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["cd", to] => {
                folder.push(to);
                String::new()
            }
            ["echo", "$?"] => status.clone(),
            ["layerstep", arguments @ ..] => {
                obeyed += 1;
                let output = Command::new(env!("CARGO_BIN_EXE_layerstep"))
                    .args(arguments)
                    .current_dir(&folder)
                    .env("XDG_STATE_HOME", state.path())
                    .env("XDG_CONFIG_HOME", state.path())
                    .output()
                    .expect("the program runs");
                status = output.status.code().map_or_else(String::new, |code| code.to_string());
                let errors = String::from_utf8_lossy(&output.stderr);
                assert!(status == "0" || status == "1", "{path}: {typed}: {errors}");
                String::from_utf8(output.stdout).expect("text")
            }
            _ => panic!("{path}: {typed}: a test can only type layerstep, cd and echo $?"),
        };
        compare(&format!("{path}: {typed}"), &shown, &printed);
    }
    obeyed
}

fn compare(what: &str, shown: &[&str], printed: &str) {
    let mut lines = printed.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut gap = false;
    for line in shown {
        if *line == "[...]" {
            gap = true;
            continue;
        }
        let found = if gap { lines.find(|printed| printed == line) } else { lines.next() };
        assert_eq!(found, Some(*line), "{what} prints:\n{printed}");
        gap = false;
    }
    assert!(gap || lines.next().is_none(), "{what} prints more:\n{printed}");
}

/// The dump of an engine with names of its own, which `docs/dumps.md` maps: `mine/NAME.bin`, a count and that many floats.
fn own_names(folder: &Path) {
    let archive = Archive::open(&folder.join("candidate.safetensors")).expect("the demo's dump");
    fs::create_dir_all(folder.join("mine")).expect("a folder");
    let counted = |layer: &str| layer.parse::<usize>().expect("a number") + 1;
    let is_block = |name: &str| name.starts_with("model.layers.") && !name.contains('@');
    for entry in archive.entries() {
        let short = entry.name.strip_prefix("model.layers.").and_then(|rest| rest.split_once('.'));
        let name = match (entry.name.as_str(), short) {
            ("model.embed_tokens", _) => "embeddings".to_string(),
            ("lm_head", _) => "step0_logits".to_string(),
            (name, None) if is_block(name) => format!("enc{}_out", counted(&name["model.layers.".len()..])),
            (_, Some((layer, "self_attn.o_proj"))) => format!("enc{}_attnout", counted(layer)),
            (_, Some((layer, "mlp.down_proj"))) => format!("enc{}_mlpout", counted(layer)),
            (_, Some(("0", "self_attn.probs"))) => "scratch_7".to_string(),
            _ => continue,
        };
        let values = archive.read(&entry.name).expect("values").into_f32();
        let mut bytes = i32::try_from(values.len()).expect("a count").to_le_bytes().to_vec();
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        fs::write(folder.join("mine").join(name + ".bin"), bytes).expect("written");
    }
}

fn followed(path: &str) {
    let folder = workplace();
    own_names(&folder.path().join("reference/demo"));
    let obeyed = follow(path, folder.path());
    assert!(obeyed > 0, "{path} has a transcript");
}

#[test]
fn the_readme_is_what_the_program_prints() {
    followed("README.md");
}

#[test]
fn stepping_is_what_the_program_prints() {
    followed("docs/stepping.md");
}

#[test]
fn pinpointing_is_what_the_program_prints() {
    followed("docs/pinpointing.md");
}

#[test]
fn replaying_is_what_the_program_prints() {
    followed("docs/replaying.md");
}

#[test]
fn the_other_pages_are_what_the_program_prints() {
    let jobs = ["docs/stepping.md", "docs/pinpointing.md", "docs/replaying.md", BIG];
    for path in book().iter().filter(|path| !jobs.contains(&path.as_str())) {
        if steps(&page(path)).iter().any(|step| matches!(step, Step::Typed(..))) {
            followed(path);
        }
    }
}

#[test]
#[ignore = "needs LAYERSTEP_SMOLLM2: CONTRIBUTING.md says how to make it"]
fn the_tour_of_smollm2_is_what_the_program_prints() {
    let models = PathBuf::from(std::env::var_os("LAYERSTEP_SMOLLM2").expect("LAYERSTEP_SMOLLM2 names a folder"));
    assert!(follow(BIG, &root().join(models)) > 0, "{BIG} has a transcript");
}

#[test]
fn a_transcript_that_is_wrong_is_seen() {
    let page = "text\n\n    $ layerstep explain\n    a\n\n    [...]\n    c\n\ntext\n\n    not typed\n";
    let steps = steps(page);
    assert!(matches!(&steps[..], [Step::Typed("layerstep explain", shown)] if shown == &["a", "[...]", "c"]));
    let fails = |shown: &'static [&str], printed: &'static str| {
        std::panic::catch_unwind(|| compare("x", shown, printed)).is_err()
    };
    assert!(!fails(&["a", "[...]", "c"], "a\n\nb\nc\n"));
    assert!(fails(&["a", "c"], "a\nb\nc\n"));
    assert!(fails(&["a", "[...]", "d"], "a\nb\nc\n"));
    assert!(fails(&["a"], "a\nb\n"));
}
