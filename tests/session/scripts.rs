//! Scripts of commands: `tests/session/scripts/*.script` are run as `layerstep run` runs them, and print what their `#>` lines
//! say. Every command of the table stands in one of them. What makes a script fail is in `scripts/failures.rs`.
//!
//! `LAYERSTEP_WRITE=1 cargo test --test session scripts` writes the `#>` lines anew; read `git diff` afterwards.

mod dumps;
mod failures;
mod numbers;

use std::path::{Path, PathBuf};
use std::process::Output;

use layerstep::debugger::COMMANDS;
use layerstep::debugger::command::Completes;

/// What a line of expected output begins with.
const EXPECTED: &str = "#>";
/// What is printed between the outputs of two commands while the `#>` lines are written.
const MARK: usize = 77_000_000;

fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/session/scripts");
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut scripts: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|e| e == "script")).collect();
    scripts.sort();
    scripts
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("a file of the repository")
}

/// Runs the program in a folder of its own, where a script may write.
fn layerstep(arguments: &[&str], input: &str) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    layerstep_in(folder.path(), arguments, input)
}

fn layerstep_in(folder: &Path, arguments: &[&str], input: &str) -> Output {
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_layerstep"));
    command.current_dir(folder).env_remove("RUST_BACKTRACE").args(arguments).write_stdin(input);
    command.output().expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn run(script: &Path) -> String {
    let output = layerstep(&["run", script.to_str().expect("a name")], "");
    assert_eq!(output.status.code(), Some(0), "{}: {}", script.display(), text(&output.stderr));
    text(&output.stdout)
}

fn check(name: &str) {
    let script = scripts().into_iter().find(|path| path.file_stem().is_some_and(|stem| stem == name));
    let script = script.unwrap_or_else(|| panic!("there is no {name}.script"));
    // What is saved has a size, and that of a script with marks in it is another one.
    if std::env::var_os("LAYERSTEP_WRITE").is_some() && name != "recording" {
        write(&script);
    }
    let printed = run(&script);
    let lines = read(&script);
    let numbered = lines.lines().enumerate();
    let expected: Vec<(usize, &str)> = numbered
        .filter_map(|(index, line)| {
            let said = line.strip_prefix(EXPECTED)?;
            Some((index + 1, said.strip_prefix(' ').unwrap_or(said)))
        })
        .collect();
    for (index, printed) in printed.lines().enumerate() {
        let Some((line, said)) = expected.get(index) else { panic!("{name}.script does not expect: {printed}") };
        assert!(numbers::same(said, printed), "{name}.script, line {line}:\n  expected {said}\n  printed  {printed}");
    }
    let missing = expected.get(printed.lines().count());
    assert_eq!(missing, None, "{name}.script expects more than is printed");
}

/// Writes the `#>` lines of a script anew: a copy of it beside it prints a mark after every command.
fn write(script: &Path) {
    let commands: Vec<String> =
        read(script).lines().filter(|line| !line.starts_with(EXPECTED)).map(str::to_string).collect();
    let mark = |(index, line): (usize, &String)| [format!("print {}", MARK + index), line.clone()];
    // The first command is not a command but says what is debugged.
    let header = commands.iter().position(|line| line.starts_with("debug")).expect("a script begins with debug");
    let head = commands[..=header].join("\n") + "\n";
    let marked: Vec<String> = commands.iter().enumerate().skip(header + 1).flat_map(mark).collect();
    let beside = script.with_extension("marked");
    std::fs::write(&beside, head.clone() + &marked.join("\n")).expect("a copy beside the script");
    let printed = run(&beside);
    std::fs::remove_file(&beside).expect("it was just written");
    let mut outputs: Vec<Vec<String>> = vec![Vec::new(); commands.len()];
    let mut at = 0;
    for line in printed.lines() {
        match line.parse::<usize>().ok().filter(|number| *number >= MARK) {
            Some(number) => at = number - MARK,
            None => outputs[at].push(format!("{EXPECTED} {line}")),
        }
    }
    let rest = commands.into_iter().zip(outputs).skip(header + 1);
    let rest: Vec<String> = rest.flat_map(|(command, output)| [vec![command], output].concat()).collect();
    std::fs::write(script, head + &rest.join("\n") + "\n").expect("a file of the repository");
}

#[test]
fn moving() {
    check("moving");
}

#[test]
fn stopping() {
    check("stopping");
}

#[test]
fn experts() {
    check("experts");
}

#[test]
fn patching() {
    check("patching");
}

#[test]
fn looking() {
    check("looking");
}

#[test]
fn tokens() {
    check("tokens");
}

#[test]
fn screen() {
    check("screen");
}

#[test]
fn recording() {
    check("recording");
}

/// The commands of all scripts: no comments, no numbers before them.
fn lines() -> Vec<String> {
    let all: Vec<String> = scripts().iter().map(|path| read(path)).collect();
    let lines = all.iter().flat_map(|text| text.lines()).filter(|line| !line.starts_with('#'));
    lines.map(|line| line.trim_start_matches(|c: char| c.is_ascii_digit()).trim().to_string()).collect()
}

#[test]
fn every_command_stands_in_a_script_by_each_of_its_names_and_with_each_of_its_words() {
    let lines = lines();
    let stands =
        |words: &[&str]| lines.iter().any(|line| line.split_whitespace().take(words.len()).eq(words.iter().copied()));
    let mut missing = Vec::new();
    for spec in COMMANDS {
        let names = [&[spec.name], spec.short].concat();
        missing.extend(names.into_iter().filter(|name| !stands(&[name])).map(str::to_string));
        if let Completes::Words(words) = spec.completes {
            let absent = words.iter().filter(|word| !stands(&[spec.name, word]));
            missing.extend(absent.map(|word| format!("{} {word}", spec.name)));
        }
    }
    assert!(missing.is_empty(), "no script of tests/session/scripts has: {}", missing.join(", "));
}

#[test]
fn help_lists_every_command_and_explains_each() {
    let listed = text(&layerstep(&["debug", "--batch", "--command", "help"], "").stdout);
    let each: Vec<String> = COMMANDS.iter().map(|spec| format!("help {}", spec.name)).collect();
    let explained = text(&layerstep(&["debug", "--batch"], &each.join("\n")).stdout);
    for spec in COMMANDS {
        assert_eq!(listed.matches(&format!("{}\n", spec.doc)).count(), 1 + twins(spec.doc), "{}", spec.name);
        assert!(explained.contains(&format!("  {}\n", spec.doc)), "{}", spec.name);
        for short in spec.short {
            assert!(explained.contains(short), "{short}");
        }
    }
}

/// Other commands whose sentence ends with this one.
fn twins(doc: &str) -> usize {
    COMMANDS.iter().filter(|spec| spec.doc.ends_with(doc)).count() - 1
}
