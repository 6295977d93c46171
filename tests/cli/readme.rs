//! The README is true: its table of keys is the program's, and its transcripts are what the program prints.

use std::process::Command;

fn readme() -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    std::fs::read_to_string(path).expect("README.md")
}

#[test]
fn the_tables_of_commands_are_those_of_the_program() {
    let table = layerstep::tui::command_table();
    assert!(readme().contains(&table), "README.md, section Commands of the debugger, should hold:\n{table}");
}

#[test]
fn the_table_of_suspects_is_that_of_the_program() {
    let table = layerstep::cli::suspect_table();
    assert!(readme().contains(&table), "README.md, section Known mistakes, should hold:\n{table}");
}

#[test]
fn the_configuration_is_one() {
    let readme = readme();
    let (_, section) = readme.split_once("\n## Configuration\n").expect("a section");
    let (_, example) = section.split_once("```toml\n").expect("an example");
    let (example, _) = example.split_once("```").expect("its end");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config.toml");
    std::fs::write(&file, example).expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_layerstep"))
        .args(["config", "--config"])
        .arg(&file)
        .output()
        .expect("the program runs");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for line in example.lines().filter(|line| line.contains('=')) {
        let line = line.split('#').next().unwrap_or_default().trim();
        assert!(printed.lines().any(|other| other == line), "{line}:\n{printed}");
    }
}

/// What follows a line `    $ layerstep ...`, up to the next line that is not indented; `[...]` stands for left-out lines.
#[test]
fn transcripts_on_the_demo_are_what_the_program_prints() {
    let readme = readme();
    let mut checked = 0;
    for block in readme.split("\n    $ layerstep ").skip(1) {
        let (arguments, rest) = block.split_once('\n').expect("a transcript");
        let shown: Vec<&str> = rest.lines().take_while(|line| line.is_empty() || line.starts_with("    ")).collect();
        let output = Command::new(env!("CARGO_BIN_EXE_layerstep"))
            .args(arguments.split_whitespace())
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("the program runs");
        let printed = String::from_utf8(output.stdout).expect("text");
        let mut printed = printed.lines();
        let mut gap = false;
        for line in shown.iter().map(|line| line.trim()).filter(|line| !line.is_empty()) {
            if line == "[...]" {
                gap = true;
                continue;
            }
            let found = if gap { printed.find(|p| p.trim() == line) } else { printed.find(|p| !p.trim().is_empty()) };
            assert_eq!(found.map(str::trim), Some(line), "layerstep {arguments}");
            gap = false;
        }
        checked += 1;
    }
    assert!(checked > 0, "README.md has a transcript");
}
