//! The binary on a real terminal: the demo is stepped through, and the terminal is left as it was, whatever happens.

mod prompt;
mod storm;

use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::pty::Pty;
use assert_cmd::Command;

const CTRL_C: &str = "\x03";
const CTRL_Z: &str = "\x1a";
/// Panics the screen's thread, in debug builds only.
const CTRL_P: &str = "\x10";

fn started(columns: u16, rows: u16) -> Pty {
    let mut pty = Pty::start(columns, rows, &[]);
    pty.wait("not started");
    pty
}

#[test]
fn the_demo_is_stepped_through() {
    for (columns, rows) in [(80, 24), (200, 60)] {
        let mut pty = started(columns, rows);
        pty.wait("gives wrong").wait("first divergence: 2.q_rope (c goes there)");
        pty.keys("s").wait("at embed_tokens").keys("3s").wait("at 0.k_proj").keys("S").wait("at 0.q_proj");
        pty.keys("b").wait("breakpoint set: 0.q_proj").keys("n").wait("at 1.q_proj").keys("r").wait("not started");
        pty.keys("c")
            .wait("stopped at 0.q_proj by 1: break 0.q_proj")
            .keys("c")
            .wait("at 2.q_rope")
            .wait("DIVERGED here");
        pty.keys("g0.sco\t\r").wait("at 0.scores").wait("(c goes there)");
        pty.keys("?").wait("Moving").keys("q").wait("▪ program");
        assert_eq!(pty.text().contains("17 tokens"), columns >= 120, "the third pane needs room");
        assert_eq!(pty.keys("q").end().exit_code(), 0);
    }
}

#[test]
fn two_dumps_are_opened_without_their_model() {
    let file = |name: &str| format!("{}/reference/demo/{name}.safetensors", env!("CARGO_MANIFEST_DIR"));
    let (reference, candidate) = (file("reference"), file("candidate"));
    let mut pty = Pty::start_with(&["debug", "--reference", &reference, "--candidate", &candidate], 80, 24, &[]);
    pty.wait("not started").wait("first divergence: 2.q_rope (c goes there)").wait("c  goes to the first difference");
    pty.keys("c").wait("DIVERGED here").wait("cand−ref").keys("d").wait("the candidate RoPE over pairs");
    pty.keys("q").wait("▪ program");
    assert_eq!(pty.keys("q").end().exit_code(), 0);
}

#[test]
fn a_recorded_session_is_played() {
    let session = concat!(env!("CARGO_MANIFEST_DIR"), "/sessions/gqa.session");
    for (arguments, source) in
        [(&["replay", session][..], "computed again"), (&["replay", session, "--recorded"], "only what was recorded")]
    {
        let mut pty = Pty::start_with(arguments, 132, 40, &[]);
        pty.wait(source).keys(")").wait("mark: The inputs agree");
        pty.keys("))").wait("mark: By hand").wait("DIVERGED here").keys(".").wait(":print sum(");
        // Back, by way of the start; then played on to the next mark.
        pty.keys("(").wait("mark: By hand").keys("(").wait("mark: The first wrong tensor");
        pty.keys("****").keys("x").wait("mark: By hand").wait("paused");
        // Live from here: with the model a step is computed, without it only what was recorded is there.
        pty.keys("X").wait("left").keys("s").wait("at 0.probs");
        assert_eq!(pty.keys("q").end().exit_code(), 0);
    }
}

#[test]
fn keys_typed_ahead_are_all_obeyed_in_order() {
    let mut pty = started(80, 24);
    pty.keys("sss2ncbSSg1.probs\rb").wait("breakpoint set: 1.probs");
    assert_eq!(pty.keys("q").end().exit_code(), 0);
}

#[test]
fn every_way_out_restores_the_terminal() {
    assert_eq!(started(80, 24).keys(CTRL_C).end().exit_code(), 0);
    for (signal, number) in [("TERM", 15), ("HUP", 1), ("INT", 2), ("QUIT", 3)] {
        let mut pty = started(80, 24);
        pty.signal(signal);
        assert_eq!(pty.end().exit_code(), 128 + number, "SIG{signal}");
    }
}

#[test]
#[cfg(debug_assertions)]
fn a_panic_restores_the_terminal_and_is_told() {
    let mut pty = started(80, 24);
    assert_eq!(pty.keys("s").wait("at embed").keys(CTRL_P).end().exit_code(), 101);
    pty.wait("asked for by a key that only debug builds have");
}

#[test]
fn suspending_gives_the_terminal_back_for_a_while() {
    let mut pty = started(80, 24);
    pty.keys("s").wait("at embed_tokens").keys(CTRL_Z);
    pty.wait_until("the process is stopped", |pty| pty.state() == 'T');
    pty.wait_until("the terminal is as it was", |pty| pty.left_over().is_empty());
    pty.signal("CONT");
    pty.wait("at embed_tokens").keys("s").wait("at 0.input_layernorm");
    assert_eq!(pty.keys("q").end().exit_code(), 0);
}

#[test]
fn a_storm_of_resizes_and_keys_loses_nothing() {
    let mut pty = started(80, 24);
    pty.keys("c").wait("DIVERGED here");
    for step in 0..120u16 {
        pty.resize(1 + step * 37 % 210, 1 + step * 23 % 70);
        pty.keys(["j", "k", "\t", "t", "]", "[", "l", "h"][usize::from(step) % 8]);
        thread::sleep(Duration::from_millis(2));
    }
    pty.keys(&"jk".repeat(5000));
    pty.resize(80, 24);
    pty.wait("DIVERGED here").wait("error ◆ local").keys("r").wait("not started");
    assert_eq!(pty.keys("q").end().exit_code(), 0);
}

#[test]
fn an_idle_screen_writes_and_computes_nothing() {
    let mut pty = started(80, 24);
    pty.keys("c").wait("DIVERGED").wait("error ◆ local");
    pty.wait_until("nothing is left to be drawn", |pty| {
        // The dumps are compared ahead, too.
        let before = (pty.bytes().len(), pty.ticks());
        thread::sleep(Duration::from_millis(300));
        (pty.bytes().len(), pty.ticks()) == before
    });
    let (bytes, ticks) = (pty.bytes().len(), pty.ticks());
    thread::sleep(Duration::from_millis(1500));
    assert_eq!(pty.bytes().len(), bytes);
    assert!(pty.ticks() - ticks <= 3, "{} ticks", pty.ticks() - ticks);
}

#[test]
fn a_watched_dump_is_read_again_when_its_file_changes() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("reference/demo");
    let text = |path: &Path| path.to_str().expect("a name").to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let candidate = folder.path().join("candidate.safetensors");
    let put = |name: &str| std::fs::copy(demo.join(name), &candidate).expect("a copy");
    put("candidate.safetensors");
    let reference = text(&demo.join("reference.safetensors"));
    let (model, path) = (text(&demo.join("model")), text(&candidate));
    let arguments = ["debug", &model, "--reference", &reference, "--candidate", &path, "--watch"];
    let mut pty = Pty::start_with(&arguments, 80, 24, &[]);
    pty.wait("not started").keys("c").wait("DIVERGED here");
    put("reference.safetensors");
    pty.wait("reloaded candidate: 2.q_rope").wait("at 2.q_rope").wait("match");
    std::fs::write(&candidate, "half").expect("written");
    pty.wait("not reloaded");
    put("candidate.safetensors");
    pty.wait("reloaded candidate: ").wait("DIVERGED here").keys("q").end();
}

#[test]
fn no_color_means_no_colours_and_keeps_attributes() {
    let mut pty = Pty::start(80, 24, &[("NO_COLOR", "1"), ("LC_ALL", "C")]);
    pty.wait("not started").keys("c").wait("DIVERGED here").keys("q").end();
    let bytes = pty.bytes();
    assert!(bytes.is_ascii());
    let output = String::from_utf8_lossy(&bytes);
    for color in ["\x1b[38;", "\x1b[48;", "\x1b[;m", "\x1b[m"] {
        assert!(!output.contains(color), "{color:?}");
    }
    assert!(output.contains("\x1b[7m") && output.contains("\x1b[1m"), "reversed and bold survive");
}

#[test]
fn the_terminal_is_never_asked_anything() {
    let mut pty = started(80, 24);
    pty.keys("sc").wait("DIVERGED").keys("q").end();
    let output = String::from_utf8_lossy(&pty.bytes()).into_owned();
    assert!(!output.contains("\x1b[6n") && !output.contains("\x1b]"), "no reports, no titles, no clipboard");
    assert!(output.contains("\x1b[?2026h") && output.contains("\x1b[?2026l"), "frames are whole");
}

#[test]
fn without_a_terminal_there_is_a_sentence() {
    let run = Command::new(env!("CARGO_BIN_EXE_layerstep")).output().expect("the binary starts");
    assert_eq!(run.status.code(), Some(2));
    assert!(run.stdout.is_empty());
    assert!(String::from_utf8_lossy(&run.stderr).contains("needs a terminal"));
}
