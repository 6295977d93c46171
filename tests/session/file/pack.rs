//! Packed sessions: what goes in comes out, nothing of its user does, and hostile zip files are refused.

use std::fs;
use std::io::Write;
use std::path::Path;

use layerstep::debugger::Looks;
use layerstep::debugger::view::Header;
use layerstep::engine::Graph;
use layerstep::model::Fingerprint;
use layerstep::session::pack::{find, open, pack};
use layerstep::session::redact::User;
use layerstep::session::values::{Views, read, to_bytes};
use layerstep::session::{Answer, Line, Text, save};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::example;

const BYTES: &[u8] = b"values, which nobody looks into here: 0000000000000000000000000000000000000000";

/// A file of values, which tells where it was made.
fn values() -> Vec<u8> {
    let start = Header { notes: vec!["the map is /home/me/maps/m.toml".into()], ..Header::default() };
    let views = Views::new("00ff".into(), "{}".into(), start, Vec::new(), Fingerprint::default());
    to_bytes(views, &Looks::new(0), &Graph::default()).expect("bytes").0
}

/// A session with its values.
fn write(folder: &Path, name: &str, text: &Text) {
    save(&folder.join(format!("{name}.session")), text).expect("saved");
    fs::write(folder.join("demo.safetensors"), values()).expect("written");
}

fn user() -> User {
    User { home: Some("/home/me".into()) }
}

#[test]
fn what_is_packed_comes_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    write(folder.path(), "a", &example());
    let packed = pack(&at("a"), &at("out.zip"), &user()).expect("packed");
    let names: Vec<(&str, u64)> = packed.members.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect();
    assert_eq!((names[0].0, names[1].0), ("a.session", "a.safetensors"));
    assert_eq!(packed.bytes, fs::metadata(at("out.zip")).expect("there").len());
    let opened = open(&at("out.zip")).expect("opens");
    let mut expected = example();
    expected.header.values.as_mut().expect("values").file = "a.safetensors".into();
    assert_eq!((opened.name.as_str(), opened.folder.is_none(), &opened.text), ("a", true, &expected));
    let values = opened.values.clone().expect("values");
    let unpacked = read(&values).expect("unpacked");
    assert_eq!(unpacked.views.start.notes, ["the map is m.toml"]);
    assert_eq!(unpacked.views.id, "00ff");
    drop(opened);
    assert!(!values.exists(), "removed with the session");
    // The same session gives the same bytes, wherever and whenever it is packed.
    pack(&at("a.session"), &at("again.zip"), &user()).expect("packed");
    assert_eq!(fs::read(at("out.zip")).expect("read"), fs::read(at("again.zip")).expect("read"));
    // Without values there is one file.
    let mut text = example();
    text.header.values = None;
    save(&at("b.session"), &text).expect("saved");
    assert_eq!(pack(&at("b"), &at("b.session.zip"), &user()).expect("packed").members.len(), 1);
    fs::remove_file(at("b.session")).expect("removed");
    let opened = open(&at("b")).expect("opens");
    assert_eq!((opened.text, opened.name.as_str()), (text, "b"));
}

#[test]
fn sessions_are_opened_by_name_with_their_values() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    write(folder.path(), "a", &example());
    for name in ["a", "a.session"] {
        let opened = open(&at(name)).expect("opens");
        assert_eq!((opened.name.as_str(), opened.folder.as_deref()), ("a", Some(folder.path())));
        assert_eq!(opened.values, Some(at("demo.safetensors")));
    }
    // Both renamed; then the values lost.
    fs::rename(at("demo.safetensors"), at("a.safetensors")).expect("renamed");
    assert_eq!(open(&at("a")).expect("opens").values, Some(at("a.safetensors")));
    fs::remove_file(at("a.safetensors")).expect("removed");
    assert_eq!(open(&at("a")).expect("opens").values, None);
    let error = pack(&at("a"), &at("a.zip"), &user()).expect_err("no values").to_string();
    assert!(error.contains("a.session has values in demo.safetensors, which is not beside it"), "{error}");
    assert!(!at("a.zip").exists());
    let error = find(&at("no")).expect_err("none").to_string();
    assert!(error.starts_with("there is no session ") && error.contains("/no: neither"), "{error}");
    for reaching in ["../demo.safetensors", "/demo.safetensors", "c:x", "a\\b", ""] {
        let mut text = example();
        text.header.values.as_mut().expect("values").file = reaching.into();
        save(&at("reaching.session"), &text).expect("saved");
        let error = open(&at("reaching")).expect_err(reaching).to_string();
        assert!(error.ends_with("where the name of a file beside it was expected"), "{error}");
    }
}

#[test]
fn a_packed_session_tells_nothing_of_its_user() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut text = example();
    text.header.model.path = Some("/home/me/models/m".into());
    text.header.sources[0].file = "/srv/private/ref.safetensors".into();
    text.lines.push(Line {
        text: "source /home/me/scripts/x.script".into(),
        answers: vec![Answer { text: "cannot read /home/me/scripts/x.script".into(), error: true }],
    });
    write(folder.path(), "a", &text);
    let output = folder.path().join("a.session.zip");
    let packed = pack(&folder.path().join("a"), &output, &user()).expect("packed");
    let cut: Vec<&str> = packed.redaction.cut.iter().map(String::as_str).collect();
    assert_eq!(
        cut,
        ["/home/me/maps/m.toml", "/home/me/models/m", "/home/me/scripts/x.script", "/srv/private/ref.safetensors"]
    );
    assert_eq!(packed.redaction.named, Vec::<usize>::new());
    let opened = open(&output).expect("opens");
    let printed = opened.text.to_string();
    assert!(!printed.contains("/home") && !printed.contains("private"), "{printed}");
    assert_eq!(opened.text.lines.last().expect("a line").text, "source x.script");
    assert_eq!(Text::read(&folder.path().join("a.session")).expect("read"), text, "the session itself is left alone");
}

/// A zip file with these members.
fn zipped(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for (name, bytes) in members {
        zip.start_file(*name, options).expect("begun");
        zip.write_all(bytes).expect("written");
    }
    zip.finish().expect("finished").into_inner()
}

#[test]
fn zip_files_that_are_no_packed_sessions_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.session.zip");
    let good = example().to_string();
    let good = good.as_bytes();
    let bare = Text { header: layerstep::session::Header::new(), lines: Vec::new() }.to_string();
    let zeros = vec![0; (256 << 20) + 1];
    for (members, sentence) in [
        (&[][..], "it holds , and one file .session"),
        (&[("a.txt", good)], "it holds a.txt, and one file .session and at most one .safetensors were expected"),
        (&[("../a.session", good)], "it holds ../a.session, and one file"),
        (&[("d/a.session", good), ("a.safetensors", BYTES)], "it holds d/a.session, a.safetensors, and one file"),
        (&[("a.session", good), ("/etc/x.safetensors", BYTES)], "it holds a.session, /etc/x.safetensors, and one"),
        (&[("a.session", good), ("b.session", good)], "it holds a.session, b.session, and one file"),
        (&[("a.session", good), ("b.safetensors", BYTES), ("c", b"")], "it holds 3 files"),
        (&[("a.session", good)], "demo.safetensors is not in it"),
        (&[("a.session", bare.as_bytes()), ("a.safetensors", BYTES)], "its session has no values, and a.safetensors"),
        (&[("a.session", b"format = \"2.0\"")], "is a session of format 2.0"),
        (&[("a.session", b"\xff")], "a.session in"),
        (&[("a.session", &zeros)], "a.session in it is longer than 268435456 bytes, the most that is unpacked"),
    ] {
        fs::write(&path, zipped(members)).expect("written");
        let error = open(&path).expect_err(sentence).to_string();
        assert!(error.contains(sentence) && error.contains("x.session.zip"), "{error}");
    }
    let whole = zipped(&[("a.session", good), ("a.safetensors", BYTES)]);
    fs::write(&path, &whole).expect("written");
    assert!(open(&path).is_ok());
    for at in (0..whole.len()).step_by(3) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x11;
        for bytes in [&whole[..at], &damaged] {
            fs::write(&path, bytes).expect("written");
            if let Err(error) = open(&path) {
                let error = error.to_string();
                assert!(error.contains("x.session.zip") && !error.contains(char::is_control), "{error:?}");
            }
        }
    }
}

#[test]
fn the_command_says_what_it_did() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut text = example();
    text.lines.push(Line {
        text: "# by nobody-else, see HOME/x.script".replace("HOME", "/home/nobody-else"),
        answers: vec![],
    });
    write(folder.path(), "a", &text);
    let run = |arguments: &[&str]| {
        let mut command = assert_cmd::Command::cargo_bin("layerstep").expect("the program");
        let output = command
            .current_dir(folder.path())
            .env("HOME", "/home/nobody-else")
            .arg("pack")
            .args(arguments)
            .output()
            .expect("runs");
        assert!(output.stdout.is_empty());
        (output.status.code(), String::from_utf8(output.stderr).expect("text"))
    };
    let (status, said) = run(&["a"]);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!((status, lines.len()), (Some(0), 4), "{said}");
    assert!(lines[0].starts_with("wrote a.session.zip: ") && lines[0].contains("(a.session 1."), "{said}");
    assert!(lines[0].contains("kB, a.safetensors "), "{said}");
    assert_eq!(lines[1], "cut to its last part: /home/me/maps/m.toml");
    assert_eq!(lines[2], "cut to its last part: /home/nobody-else/x.script");
    assert_eq!(lines[3], "look: your user name stands in line 8 behind the header");
    assert_eq!(run(&["a"]), (Some(2), "error: a.session.zip exists: --force replaces it\n".into()));
    assert_eq!(run(&["a.session", "--force"]).0, Some(0));
    assert_eq!(run(&["a", "-o", "b.zip"]).0, Some(0));
    assert_eq!(fs::read(folder.path().join("b.zip")).ok(), fs::read(folder.path().join("a.session.zip")).ok());
    let (status, said) = run(&["a.session.zip", "-o", "c.zip"]);
    assert_eq!(said, "error: a.session.zip is no packed session that can be used: it is packed already\n");
    assert_eq!(status, Some(2));
}
