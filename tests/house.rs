//! The rules of the house, held by a test: who may import whom, how long a file may be, which words are not said.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What each folder may import; the table in lib.rs says the same in words.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("ops", &[]),
    ("formats", &[]),
    ("metrics", &["ops"]),
    ("model", &["ops", "formats"]),
    ("engine", &["ops", "model"]),
    ("dump", &["engine", "model", "formats", "metrics"]),
    ("diagnose", &["dump", "engine", "model", "ops", "metrics"]),
    ("debugger", &["diagnose", "dump", "engine", "model", "ops", "metrics", "formats"]),
    ("report", &["debugger", "diagnose", "metrics"]),
    ("session", &["debugger", "diagnose", "dump", "engine", "model", "ops", "metrics", "formats"]),
    ("tui", &["debugger", "session"]),
    (
        "cli",
        &["tui", "report", "session", "debugger", "diagnose", "dump", "engine", "model", "formats", "metrics", "ops"],
    ),
];

/// Above this many lines a file holds two nouns.
const LONGEST: usize = 400;

fn sources(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).expect("a folder of the repository") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("a source file")
}

/// `src/engine/run.rs` and `src/engine.rs` are of `engine`.
fn room(path: &Path) -> String {
    let inside = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).expect("under src");
    let first = inside.components().next().expect("a file").as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_string()
}

#[test]
fn every_folder_imports_only_what_the_map_allows() {
    let allowed: BTreeMap<&str, &[&str]> = MAY_IMPORT.iter().copied().collect();
    let mut wrong = Vec::new();
    for path in sources("src") {
        let from = room(&path);
        let Some(allowed) = allowed.get(from.as_str()) else { continue };
        for (number, line) in read(&path).lines().enumerate() {
            if line.trim_start().starts_with("//") {
                continue;
            }
            for part in line.split("crate::").skip(1) {
                let names = part.strip_prefix('{').map_or_else(|| vec![part], |list| list.split(", ").collect());
                for name in names {
                    let to: String = name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                    let known = MAY_IMPORT.iter().any(|(folder, _)| *folder == to);
                    if known && to != from && !allowed.contains(&to.as_str()) {
                        wrong.push(format!("{}:{}: {from} imports {to}", path.display(), number + 1));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "the map in lib.rs does not allow:\n{}", wrong.join("\n"));
}

#[test]
fn every_folder_stands_in_the_map_of_lib_rs() {
    let library = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs"));
    for (folder, _) in MAY_IMPORT {
        assert!(library.contains(&format!("| [`{folder}`] |")), "{folder} is not in the map");
        assert!(library.contains(&format!("pub mod {folder};")), "{folder} is not in the crate");
    }
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let mut wrong = Vec::new();
    for path in sources("src") {
        let text = read(&path);
        let lines = text.lines().count();
        if lines > LONGEST {
            wrong.push(format!("{} has {lines} lines, more than {LONGEST}", path.display()));
        }
        if !text.starts_with("//!") {
            wrong.push(format!("{} does not begin by saying what it is", path.display()));
        }
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        if ["mod", "utils", "util", "common", "helpers", "manager", "misc"].contains(&name.as_str()) {
            wrong.push(format!("{}: a name that says nothing", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_is_left_for_later_and_nothing_panics_carelessly() {
    let mut wrong = Vec::new();
    for path in sources("src") {
        for (number, line) in read(&path).lines().enumerate() {
            for word in [".unwrap()", "todo!(", "unimplemented!(", "dbg!(", "FIXME", "TODO", "XXX"] {
                if line.contains(word) {
                    wrong.push(format!("{}:{}: {word}", path.display(), number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Lines of code, without comments and without the tests at the end of a file.
fn code(path: &Path) -> Vec<(usize, String)> {
    let text = read(path);
    let own = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = own.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
    lines.map(|(number, line)| (number + 1, line.to_lowercase())).collect()
}

#[test]
fn only_its_row_names_a_family() {
    // What a suspect tells people says who made the mistake and whose convention it is; it decides nothing.
    const TOLD: [&str; 4] = ["seen:", "cause:", "symptom:", "fix:"];
    // Programs that readers of their dumps name, a module's path, and published names of a RoPE scaling and of a setting.
    const NOT_FAMILIES: [&str; 7] =
        ["llama.cpp", "llama2.c", "llama_cpp", "llama-cpp", "llama3", "gpt_neox_layers_", "is_llama_config"];
    const FAMILIES: [&str; 9] =
        ["llama", "mistral", "mixtral", "qwen", "gemma", "gpt2", "gpt_neox", "olmo", "deepseek"];
    let mut wrong = Vec::new();
    for path in sources("src") {
        let name = path.display().to_string();
        if name.contains("model/families") {
            continue;
        }
        let told = |line: &str| {
            name.contains("diagnose/suspects") && TOLD.iter().any(|field| line.trim_start().starts_with(field))
        };
        for (number, line) in code(&path).into_iter().filter(|(_, line)| !told(line)) {
            let line = NOT_FAMILIES.iter().fold(line, |line, name| line.replace(name, ""));
            if let Some(family) = FAMILIES.iter().find(|family| line.contains(*family)) {
                wrong.push(format!("{name}:{number}: {family}"));
            }
        }
    }
    assert!(wrong.is_empty(), "families are named outside of model/families:\n{}", wrong.join("\n"));
}

#[test]
fn arithmetic_asks_for_kinds_and_never_for_roles() {
    /// What computes: it sees ops and their facts.
    const COMPUTES: &[&str] = &[
        "src/engine/",
        "src/ops/",
        "src/metrics/",
        "src/model/op.rs",
        "src/model/weights.rs",
        "src/diagnose/arithmetic.rs",
        "src/diagnose/coarse.rs",
        "src/diagnose/emulate.rs",
        "src/diagnose/noise.rs",
        "src/diagnose/part.rs",
        "src/diagnose/precision.rs",
        "src/diagnose/tie.rs",
    ];
    let mut wrong = Vec::new();
    for path in sources("src") {
        let name = path.display().to_string();
        if !COMPUTES.iter().any(|computes| name.contains(computes)) {
            continue;
        }
        for (number, line) in code(&path) {
            if line.contains("role::") {
                wrong.push(format!("{name}:{number}: {}", line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "roles decide what is computed:\n{}", wrong.join("\n"));
}
