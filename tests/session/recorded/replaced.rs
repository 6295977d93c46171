//! What lies where a session is saved: another session is replaced only where that was asked for, and what is no session
//! never is.

use std::path::Path;

use super::{all, layerstep, recorded, root};

/// What is there before.
#[derive(Clone, Copy, PartialEq)]
enum Before {
    Nothing,
    /// Both files of a session.
    Session,
    /// Only its values, as after a kill between the two.
    Values,
    /// `made.safetensors` of a model.
    Weights,
    /// The same, and the text of a session.
    TextAndWeights,
}

/// What is there before, the arguments, what is typed, the status, what is said.
type Case = (Before, &'static [&'static str], &'static str, i32, &'static str);

const CASES: &[Case] = &[
    (Before::Nothing, &["--record", "made"], "step\n", 0, "saved made.session"),
    (Before::Nothing, &["--record", "made", "--replace"], "step\n", 0, "saved made.session"),
    (Before::Session, &["--record", "made"], "step\n", 2, "made.session is there already: --replace"),
    (Before::Session, &["--record", "made.session"], "step\n", 2, "made.session is there already: --replace"),
    (Before::Session, &["--record", "made", "--replace"], "step\n", 0, "saved made.session"),
    (Before::Session, &[], "step\nsave made\n", 2, "made.session is there already: save! in the place of save"),
    (Before::Session, &[], "step\nsave! made\n", 0, "saved made.session"),
    (Before::Values, &["--record", "made"], "step\n", 0, "saved made.session"),
    (Before::Weights, &["--record", "made"], "step\n", 2, "made.safetensors is there already and holds no session"),
    (Before::Weights, &["--record", "made", "--replace"], "step\n", 2, "made.safetensors is there already and holds"),
    (Before::Weights, &[], "step\nsave! made\n", 2, "made.safetensors is there already and holds no session"),
    (Before::TextAndWeights, &[], "step\nsave! made\n", 2, "made.safetensors is there already and holds no session"),
    (Before::Nothing, &["--replace"], "step\n", 2, "--record <NAME>"),
];

fn contents(folder: &Path) -> Vec<Option<Vec<u8>>> {
    ["made.session", "made.safetensors"].map(|name| std::fs::read(folder.join(name)).ok()).into()
}

#[test]
fn only_what_was_to_be_replaced_is() {
    let home = tempfile::tempdir().expect("a folder");
    let session = recorded(home.path(), "step 3\nmark before\n");
    let weights = root().join("reference/tiny/qwen2/model.safetensors");
    for (before, arguments, typed, status, said) in CASES {
        let folder = tempfile::tempdir().expect("a folder");
        let put = |from: &Path, name: &str| {
            std::fs::copy(from, folder.path().join(name)).expect("copied");
        };
        if matches!(before, Before::Session | Before::TextAndWeights) {
            put(&session, "made.session");
        }
        match before {
            Before::Session | Before::Values => put(&session.with_extension("safetensors"), "made.safetensors"),
            Before::Weights | Before::TextAndWeights => put(&weights, "made.safetensors"),
            Before::Nothing => {}
        }
        let was = contents(folder.path());
        let script = folder.path().join("s.script");
        std::fs::write(&script, format!("debug\n{typed}")).expect("written");
        let output =
            layerstep(home.path()).current_dir(folder.path()).args(["run", "s.script"]).args(*arguments).output();
        let output = output.expect("the program runs");
        assert_eq!(output.status.code(), Some(*status), "{arguments:?} {typed:?}: {}", all(&output));
        assert!(all(&output).contains(said), "{arguments:?} {typed:?}: {}", all(&output));
        let is = contents(folder.path());
        if *status == 0 {
            assert!(is.iter().all(Option::is_some) && is != was, "{arguments:?} {typed:?}");
        } else {
            assert!(is == was, "{arguments:?} {typed:?}");
        }
    }
}
