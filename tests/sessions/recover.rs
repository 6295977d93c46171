//! Going on after a crash.

use super::{all, layerstep, run, text};

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
