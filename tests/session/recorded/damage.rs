//! Sessions that were cut, edited or hit by a stray bit: one sentence that names the file and the place, and never a panic.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use ciborium::Value;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use layerstep::session::{Recording, pack, values};

use super::{all, layerstep, recorded, run};

/// What is done to a session and its values before it is replayed.
type Harm = fn(&Path);

fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).expect("a file");
    change(&mut bytes);
    std::fs::write(path, bytes).expect("written");
}

fn replace(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).expect("a session");
    assert!(text.contains(from), "{from} is not in {text}");
    std::fs::write(path, text.replacen(from, to, 1)).expect("written");
}

fn values_of(session: &Path) -> PathBuf {
    session.with_extension("safetensors")
}

const LINES: &str = "# how it went\nstep 3\nbreak 2.q_rope\ncontinue\nprint rms($)\nmark here\nrun\ninfo verdict\n";

/// What was done, the arguments, the status, and what is said.
type Case = (&'static str, Harm, &'static [&'static str], i32, &'static [&'static str]);

const CASES: &[Case] = &[
    ("nothing", |_| {}, &[], 0, &["as recorded"]),
    ("cut in the header", |s| edit(s, |bytes| bytes.truncate(100)), &[], 2, &["made.session is cut off", "---"]),
    ("empty", |s| edit(s, Vec::clear), &[], 2, &["made.session is no session"]),
    ("no text", |s| edit(s, |bytes| bytes[300] = 0xff), &[], 2, &["made.session, line", "UTF-8"]),
    ("a newer major", |s| replace(s, "\"1.0\"", "\"2.3\""), &[], 2, &["format 2.3", "a newer layerstep opens it"]),
    ("a newer minor", |s| replace(s, "\"1.0\"", "\"1.7\"\nmood = \"fine\""), &[], 0, &["as recorded"]),
    ("another answer", |s| replace(s, "#= breakpoint 1", "#= breakpoint 7"), &[], 1, &["break 2.q_rope: recorded"]),
    (
        "another answer, on tape",
        |s| replace(s, "#= breakpoint 1", "#= breakpoint 7"),
        &["--recorded"],
        1,
        &["break 2.q_rope: recorded"],
    ),
    ("no command", |s| replace(s, "step 3", "stpe 3"), &[], 1, &["there is no command stpe"]),
    ("another command", |s| replace(s, "step 3", "step 4"), &[], 1, &["step 4: recorded"]),
    ("another verdict", |s| replace(s, "word = \"diverged\"", "word = \"match\""), &[], 1, &["the verdict was match"]),
    ("a comment more", |s| replace(s, "# how it went", "# how it went\n# and so on"), &[], 0, &["as recorded"]),
    (
        "values cut",
        |s| edit(&values_of(s), |bytes| bytes.truncate(5000)),
        &[],
        2,
        &["made.safetensors", "whole safetensors"],
    ),
    ("values empty", |s| edit(&values_of(s), Vec::clear), &[], 2, &["made.safetensors"]),
    (
        "a bit of a tensor",
        |s| edit(&values_of(s), |bytes| *bytes.last_mut().expect("bytes") ^= 4),
        &[],
        2,
        &["made.safetensors", "are not those that were written"],
    ),
    ("values gone", |s| std::fs::remove_file(values_of(s)).expect("removed"), &[], 0, &["as recorded"]),
    (
        "values gone, on tape",
        |s| std::fs::remove_file(values_of(s)).expect("removed"),
        &["--recorded"],
        2,
        &["are not there"],
    ),
    (
        "values of another session",
        |s| {
            let other = tempfile::tempdir().expect("a folder");
            std::fs::copy(values_of(&recorded(other.path(), "step\n")), values_of(s)).expect("copied");
        },
        &[],
        2,
        &["belong to another session"],
    ),
    (
        "another model, values gone",
        |s| {
            replace(s, "weights_sha256 = \"", "weights_sha256 = \"0");
            std::fs::remove_file(values_of(s)).expect("removed");
        },
        &[],
        1,
        &["the model demo has another config.json or other weights"],
    ),
    ("no file", |s| std::fs::remove_file(s).expect("removed"), &[], 2, &["made.session"]),
];

#[test]
fn damage_is_named() {
    let home = tempfile::tempdir().expect("a folder");
    let whole = recorded(home.path(), LINES);
    for (name, harm, arguments, status, said) in CASES {
        let folder = tempfile::tempdir().expect("a folder");
        let session = folder.path().join("made.session");
        std::fs::copy(&whole, &session).expect("copied");
        std::fs::copy(values_of(&whole), values_of(&session)).expect("copied");
        harm(&session);
        let output = layerstep(home.path()).arg("replay").arg(&session).arg("--check").args(*arguments).output();
        let output = output.expect("the program runs");
        assert_eq!(output.status.code(), Some(*status), "{name}: {}", all(&output));
        for words in *said {
            assert!(all(&output).contains(words), "{name}, {words:?}: {}", all(&output));
        }
        assert!(!all(&output).contains("panicked"), "{name}: {}", all(&output));
    }
}

#[test]
fn a_stray_bit_is_found_or_does_no_harm() {
    let home = tempfile::tempdir().expect("a folder");
    let session = recorded(home.path(), LINES);
    let whole = std::fs::read(values_of(&session)).expect("values");
    let header = u64::from_le_bytes(whole[..8].try_into().expect("eight bytes")) as usize + 8;
    let mut state = 88_172_645_463_325_252_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for round in 0..600 {
        let mut bytes = whole.clone();
        // Half of them in the header, which is short.
        let at = if round % 2 == 0 { random(header) } else { header + random(bytes.len() - header) };
        bytes[at] ^= 1 << random(8);
        let read = values::from_bytes(&bytes, "made.safetensors");
        if at >= header {
            let error = read.map(|_| ()).expect_err("the bytes of tensors are held by their digests").to_string();
            assert!(error.starts_with("made.safetensors: "), "byte {at}: {error}");
        }
    }
    for length in (0..whole.len()).step_by(997) {
        assert!(values::from_bytes(&whole[..length], "made.safetensors").is_err(), "cut at {length}");
    }
}

/// The values of a session as a newer version of the same format may write them.
fn newer(path: &Path) {
    let bytes = std::fs::read(path).expect("values");
    let file = SafeTensors::deserialize(&bytes).expect("whole");
    let mut views: Value = ciborium::from_reader(file.tensor("views").expect("views").data()).expect("CBOR");
    let unknown = |name: &str| Value::Map(vec![(name.into(), Value::Map(Vec::new()))]);
    let ok = |stop| Value::Map(vec![("Ok".into(), stop)]);
    let events = list(field(&mut views, "events"));
    *field(&mut events[0], "stop") = ok(unknown("Teleported"));
    for event in events.iter_mut() {
        if let Some(Value::Array(row)) = list(field(event, "rows")).first_mut() {
            *field(&mut row[1], "status") = "Enchanted".into();
        }
    }
    let seen = list(field(&mut views, "seen"));
    *field(&mut seen[0], "site") = "model.layers.0.hologram".into();
    *field(&mut seen[1], "witness") = "Oracle".into();
    views.as_map_mut().expect("a map").push(("mood".into(), "fine".into()));
    let mut cbor = Vec::new();
    ciborium::into_writer(&views, &mut cbor).expect("written");
    let digest = layerstep::model::fingerprint::digest(&cbor)[..16].to_string();
    let views = TensorView::new(Dtype::U8, vec![cbor.len()], &cbor).expect("a tensor");
    let kept = file.tensors().into_iter().filter(|(name, _)| name != "views");
    let metadata = HashMap::from([("layerstep.session/1".to_string(), digest)]);
    let newer = safetensors::serialize(kept.chain([("views".to_string(), views)]), Some(metadata)).expect("written");
    std::fs::write(path, newer).expect("written");
}

fn field<'a>(of: &'a mut Value, name: &str) -> &'a mut Value {
    let fields = of.as_map_mut().expect("a map");
    &mut fields.iter_mut().find(|(key, _)| key.as_text() == Some(name)).expect("a field").1
}

fn list(value: &mut Value) -> &mut Vec<Value> {
    value.as_array_mut().expect("a list")
}

#[test]
fn what_only_a_newer_version_has_is_left_out() {
    let home = tempfile::tempdir().expect("a folder");
    let session = recorded(home.path(), LINES);
    let read = || values::read(&values_of(&session)).expect("values");
    let before = read();
    newer(&values_of(&session));
    let after = read();
    assert_eq!(after.views.events.len(), before.views.events.len());
    assert_eq!(after.seen.len(), before.seen.len() - 2);
    let rows = |values: &values::Values| values.views.events.iter().map(|event| event.rows.len()).sum::<usize>();
    assert!(rows(&after) < rows(&before));
    let output = run(home.path(), [OsStr::new("replay"), session.as_os_str(), OsStr::new("--check")]);
    assert!(output.status.success(), "{}", all(&output));
}

#[cfg(unix)]
#[test]
fn a_full_disk_leaves_what_was_saved_before() {
    let home = tempfile::tempdir().expect("a folder");
    let session = recorded(home.path(), "step 3\nmark before\n");
    let before = (std::fs::read(&session).expect("a session"), std::fs::read(values_of(&session)).expect("values"));
    let script = home.path().join("more.script");
    std::fs::write(&script, "debug\nrun\nprint rms(2.mlp)\nsave! made\n").expect("written");
    // Files may have so many blocks of 512 bytes; what is longer fails as it does on a full disk.
    for blocks in [0, 1, 4, 16, 40, 100] {
        let limited = format!("trap '' XFSZ; ulimit -f {blocks}; cd \"$1\"; exec \"$2\" run more.script");
        let mut command = std::process::Command::new("sh");
        let output = command
            .args([OsStr::new("-c"), limited.as_ref(), "sh".as_ref(), home.path().as_ref()])
            .arg(env!("CARGO_BIN_EXE_layerstep"))
            .env("XDG_STATE_HOME", home.path().join("state"))
            .env("XDG_CACHE_HOME", home.path().join("cache"))
            .output()
            .expect("a shell");
        assert_eq!(output.status.code(), Some(2), "{blocks} blocks: {}", all(&output));
        assert!(all(&output).contains("made.s"), "{blocks} blocks: {}", all(&output));
        let now = (std::fs::read(&session).expect("a session"), std::fs::read(values_of(&session)).expect("values"));
        assert!(now == before, "{blocks} blocks: the session before is not whole");
        let left: Vec<_> =
            std::fs::read_dir(home.path()).expect("a folder").map(|e| e.expect("an entry").file_name()).collect();
        assert!(left.iter().all(|name| !name.to_string_lossy().starts_with(".layerstep")), "{blocks} blocks: {left:?}");
        assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".before")), "{blocks} blocks: {left:?}");
    }
    let opened = pack::open(&session).expect("the session before");
    assert!(Recording::of(opened).is_ok_and(|recording| recording.text.lines.len() == 2));
    let output = run(home.path(), [OsStr::new("replay"), session.as_os_str(), OsStr::new("--check")]);
    assert!(output.status.success(), "{}", all(&output));
}
