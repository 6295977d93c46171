//! Journals: what was typed is on the disk, whatever happens to the process.

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use layerstep::session::journal::left_behind;
use layerstep::session::{Header, Journal, Line, Text};

use super::example;

/// Lines whose commands do not end in what looks like another.
fn lines() -> Vec<Line> {
    example().lines
}

#[test]
fn a_journal_cut_anywhere_holds_all_complete_lines() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("deep/a.journal");
    let mut journal = Journal::create(&path, &example().header).expect("begun");
    for line in lines() {
        journal.append(&line).expect("written");
    }
    drop(journal);
    let bytes = fs::read(&path).expect("read");
    assert_eq!(String::from_utf8_lossy(&bytes), example().to_string());
    let body = bytes.windows(5).position(|part| part == b"\n---\n").expect("a body") + 5;
    for end in 0..=bytes.len() {
        fs::write(&path, &bytes[..end]).expect("written");
        if end < body {
            assert!(Journal::recover(&path).is_err(), "cut at {end}");
            assert_eq!(left_behind(path.parent().expect("a folder")).len(), 0, "cut at {end}");
            continue;
        }
        let whole = bytes[..end].iter().rposition(|byte| *byte == b'\n').expect("a line") + 1;
        let expected = Text::from_bytes(&bytes[..whole], "x").expect("whole lines");
        assert_eq!(Journal::recover(&path).expect("recovered"), expected, "cut at {end}");
    }
    // Bytes that are no text are dropped with the line that is cut, and refused elsewhere.
    fs::write(&path, [&bytes, b"step \xff".as_slice()].concat()).expect("written");
    assert_eq!(Journal::recover(&path).expect("recovered"), example());
    fs::write(&path, [&bytes, b"step \xff\n".as_slice()].concat()).expect("written");
    let error = Journal::recover(&path).expect_err("no text").to_string();
    assert!(error.contains("a.journal, line ") && error.ends_with("this line has a byte that is not"), "{error}");
}

#[test]
fn journals_that_nobody_holds_are_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    assert!(left_behind(&at("no")).is_empty());
    let begin = |name: &str| Journal::create(&at(name), &example().header).expect("begun");
    let (mut old, mut new, alive) = (begin("old.journal"), begin("new.journal"), begin("alive.journal"));
    for line in lines() {
        old.append(&line).expect("written");
    }
    new.append(&lines()[2]).expect("written");
    assert!(left_behind(folder.path()).is_empty());
    drop((old, new));
    let age = |name: &str, seconds: u64| {
        let file = File::options().write(true).open(at(name)).expect("opens");
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).expect("set");
    };
    age("old.journal", 100);
    age("new.journal", 50);
    fs::write(at("empty.journal"), "").expect("written");
    fs::write(at("begun.journal"), "# A debug ses").expect("written");
    fs::write(at("other.txt"), example().to_string()).expect("written");
    fs::write(at("bad.journal"), "format = \"1.0\"\nprogram = 7\n---\n").expect("written");
    age("bad.journal", 10);
    assert_eq!(left_behind(folder.path()), ["bad.journal", "new.journal", "old.journal"].map(at));
    drop(alive);
    assert_eq!(left_behind(folder.path()).len(), 4);
}

#[test]
fn a_journal_begins_in_a_file_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.journal");
    fs::write(&path, "something").expect("written");
    let error = Journal::create(&path, &Header::new()).expect_err("there").to_string();
    assert!(error.contains("a.journal cannot be written: File exists"), "{error}");
    assert_eq!(fs::read_to_string(&path).expect("still there"), "something");
    let below = path.join("b.journal");
    assert!(Journal::create(&below, &Header::new()).is_err());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let path = folder.path().join("b.journal");
        Journal::create(&path, &Header::new()).expect("begun");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    }
}
