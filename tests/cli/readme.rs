//! The README and the book in `docs/` are true: their tables are the program's, their links lead somewhere, and what they
//! say to type is typed here.

#[cfg(target_os = "linux")]
mod keys;
mod links;
mod transcripts;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The README fits a few screens; all else is in the book.
const README_BYTES: usize = 14_000;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|reason| panic!("{path}: {reason}"))
}

/// The pages of the book, by their paths from the root.
fn book() -> Vec<String> {
    let entries = fs::read_dir(root().join("docs")).expect("docs/");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut pages: Vec<String> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| format!("docs/{}", path.file_name().expect("a name").to_string_lossy()))
        .collect();
    pages.sort();
    pages
}

/// The lines of a page that are text, not of a fenced block, with their numbers.
fn text_lines(page: &str) -> Vec<(usize, &str)> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for (number, line) in page.lines().enumerate() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if !fenced && !line.starts_with("    ") {
            lines.push((number + 1, line));
        }
    }
    lines
}

/// The fenced blocks of a page: what stands behind the fence, and what is inside.
fn fences(page: &str) -> Vec<(&str, &str)> {
    let blocks = page.split("\n```").collect::<Vec<_>>();
    blocks.iter().skip(1).step_by(2).filter_map(|block| block.split_once('\n')).collect()
}

/// A folder with what the pages work on: the demo's files where the repository has them, and the worked examples.
fn workplace() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for copied in ["reference/demo", "reference/tiny/qwen3_moe", "sessions"] {
        copy(&root().join(copied), &folder.path().join(copied));
    }
    folder
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder of the repository") {
        let entry = entry.expect("an entry").path();
        let target: PathBuf = to.join(entry.file_name().expect("a name"));
        if entry.is_dir() {
            copy(&entry, &target);
        } else {
            fs::copy(&entry, &target).expect("copied");
        }
    }
}

#[test]
fn the_readme_is_short() {
    let bytes = page("README.md").len();
    assert!(bytes <= README_BYTES, "README.md has {bytes} bytes, more than {README_BYTES}: what can go to docs/?");
}

#[test]
fn the_tables_of_commands_are_those_of_the_program() {
    let table = layerstep::tui::command_table();
    assert!(page("docs/commands.md").contains(&table), "docs/commands.md should hold:\n{table}");
}

#[test]
fn the_table_of_suspects_is_that_of_the_program() {
    let table = layerstep::cli::suspect_table();
    assert!(page("docs/suspects.md").contains(&table), "docs/suspects.md should hold:\n{table}");
}

#[test]
fn verdicts_are_the_same_everywhere() {
    let table = |path: &str| -> Vec<String> {
        let page = page(path);
        page.lines().filter(|line| line.starts_with("| `") && line.ends_with('|')).map(str::to_string).collect()
    };
    let (readme, book) = (table("README.md"), table("docs/verdicts.md"));
    assert_eq!(readme, book);
    assert_eq!(readme.len(), 6);
}

#[test]
fn the_configuration_is_one() {
    let page = page("docs/configuration.md");
    let fences = fences(&page);
    let (_, example) = fences.iter().find(|(kind, _)| *kind == "toml").expect("an example");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config.toml");
    fs::write(&file, example).expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_layerstep"))
        .args(["config", "--config"])
        .arg(&file)
        .output()
        .expect("the program runs");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut settings = 0;
    for line in example.lines().filter(|line| line.contains('=')) {
        let line = line.split('#').next().unwrap_or_default().trim();
        assert!(printed.lines().any(|other| other == line), "{line}:\n{printed}");
        settings += 1;
    }
    assert!(settings > 5, "docs/configuration.md has an example");
}

/// Examples of maps are maps.
#[test]
fn maps_can_be_read() {
    let mut read = 0;
    for path in ["README.md", "docs/dumps.md"] {
        let page = page(path);
        for (_, text) in fences(&page).into_iter().filter(|(kind, _)| kind.starts_with("toml")) {
            layerstep::dump::Map::parse(Path::new(path), text).unwrap_or_else(|reason| panic!("{reason}"));
            read += 1;
        }
    }
    assert_eq!(read, 4);
}

/// Every family that the engine runs has a line in the table of models.
#[test]
fn every_family_is_in_the_book() {
    let page = page("docs/models.md");
    let mut seen = 0;
    for entry in fs::read_dir(root().join("src/model/families")).expect("a folder") {
        let file = entry.expect("an entry").path();
        let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
        assert!(page.contains(&format!("| `{name}` |")), "docs/models.md has no line for {name}");
        seen += 1;
    }
    assert!(seen >= 8);
}

/// Every subcommand that `--help` lists has a line in the table of the command line.
#[test]
fn every_subcommand_is_in_the_book() {
    let output = Command::new(env!("CARGO_BIN_EXE_layerstep")).arg("--help").output().expect("the program runs");
    let help = String::from_utf8(output.stdout).expect("text");
    let (_, list) = help.split_once("\nCommands:\n").expect("a list of commands");
    let page = page("docs/commands.md");
    let names = list.lines().take_while(|line| !line.is_empty()).filter_map(|line| {
        let name = line.strip_prefix("  ").filter(|rest| !rest.starts_with(' '))?;
        name.split_whitespace().next()
    });
    let mut seen = 0;
    for name in names.filter(|name| *name != "help") {
        let row = format!("| `layerstep {name}");
        assert!(page.contains(&row), "docs/commands.md has no line {row} ...`");
        seen += 1;
    }
    assert!(seen > 10, "{help}");
}
