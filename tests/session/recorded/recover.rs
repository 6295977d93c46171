//! Going on after a crash.

use std::sync::atomic::AtomicBool;

use layerstep::debugger::Command;
use layerstep::debugger::view::Stop;
use layerstep::session::{Backend, DEFAULT_BUDGET, Places, Recorder, Recording, pack};

use super::screens::debugger;
use super::{all, layerstep, root, run, text};

#[test]
fn what_is_to_be_recovered_is_said() {
    let home = tempfile::tempdir().expect("a folder");
    let output = run(home.path(), ["debug", "--batch", "--recover"]);
    assert_eq!(output.status.code(), Some(2), "{}", all(&output));
    assert!(text(&output.stderr).contains("no session was cut off"), "{}", all(&output));
    let nowhere = home.path().join("nowhere.journal");
    let output =
        layerstep(home.path()).args(["debug", "--batch", "--recover"]).arg(&nowhere).output().expect("it runs");
    assert_eq!(output.status.code(), Some(2), "{}", all(&output));
    assert!(text(&output.stderr).contains("nowhere.journal"), "{}", all(&output));
}

#[test]
fn a_script_says_nothing_of_what_it_does_not_save() {
    let home = tempfile::tempdir().expect("a folder");
    let script = home.path().join("marks.script");
    std::fs::write(&script, "debug\nmark here\nstep\n").expect("written");
    let script = script.to_str().expect("a name");
    for arguments in [&["run", script][..], &["debug", "--batch", "-c", "mark here", "-c", "step"]] {
        let output = run(home.path(), arguments);
        assert!(output.status.success() && text(&output.stderr).is_empty(), "{}", all(&output));
        let left = std::fs::read_dir(home.path().join("state/layerstep/journals")).expect("a folder").count();
        assert_eq!(left, 0, "{arguments:?}");
    }
}

#[test]
fn what_was_interrupted_then_stops_where_it_stopped() {
    let folder = tempfile::tempdir().expect("a folder");
    let example = pack::open(&root().join("sessions/gqa.session")).expect("an example").text;
    let mut recorder = Recorder::new(debugger(&example), Places::default(), DEFAULT_BUDGET);
    for (line, interrupted) in [("step 3", false), ("run", true), ("step", false), ("patch 0.mlp zero", false)] {
        let command = Command::parse(line).expect("a command").expect("one");
        let stop = recorder.execute(&command, line, &AtomicBool::new(interrupted), &mut |_| {}).expect("a stop");
        assert_eq!(stop == Stop::Interrupted, interrupted, "{line}: {stop:?}");
    }
    let name = folder.path().join("cut");
    recorder.save(Some(&name), false, &AtomicBool::new(false)).expect("saved");
    let open = || Recording::of(pack::open(&name).expect("it is there")).expect("it is whole");
    for taped in [false, true] {
        let played = if taped { open().debugger().expect("values") } else { debugger(&example) };
        let tally = Recorder::new(played, Places::default(), DEFAULT_BUDGET).replaying(open()).check();
        assert_eq!((tally.commands, &tally.differences[..]), (4, &[][..]), "taped: {taped}");
    }
}
