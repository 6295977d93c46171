//! Man pages: one for each command, all of them or none.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn man(arguments: &[&Path]) -> Output {
    let program = env!("CARGO_BIN_EXE_layerstep");
    Command::new(program).arg("man").args(arguments).output().expect("the program runs")
}

fn files(folder: &Path) -> Vec<String> {
    let name =
        |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name().to_string_lossy().into_owned();
    let mut files: Vec<String> = fs::read_dir(folder).expect("a folder").map(name).collect();
    files.sort();
    files
}

#[test]
fn every_command_has_a_page() {
    let folder = tempfile::tempdir().expect("a folder");
    // The folder is made, and pages that are there are replaced.
    let inner = folder.path().join("share/man1");
    for _ in 0..2 {
        let output = man(&[&inner]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let files = files(&inner);
    let help = Command::new(env!("CARGO_BIN_EXE_layerstep")).arg("--help").output().expect("the program runs");
    let help = String::from_utf8(help.stdout).expect("text");
    for file in &files {
        let page = fs::read_to_string(inner.join(file)).expect("text");
        let sections = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES"];
        assert!(sections.iter().all(|section| page.contains(&format!(".SH {section}\n"))), "{file}: {page}");
        assert_eq!(page.matches(".TP\n\\fBlayerstep").count(), 3, "{file}: {page}");
        let command = file.strip_suffix(".1").expect("section 1").strip_prefix("layerstep").expect("of layerstep");
        let listed = help.lines().any(|line| line.trim_start().starts_with(command.trim_start_matches('-')));
        assert!(listed, "{file}");
    }
    assert!(files.len() > 12 && files.contains(&"layerstep.1".into()) && !files.contains(&"layerstep-help.1".into()));
    let own = man(&[]);
    assert_eq!(String::from_utf8_lossy(&own.stdout), fs::read_to_string(inner.join("layerstep.1")).expect("text"));
}

#[test]
fn pages_that_cannot_be_written_leave_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("layerstep-pack.1")).expect("a folder");
    let output = man(&[folder.path()]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && error.contains("layerstep-pack.1 is a folder"), "{error}");
    assert_eq!(files(folder.path()), ["layerstep-pack.1"]);
    let taken = folder.path().join("taken");
    fs::write(&taken, "a file").expect("written");
    let output = man(&[&taken]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && error.contains("taken cannot be written"), "{error}");
}
