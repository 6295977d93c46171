//! What is typed on the command line.

use super::started;
use crate::pty::Pty;

const UP: &str = "\x1b[A";

#[test]
fn commands_are_typed_and_completed() {
    let mut pty = started(120, 30);
    pty.keys(":break *.probs if nan\r").wait("breakpoint 1: break *.probs if nan (4 ops)");
    pty.keys(":bre\t").wait(":break").keys(" 2.q_r\t").wait(":break 2.q_rope").keys("\r");
    pty.wait("breakpoint 2: break 2.q_rope");
    pty.keys(":info br\t\r").wait("hit 0 times").keys("\x1b");
    pty.wait_until("the list is closed", |pty| !pty.text().contains("hit 0 times"));
    pty.keys(":stpe\r").wait("there is no command stpe: is it step?");
    pty.keys(":break norm if\r").wait("break needs a condition after if");
    pty.keys("c").wait("stopped at 2.q_rope by 2");
    assert_eq!(pty.keys(":quit\r").end().exit_code(), 0);
}

#[test]
fn lines_are_remembered_by_the_next_run() {
    let state = tempfile::tempdir().expect("a folder");
    let environment = [("XDG_STATE_HOME", state.path().to_str().expect("a name"))];
    let mut pty = Pty::start(100, 30, &environment);
    pty.wait("not started").keys(":watch max > 30\r").wait("watch 1: watch max > 30");
    pty.keys(":break norm\r").wait("breakpoint 2: break norm").keys("q").end();
    let mut pty = Pty::start(100, 30, &environment);
    pty.wait("not started").keys(":").keys(UP).wait(":break norm").keys(UP).wait(":watch max > 30");
    pty.keys("\r").wait("watch 1: watch max > 30");
    // Only the lines that begin like this.
    pty.keys(":br").keys(UP).wait(":break norm").keys("\r").wait("breakpoint 2: break norm").keys("q").end();
    let kept = std::fs::read_to_string(state.path().join("layerstep/history")).expect("a history");
    assert_eq!(kept, "watch max > 30\nbreak norm\nwatch max > 30\nbreak norm\n");
}

#[test]
fn a_patch_says_what_it_does_to_the_logits() {
    let mut pty = started(200, 40);
    pty.keys(":patch 1.mlp token=-1 zero\r").wait("\" K\" 41.9 %").wait("became \" K\" 27.8 %").wait("KL 0.081 nats");
    pty.keys("U").wait("taken back: patch 1.mlp token=-1 zero");
    pty.keys(":ablate 0.mlp\r").wait("\" K\" is now number 307");
    assert_eq!(pty.keys("q").end().exit_code(), 0);
}

#[test]
fn what_is_yanked_goes_to_the_clipboard_once() {
    let mut pty = started(100, 30);
    pty.keys(":yank 6 * 7\r").wait("copied 1 line").keys("s").wait("at embed_tokens").keys("jk").keys("q").end();
    let output = String::from_utf8_lossy(&pty.bytes()).into_owned();
    // "42", as the clipboard takes it.
    assert_eq!((output.matches("\x1b]52;").count(), output.matches("\x1b]52;c;NDI=").count()), (1, 1));
}

#[test]
fn scripts_are_obeyed_and_one_that_calls_itself_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, lines: &str| {
        let path = folder.path().join(name).to_str().expect("a name").to_string();
        std::fs::write(&path, lines.replace("SELF", &path)).expect("a script");
        path
    };
    let (good, circle) =
        (file("good", "step 3\r\n# a comment\nbreak norm\n"), file("circle", "head next\nsource SELF\n"));
    let mut pty = started(150, 30);
    pty.keys(&format!(":source {good}\r")).wait("breakpoint 1: break norm").wait("at 0.q_proj");
    pty.keys(&format!(":source {circle}\r")).wait("circle calls itself without end");
    pty.keys("s").wait("at 0.k_proj");
    assert_eq!(pty.keys(":source nowhere\r").wait("nowhere cannot be read").keys("q").end().exit_code(), 0);
}
