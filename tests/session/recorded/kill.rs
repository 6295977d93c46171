//! Killed at any moment: what was saved is whole, and what was answered stands in the journal.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use layerstep::session::{Journal, Recording, journal, pack};

use super::{all, layerstep, recorded, run, text};

const KILLS: usize = 200;

/// What is typed: steps, each of which is answered, with marks and saves in between.
fn script() -> String {
    (0..40).map(|k| if k % 8 == 7 { format!("mark {k}\nsave! made\n") } else { "step\n".to_string() }).collect()
}

/// Runs the script in a folder and kills it after a while; the number of steps that were answered.
fn killed(folder: &Path, after: Duration) -> usize {
    let mut command = layerstep(folder);
    command.current_dir(folder).args(["debug", "--batch"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let started = Instant::now();
    let mut child = command.spawn().expect("the program runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    let stdout = child.stdout.take().expect("a pipe");
    let writer = thread::spawn(move || drop(stdin.write_all(script().as_bytes())));
    let reader = thread::spawn(move || BufReader::new(stdout).lines().map_while(Result::ok).collect::<Vec<_>>());
    thread::sleep(after.saturating_sub(started.elapsed()));
    // SIGKILL: nobody is asked.
    child.kill().expect("it is ours");
    child.wait().expect("it is gone");
    writer.join().expect("no panic");
    let answers = reader.join().expect("no panic");
    answers.iter().filter(|line| line.contains("rms")).count()
}

fn journals(folder: &Path) -> Vec<PathBuf> {
    journal::left_behind(&folder.join("state/layerstep/journals"))
}

/// What holds after a kill: the session is whole, the old one or the new, and the journal has all that was answered.
fn check(folder: &Path, answered: usize) -> bool {
    let session = folder.join("made.session");
    let opened = pack::open(&session).expect("the session is whole");
    let recording = Recording::of(opened).expect("its values are whole, and its own");
    let debugger = recording.debugger();
    assert!(debugger.is_ok(), "{debugger:?}");
    let left = journals(folder);
    assert!(left.len() <= 1, "{left:?}");
    let steps = left.first().map(|journal| {
        let text = Journal::recover(journal).expect("a journal is whole up to its last line");
        text.lines.iter().filter(|line| line.text == "step").count()
    });
    // Done before it was killed, or killed before anything was typed: then there is no journal.
    assert!(steps.is_none_or(|steps| steps >= answered), "{steps:?} steps in the journal, {answered} answered");
    steps.is_some_and(|steps| steps > 0)
}

#[test]
fn nothing_that_was_saved_or_answered_is_lost() {
    let home = tempfile::tempdir().expect("a folder");
    let other = recorded(home.path(), "step 3\nmark another session\n");
    let folder = || {
        let folder = tempfile::tempdir().expect("a folder");
        for extension in ["session", "safetensors"] {
            let name = other.with_extension(extension);
            std::fs::copy(&name, folder.path().join(name.file_name().expect("a name"))).expect("copied");
        }
        folder
    };
    // How long it takes to the end; the moments lie between.
    let whole = folder();
    let begun = Instant::now();
    let mut command = layerstep(whole.path());
    command.current_dir(whole.path()).args(["debug", "--batch"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.spawn().expect("the program runs");
    child.stdin.take().expect("a pipe").write_all(script().as_bytes()).expect("typed");
    assert!(child.wait().expect("it ends").success());
    let long = begun.elapsed();
    let moments: Vec<Duration> = (0..KILLS).map(|k| long.mul_f64((k as f64 * 0.618_034).fract())).collect();
    let (mut with_journal, mut recovered) = (0, 0);
    thread::scope(|scope| {
        let halves = moments.chunks(KILLS / 2).map(|moments| {
            scope.spawn(|| {
                let mut counts = (0, 0);
                for (round, moment) in moments.iter().enumerate() {
                    let folder = folder();
                    let answered = killed(folder.path(), *moment);
                    let typed = check(folder.path(), answered);
                    counts.0 += usize::from(typed);
                    if typed && round % 10 == 0 {
                        let left = journals(folder.path());
                        let output = run(folder.path(), ["debug", "--batch", "--recover", "--command", "info place"]);
                        assert!(output.status.success() && text(&output.stdout).contains("rms"), "{}", all(&output));
                        // What it had marked and not saved is in the journal of the one that went on.
                        assert!(!journals(folder.path()).contains(&left[0]), "it is recovered");
                        counts.1 += 1;
                    }
                }
                counts
            })
        });
        for half in halves.collect::<Vec<_>>() {
            let counts = half.join().expect("no panic");
            with_journal += counts.0;
            recovered += counts.1;
        }
    });
    // Enough of them hit the program while it was at work.
    assert!(with_journal > KILLS / 10 && recovered > 2, "{with_journal} journals, {recovered} recovered");
}
