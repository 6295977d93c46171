//! Scripts that fail, or that come from elsewhere than a file of commands. A failure names file, line and text, on
//! stderr, with exit status 2; what was printed before it stays printed.

use std::fs;
use std::path::Path;

use super::{layerstep, layerstep_in, text};

/// Runs `a.script` of a folder with these files; exit status, what is printed, and the error.
fn run(files: &[(&str, &str)], arguments: &[&str]) -> (i32, String, String) {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, lines) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, lines).expect("a script");
    }
    let output = layerstep_in(folder.path(), &[&["run", "a.script"], arguments].concat(), "");
    (output.status.code().expect("no signal"), text(&output.stdout), text(&output.stderr))
}

/// A script of one line, before which another was obeyed.
#[track_caller]
fn refused(line: &str, sentence: &str) {
    let (status, printed, error) = run(&[("a.script", &format!("debug\nprint 1\n{line}\nprint 2\n"))], &[]);
    assert_eq!(error, format!("error: a.script, line 3: {line}: {sentence}\n"));
    assert_eq!((status, printed.as_str()), (2, "1\n"), "{line}");
}

#[test]
fn lines_that_are_no_commands() {
    refused("stpe", "there is no command stpe: is it step?");
    refused("frobnicate", "there is no command frobnicate: help lists them");
    refused("re", "re is the beginning of restart, redo, reload and resize: which?");
    refused("5", "5 is a number without a command: 5s steps 5 times");
    refused("step x", "step takes a number, not x: step [N]");
    refused("step -1", "step takes a number, not -1: step [N]");
    refused("3 step 4", "step takes a number, not 4 3: step [N]");
    refused("3 restart", "restart does not take a number before it: help restart shows what it takes");
    refused("restart now", "restart takes nothing, not now");
    refused("info x", "info takes breakpoints, divergences, experts, model, patches, place, tokens or verdict, not x");
    refused("info tokens 3", "info takes nothing more, not 3");
    refused("back sideways", "back takes continue, forward, next or step, not sideways");
    refused("help xyzzy", "there is no command xyzzy: help lists them");
}

#[test]
fn names_and_conditions_that_are_none() {
    refused("goto", "goto needs an activation: goto ACTIVATION");
    refused("goto 9.q_rope", "there is no 9.q_rope: the layers are 0 to 3");
    refused("until nothing", "no activation is called \"nothing\": names look like 3.q_rope, 3, norm or *.mlp");
    refused("goto norm@x", "@x is no decode step: 3.q_rope@2 is in the second");
    refused("goto norm@3", "there is no decode step 3: the last is 2; generate goes on");
    refused("forward 3", "there is no decode step 3: the last is 2; generate goes on");
    refused("back forward", "there is no forward before the prefill");
    refused("break norm if", "break needs a condition after if: break ACTIVATION|GLOB [if CONDITION]");
    refused("break norm if rms", "column 1: rms is not true or false: compare it, as in rms > 1");
    refused("tbreak norm if rms >", "column 6: an operand is missing at the end");
    refused("watch err >", "column 6: an operand is missing at the end");
    refused("delete", "there are no breakpoints and no watches");
    refused("delete 3", "there is no breakpoint or watch 3: info breakpoints lists them");
    refused("print foo", "column 1: nothing is called foo: names look like 3.q_rope, 3.block and norm");
    refused("print 2.q_rope", "column 1: 2.q_rope is not computed yet: s steps, g goes there");
}

#[test]
fn what_is_not_there() {
    refused("diagnose 2.q_rope", "2.q_rope is not computed yet: s steps, g goes there");
    refused("try 1", "nothing is diagnosed yet: diagnose ACTIVATION does that");
    refused("undo", "no change of patches to take back");
    refused("unpatch 1", "there are no patches");
    refused("reload", "nothing can be read again: the dumps lie inside the program");
    refused(
        "export 0.q_rope q.doc",
        "q.doc: nothing is written to such a file; they end in .npy, .safetensors, .csv, .png, .svg",
    );
    refused("source nowhere", "nowhere cannot be read: No such file or directory (os error 2)");
}

#[test]
fn scripts_that_call_scripts() {
    // A script's calls are seen from where it lies; the error names every line that leads to it.
    let inner = ("in/c.script", "print 3\nstpe\n");
    let files = [("a.script", "print 1\nsource in/b.script\n"), ("in/b.script", "# b\nsource c.script\n"), inner];
    let (status, printed, error) = run(&files, &[]);
    assert_eq!((status, printed.as_str()), (2, "1\n3\n"));
    let trail = "a.script, line 2: source in/b.script: in/b.script, line 2: source c.script: in/c.script, line 2: stpe";
    assert_eq!(error, format!("error: {trail}: there is no command stpe: is it step?\n"));

    let circle = [("a.script", "step\nsource b.script\n"), ("b.script", "source ./a.script\n")];
    let (status, _, error) = run(&circle, &[]);
    let trail = "a.script, line 2: source b.script: b.script, line 1: source ./a.script";
    assert_eq!((status, error), (2, format!("error: {trail}: ./a.script calls itself\n")));

    // The same script twice, one after the other, is no circle; quit ends all of them.
    let twice = "source b.script\nsource b.script\nsource c.script\nprint 9\n";
    let files = [("a.script", twice), ("b.script", "print 1\n"), ("c.script", "print 2\nquit\nprint 3\n")];
    assert_eq!(run(&files, &[]), (0, "1\n1\n2\n".into(), String::new()));
}

#[test]
fn scripts_as_people_write_them() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("reference/demo");
    for (script, expected) in [
        // As Windows ends lines; with comments, empty lines and spaces.
        ("debug\r\n\r\n# a comment\r\n  print 1\r\n\tprint 2 \r\n# the end", "1\n2\n"),
        // The demo without being asked for; without anything at all.
        ("print 1", "1\n"),
        ("", ""),
        ("# first a comment\n\ndebug\nquit\nprint 1\n", ""),
    ] {
        assert_eq!(run(&[("a.script", script)], &[]), (0, expected.into(), String::new()), "{script:?}");
    }
    // What stands behind the script is added to its first line.
    let line = format!("debug {}\ninfo tokens\n", demo.join("model").display());
    let (status, _, error) = run(&[("a.script", &line)], &[]);
    assert_eq!((status, error.contains("nothing to feed")), (2, true), "{error}");
    let (status, printed, _) = run(&[("a.script", &line)], &["--", "--prompt", "Harriet"]);
    assert_eq!((status, printed.lines().count()), (0, 2), "{printed}");
    let (_, printed, _) = run(&[("a.script", &line)], &["--ids", "40,920", "--command", "print 7"]);
    assert_eq!(printed, "7\n    0  prefill         40  \"H\"\n    1  prefill        920  \"arriet\"\n");
    // A prompt is no path, whatever lies beside the script.
    let line = format!("debug {} --prompt a.script\ninfo tokens\n", demo.join("model").display());
    let (_, beside, _) = run(&[("a.script", &line)], &[]);
    let (_, elsewhere, _) = run(&[("a.script", &line.replace("a.script", "'a.script'"))], &[]);
    assert_eq!(beside, elsewhere);
}

#[test]
fn first_lines_that_open_nothing() {
    for (script, says) in [
        ("debug --nonsense", "a.script: unexpected argument '--nonsense' found"),
        ("debug 'half", "a.script: a quote is not closed"),
        ("debug nowhere --ids 1", "nowhere"),
        ("print 1\ndebug", "a.script, line 2: debug: "),
    ] {
        let (status, _, error) = run(&[("a.script", script)], &[]);
        assert_eq!((status, error.lines().count(), error.contains(says)), (2, 1, true), "{script}: {error}");
    }
    let output = layerstep(&["run", "nowhere.script"], "");
    assert_eq!(text(&output.stderr), "error: nowhere.script cannot be read: No such file or directory (os error 2)\n");
}

#[test]
fn commands_from_standard_input_and_from_the_command_line() {
    let check = |arguments: &[&str], input: &str, status: i32, printed: &str, error: &str| {
        let output = layerstep(arguments, input);
        let found = (output.status.code(), text(&output.stdout), text(&output.stderr));
        assert_eq!(found, (Some(status), printed.into(), error.into()), "{arguments:?}");
    };
    check(&["debug", "--batch"], "print 1\nprint 2\n", 0, "1\n2\n", "");
    check(&["debug", "--batch"], "", 0, "", "");
    check(&["debug", "--batch"], "q\nprint 2\n", 0, "", "");
    let error = "error: standard input, line 2: xyzzy: there is no command xyzzy: help lists them\n";
    check(&["debug", "--batch"], "print 1\nxyzzy", 2, "1\n", error);
    // The command line is all there is, then.
    check(&["debug", "--batch", "-c", "print 1", "--command", "print 2"], "print 3", 0, "1\n2\n", "");
    let error = "error: there is no command xyzzy: help lists them\n";
    check(&["debug", "--batch", "-c", "xyzzy", "-c", "print 2"], "", 2, "", error);
}
