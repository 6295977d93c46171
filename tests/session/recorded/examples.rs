//! The worked examples.

use std::path::Path;

use super::{all, examples, layerstep, root, run, text};

/// What one example says where it is replayed in some way.
fn check(session: &Path, arguments: &[&str], source: &str) {
    let home = tempfile::tempdir().expect("a folder");
    let output = layerstep(home.path()).arg("replay").arg(session).arg("--check").args(arguments).output();
    let output = output.expect("the program runs");
    assert_eq!(output.status.code(), Some(0), "{}: {}", session.display(), all(&output));
    assert!(text(&output.stderr).contains(source), "{}: {}", session.display(), all(&output));
    assert!(text(&output.stdout).starts_with("as recorded: "), "{}: {}", session.display(), all(&output));
}

#[test]
fn every_example_is_as_recorded_with_its_model_and_from_the_recording_alone() {
    if std::env::var_os("LAYERSTEP_WRITE").is_some() {
        return;
    }
    let sessions = examples("session");
    assert!(sessions.len() >= 6, "{sessions:?}");
    for session in sessions {
        check(&session, &[], "computed again");
        check(&session, &["--recorded"], "only what was recorded");
        // Where nothing else is there.
        let elsewhere = tempfile::tempdir().expect("a folder");
        let alone = elsewhere.path().join(session.file_name().expect("a file"));
        for extension in ["session", "safetensors"] {
            let from = session.with_extension(extension);
            std::fs::copy(&from, alone.with_extension(extension)).expect("an example has both files");
        }
        check(&alone, &[], "is not here");
    }
}

#[test]
fn every_script_is_recorded_as_it_stands() {
    for script in examples("script") {
        let name = script.with_extension("");
        let session = script.with_extension("session");
        if std::env::var_os("LAYERSTEP_WRITE").is_some() {
            let home = tempfile::tempdir().expect("a folder");
            for file in [session.clone(), script.with_extension("safetensors")] {
                drop(std::fs::remove_file(file));
            }
            let output = layerstep(home.path()).arg("run").arg(&script).arg("--record").arg(&name).output();
            let output = output.expect("the program runs");
            assert!(output.status.success(), "{}", all(&output));
        }
        let body = |path: &Path, begin: &str| -> Vec<String> {
            let text = std::fs::read_to_string(path).expect("an example");
            let answer = |line: &&str| line.starts_with("#= ") || line.starts_with("#! ");
            let lines = text.lines().skip_while(|line| !line.starts_with(begin)).skip(1);
            let told = lines.filter(|line| !answer(line)).map(|line| line.trim_end().to_string());
            told.filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
        };
        assert_eq!(body(&session, "---"), body(&script, "debug"), "{}: record it again", script.display());
    }
}

#[test]
fn no_example_tells_where_it_was_made() {
    for session in examples("session") {
        for file in [session.clone(), session.with_extension("safetensors")] {
            let bytes = std::fs::read(&file).expect("an example");
            let home = std::env::var("HOME").unwrap_or("/root".into());
            for word in [root().to_str().expect("a path"), &format!("{home}/"), "/home/", "/Users/", "/tmp/"] {
                let found = bytes.windows(word.len()).any(|window| window == word.as_bytes());
                assert!(!found, "{} names {word}", file.display());
            }
        }
    }
}

#[test]
fn another_model_is_told_from_the_recorded_one() {
    let home = tempfile::tempdir().expect("a folder");
    let session = root().join("sessions/ablation.session");
    let other = root().join("reference/tiny/qwen2");
    let arguments =
        ["replay", session.to_str().expect("a path"), "--check", "--model", other.to_str().expect("a path")];
    let output = run(home.path(), arguments);
    // The dump does not fit it.
    assert_eq!(output.status.code(), Some(2), "{}", all(&output));
}

#[test]
fn a_changed_weight_is_named_and_so_is_what_it_changes() {
    let home = tempfile::tempdir().expect("a folder");
    let model = home.path().join("model");
    std::fs::create_dir(&model).expect("a folder");
    for entry in std::fs::read_dir(root().join("reference/tiny/qwen2")).expect("a model") {
        let path = entry.expect("an entry").path();
        std::fs::copy(&path, model.join(path.file_name().expect("a file"))).expect("copied");
    }
    let script = home.path().join("s.script");
    std::fs::write(&script, "debug model --ids 1,2,3,4\ngoto 1.mlp\nprint rms($)\nrun\n").expect("written");
    let name = home.path().join("s");
    let name = name.to_str().expect("a path");
    let output = run(home.path(), ["run", script.to_str().expect("a path"), "--record", name]);
    assert!(output.status.success(), "{}", all(&output));
    let weights = model.join("model.safetensors");
    let mut bytes = std::fs::read(&weights).expect("weights");
    let last = bytes.len() - 2;
    bytes[last] ^= 0x40;
    std::fs::write(&weights, bytes).expect("written");
    let output = run(home.path(), ["replay", name, "--check"]);
    assert_eq!(output.status.code(), Some(1), "{}", all(&output));
    let said = text(&output.stdout);
    assert!(said.contains(".weight") && said.contains("has other bits than recorded"), "{said}");
}

#[cfg(unix)]
#[test]
fn a_dump_that_was_written_again_is_named() {
    let home = tempfile::tempdir().expect("a folder");
    let sessions = home.path().join("sessions");
    std::fs::create_dir(&sessions).expect("a folder");
    std::os::unix::fs::symlink(root().join("reference"), home.path().join("reference")).expect("a link");
    std::os::unix::fs::symlink(root().join("sessions/dumps"), sessions.join("dumps")).expect("a link");
    let written = std::fs::read_to_string(root().join("sessions/gqa.session")).expect("an example");
    let session = sessions.join("gqa.session");
    let session = session.to_str().expect("a path");
    for (from, to, status, said) in [
        ("", "", 0, "as recorded"),
        ("\nsha256 = \"", "\nsha256 = \"0", 1, "the reference dumps/gqa-reference.safetensors has other bytes"),
    ] {
        std::fs::write(session, written.replacen(from, to, 1)).expect("written");
        let output = run(home.path(), ["replay", session, "--check"]);
        assert_eq!(output.status.code(), Some(status), "{}", all(&output));
        assert!(text(&output.stdout).contains(said), "{}", all(&output));
    }
}
