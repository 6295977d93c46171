//! Recorded sessions. Every file of `sessions/` is replayed, with the model and from the recording alone; files that were
//! damaged say what is wrong with them; and nothing that was saved is lost, whatever happens to the program or its disk.
//!
//! `LAYERSTEP_WRITE=1 cargo test --test session recorded` records `sessions/*.session` anew from `sessions/*.script`.

mod damage;
mod examples;
mod floor;
mod kill;
mod recover;
mod replaced;
mod screens;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The program, whose journals and caches lie in a folder of the test.
fn layerstep(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_layerstep"));
    command
        .env_remove("RUST_BACKTRACE")
        .env("XDG_STATE_HOME", home.join("state"))
        .env("XDG_CACHE_HOME", home.join("cache"));
    command
}

fn run<S: AsRef<OsStr>>(home: &Path, arguments: impl IntoIterator<Item = S>) -> Output {
    layerstep(home).args(arguments).output().expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What it said, with its status: for messages of assertions.
fn all(output: &Output) -> String {
    format!("status {:?}\n{}{}", output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// The files of `sessions/` that end so.
fn examples(extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("sessions")).expect("a folder of the repository");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut found: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|e| e == extension)).collect();
    found.sort();
    found
}

/// A session of the built-in model: both its files, in a folder.
fn recorded(folder: &Path, lines: &str) -> PathBuf {
    let script = folder.join("made.script");
    std::fs::write(&script, format!("debug\n{lines}")).expect("written");
    let name = folder.join("made");
    let output = run(folder, [OsStr::new("run"), script.as_os_str(), OsStr::new("--record"), name.as_os_str()]);
    assert!(output.status.success(), "{}", all(&output));
    name.with_extension("session")
}
