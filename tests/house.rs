//! The rules of the house, held by a test: who may import whom, how long a file may be, which words are not said.

use std::collections::{BTreeMap, BTreeSet};
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

type Module = Vec<String>;

/// A file as its module: `engine::run::rewind`.
fn module(path: &Path) -> Module {
    let inside = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).expect("under src");
    inside.with_extension("").components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect()
}

/// The paths of a `use`: `a::{b, c::{d, e}}` is three.
fn paths(tree: &str) -> Vec<Module> {
    let Some((head, rest)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default();
        return vec![path.split("::").map(|part| part.trim().to_string()).collect()];
    };
    let (mut depth, mut branches) = (0, vec![String::new()]);
    for c in rest.trim_end().trim_end_matches('}').chars() {
        depth += i32::from(c == '{') - i32::from(c == '}');
        match branches.last_mut() {
            Some(branch) if c != ',' || depth > 0 => branch.push(c),
            _ => branches.push(String::new()),
        }
    }
    branches
        .iter()
        .filter(|branch| !branch.trim().is_empty())
        .flat_map(|branch| paths(&format!("{head}{branch}")))
        .collect()
}

/// What a file names of the crate, by paths from its root: what it uses, and what it passes on (`pub use`).
fn names(module: &Module, text: &str, files: &BTreeMap<Module, PathBuf>) -> [Vec<Module>; 2] {
    let mut found = [Vec::new(), Vec::new()];
    let mut take = |path: &[String], passed_on: bool| {
        let mut from = module.clone();
        let rest = match path.first().map(String::as_str) {
            Some("crate") => {
                from.clear();
                &path[1..]
            }
            Some("super") => {
                let up = path.iter().take_while(|part| *part == "super").count();
                from.truncate(from.len().saturating_sub(up));
                &path[up..]
            }
            Some(child) if files.contains_key(&[module.as_slice(), &[child.to_string()]].concat()) => path,
            _ => return,
        };
        found[usize::from(passed_on)].push([from.as_slice(), rest].concat());
    };
    let mut inline = String::new();
    for statement in text.split_inclusive(';') {
        let last = statement.rfind("use ").filter(|at| statement[..*at].ends_with(['\n', ' ', ';']) || *at == 0);
        match last.filter(|_| statement.ends_with(';')) {
            Some(at) if !statement[at..].contains(['=', '(']) => {
                let passed_on = statement[..at]
                    .trim_end()
                    .rsplit('\n')
                    .next()
                    .is_some_and(|line| line.trim_start().starts_with("pub"));
                for path in paths(statement[at + 4..].trim_end_matches(';')) {
                    take(&path, passed_on);
                }
                inline.push_str(&statement[..at]);
            }
            _ => inline.push_str(statement),
        }
    }
    for word in inline.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')) {
        let path: Module = word.split("::").map(ToString::to_string).collect();
        if path.len() > 1 && ["crate", "super"].contains(&path[0].as_str()) {
            take(&path, false);
        }
    }
    found
}

/// Files that import each other in a circle, by folder: each number may only become smaller.
const IN_CIRCLES: &[(&str, usize)] = &[("debugger", 7), ("diagnose", 10), ("tui", 3)];

#[test]
fn files_import_each_other_in_one_direction() {
    let files: BTreeMap<Module, PathBuf> = sources("src").into_iter().map(|path| (module(&path), path)).collect();
    let named: BTreeMap<&Module, [Vec<Module>; 2]> = files
        .iter()
        .map(|(module, path)| {
            let text = read(path);
            let own = text.split("#[cfg(test)]").next().unwrap_or_default();
            let code: Vec<&str> = own.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            (module, names(module, &code.join("\n"), &files))
        })
        .collect();
    // The file that a path ends in, and where it is passed on, the file that it comes from.
    let file_of = |path: &Module| {
        let mut path = path.clone();
        for _ in 0..6 {
            let length = (1..=path.len()).rev().find(|length| files.contains_key(&path[..*length]))?;
            let (file, item) = (&path[..length], path.get(length));
            let passed_on =
                item.and_then(|item| named[&file.to_vec()][1].iter().find(|from| from.last() == Some(item)));
            match passed_on {
                Some(from) => path = [from.as_slice(), &path[length + 1..]].concat(),
                None => return Some(file.to_vec()),
            }
        }
        None
    };
    // What a file has from the files of its own folder's name is no import: they are one.
    let edges: BTreeMap<&Module, Vec<Module>> = named
        .iter()
        .map(|(module, named)| {
            let to = named.iter().flatten().filter_map(file_of).filter(|to| !module.starts_with(to));
            (*module, to.collect())
        })
        .collect();
    let is_in_a_circle = |from: &&Module| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![*from]);
        while let Some(module) = open.pop() {
            open.extend(edges[module].iter().filter(|to| seen.insert(*to)));
        }
        seen.contains(*from)
    };
    let mut circles: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for module in files.keys().filter(is_in_a_circle) {
        circles.entry(&module[0]).or_default().push(module.join("::"));
    }
    let counts: Vec<(&str, usize)> = circles.iter().map(|(folder, files)| (*folder, files.len())).collect();
    assert_eq!(counts, IN_CIRCLES, "in circles: {circles:#?}");
}

/// Objects whose methods stand in more than four files, and in how many: each number may only become smaller.
const SPREAD: &[(&str, usize)] = &[];

#[test]
fn the_methods_of_an_object_stand_in_few_files() {
    let mut files: BTreeMap<String, BTreeSet<PathBuf>> = BTreeMap::new();
    for path in sources("src") {
        let text = read(&path);
        for line in
            text.lines().filter(|line| line.starts_with("impl") && line.ends_with('{') && !line.contains(" for "))
        {
            let words = line.trim_end_matches('{').trim_end();
            let object = words.rsplit(' ').next().unwrap_or_default().split('<').next().unwrap_or_default();
            files.entry(format!("{}::{object}", room(&path))).or_default().insert(path.clone());
        }
    }
    let spread: Vec<(&str, usize)> = files
        .iter()
        .filter(|(_, files)| files.len() > 4)
        .map(|(object, files)| (object.as_str(), files.len()))
        .collect();
    assert_eq!(spread, SPREAD, "{files:#?}");
}
