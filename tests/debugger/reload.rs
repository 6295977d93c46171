//! Dumps that are written again while they are looked at: what the debugger says, what stays, and what `diff --watch` does.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::time::Duration;

use crate::support::{Reference, repository};
use layerstep::debugger::view::{Status, Stop, TensorRequest, Witness};
use layerstep::debugger::{Command, Debugger, Opener, Session};
use layerstep::diagnose::Witnesses;
use layerstep::dump::{Dump, Options};
use layerstep::formats::{Archive, write_safetensors};
use layerstep::model::Model;
use ndarray::ArrayD;
use tempfile::TempDir;

fn demo(name: &str) -> PathBuf {
    repository("reference/demo").join(name)
}

/// A candidate on disk beside the demo's reference.
#[derive(Clone, Debug)]
struct Files {
    model: Arc<Model>,
    candidate: PathBuf,
    read: Vec<u8>,
}

impl Files {
    fn new(candidate: &Path) -> Self {
        let model = Arc::new(Model::load(&demo("model")).expect("the demo's model"));
        Self { model, candidate: candidate.into(), read: Vec::new() }
    }
}

impl Opener for Files {
    fn changed(&self) -> Vec<Witness> {
        let now = fs::read(&self.candidate).unwrap_or_default();
        if now == self.read { Vec::new() } else { vec![Witness::Candidate] }
    }

    fn open(&self) -> Result<Session, String> {
        let read = fs::read(&self.candidate).map_err(|error| error.to_string())?;
        let mut candidate =
            Dump::open(&self.candidate, &self.model.graph, &Options::default()).map_err(|error| error.to_string())?;
        let fed = candidate.ids().expect("the demo's dumps have ids").clone();
        candidate.bind(&fed.ids, &fed.steps).map_err(|error| error.to_string())?;
        let mut reference =
            Dump::open(&demo("reference.safetensors"), &self.model.graph, &Options::default()).expect("a dump");
        let whole = Reference::open(&demo("reference.safetensors"));
        let (ids, steps) = (fed.ids, fed.steps);
        reference.bind(&whole.ids, &whole.steps).expect("the demo's ids");
        let dumps = Witnesses { reference: Some(Arc::new(reference)), candidate: Some(Arc::new(candidate)) };
        let opener = Some(Box::new(Self { read, ..self.clone() }) as Box<dyn Opener>);
        let notes = vec![format!("{} forwards", steps.len())];
        Ok(Session { notes, opener, ..Session::new(Arc::clone(&self.model), ids, &steps, dumps) })
    }
}

/// Writes the demo's reference again, changed.
fn write(path: &Path, forwards: usize, change: impl Fn(&str, ArrayD<f32>) -> Option<ArrayD<f32>>) {
    let archive = Archive::open(&demo("reference.safetensors")).expect("a dump");
    let mut kept = Vec::new();
    for entry in archive.entries() {
        let step = entry.name.split_once('@').map_or(0, |(_, step)| step.parse().expect("a number"));
        let values = archive.read(&entry.name).expect("a tensor").into_f32();
        kept.extend(
            Some(values)
                .filter(|_| step < forwards)
                .and_then(|v| change(&entry.name, v))
                .map(|v| (entry.name.clone(), v)),
        );
    }
    let views: Vec<_> = kept.iter().map(|(name, values)| (name.clone(), values.view())).collect();
    let mut metadata = archive.metadata().clone();
    let whole = Reference::open(&demo("reference.safetensors"));
    let steps = &whole.steps[..forwards];
    let ids = &whole.ids[..steps.iter().sum()];
    metadata.insert("steps".into(), serde_json::to_string(steps).expect("a list"));
    metadata.insert("input_ids".into(), serde_json::to_string(ids).expect("a list"));
    write_safetensors(path, &views, &metadata).expect("a dump");
}

fn twice(name: &'static str) -> impl Fn(&str, ArrayD<f32>) -> Option<ArrayD<f32>> {
    move |found, values| Some(if found == name { values * 2.0 } else { values })
}

fn without(name: &'static str) -> impl Fn(&str, ArrayD<f32>) -> Option<ArrayD<f32>> {
    move |found, values| (found != name).then_some(values)
}

/// A debugger on the demo's files, gone to an activation, with a breakpoint; the candidate lies in a folder of its own.
fn started(place: &str) -> (TempDir, PathBuf, Debugger) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("candidate.safetensors");
    fs::copy(demo("candidate.safetensors"), &path).expect("a copy");
    let mut debugger = Debugger::new(Files::new(&path).open().expect("a session"));
    for command in [Command::Goto(place.into()), Command::Toggle("*.mlp".into())] {
        execute(&mut debugger, &command).expect("a command");
    }
    (folder, path, debugger)
}

fn execute(debugger: &mut Debugger, command: &Command) -> Result<Stop, String> {
    debugger.execute(command, &AtomicBool::new(false), &mut |_| {})
}

fn reload(debugger: &mut Debugger) -> String {
    let outcome = execute(debugger, &Command::Reload);
    outcome.map_or_else(
        |error| format!("error: {error}"),
        |stop| match stop {
            Stop::Reloaded { sentence, .. } => sentence,
            other => format!("{other:?}"),
        },
    )
}

/// Goes to `place`, changes the candidate, and reloads: it must say so, and stay there.
#[track_caller]
fn check(place: &str, change: impl Fn(&Path), expected: &str) {
    let (_folder, path, mut debugger) = started(place);
    let before = debugger.listing();
    change(&path);
    assert_eq!(reload(&mut debugger), expected);
    let after = debugger.listing();
    assert_eq!((after.forward, after.at), (before.forward, before.at));
    let breakpoints =
        |listing: &layerstep::debugger::view::Listing| listing.rows.iter().filter(|row| row.breakpoint).count();
    assert_eq!(breakpoints(&after), breakpoints(&before));
}

#[test]
fn a_suspect_that_is_on_stays_on() {
    let numbers = |debugger: &Debugger| {
        let row = debugger.listing().at.expect("an op");
        let request = TensorRequest { row, rows: (0, 4), columns: (0, 8), ..TensorRequest::default() };
        debugger.page(&request).expect("a page").numbers
    };
    for forwards in [3, 2] {
        let (_folder, path, mut debugger) = started("2.q_rope");
        let right = numbers(&debugger);
        execute(&mut debugger, &Command::Diagnose("2.q_rope".into())).expect("suspects");
        execute(&mut debugger, &Command::Switch(0)).expect("it is switched on");
        let wrong = numbers(&debugger);
        assert_ne!(wrong, right);
        write(&path, forwards, twice("lm_head"));
        assert!(reload(&mut debugger).starts_with("reloaded candidate: "));
        assert_eq!(debugger.header().suspect.as_deref(), Some("with rope_interleaved in layer 2"));
        assert_eq!(numbers(&debugger), wrong, "{forwards} forwards");
        assert!(execute(&mut debugger, &Command::Switch(0)).is_err(), "what was diagnosed may not be there any more");
    }
}

#[test]
fn patches_stay_and_take_new_values() {
    let patch = |debugger: &mut Debugger, text: &str| {
        let command = Command::parse(text).expect("a line").expect("a command");
        debugger.execute(&command, &AtomicBool::new(false), &mut |_| {}).expect("a patch");
    };
    let numbers = |debugger: &Debugger| {
        let row = debugger.listing().at.expect("an op");
        let request = TensorRequest { row, rows: (0, 20), columns: (0, 500), ..TensorRequest::default() };
        debugger.page(&request).expect("a page").numbers
    };
    for (forwards, change) in
        [(3, "model.layers.1.mlp.down_proj"), (3, "model.layers.2"), (2, "model.layers.1.mlp.down_proj")]
    {
        let (_folder, path, mut debugger) = started("3.q_rope");
        patch(&mut debugger, "patch 0.mlp zero");
        patch(&mut debugger, "patch 1.mlp step=0 from candidate");
        let before = numbers(&debugger);
        write(&path, forwards, twice(change));
        let said = reload(&mut debugger);
        assert!(said.starts_with("reloaded candidate: "), "{said}");
        let texts: Vec<String> = debugger.patches().into_iter().map(|line| line.text).collect();
        assert_eq!(texts, ["patch 0.mlp zero", "patch 1.mlp step=0 from candidate"]);
        let (_folder, path, mut fresh) = started("3.q_rope");
        write(&path, forwards, twice(change));
        reload(&mut fresh);
        patch(&mut fresh, "patch 0.mlp zero");
        patch(&mut fresh, "patch 1.mlp step=0 from candidate");
        assert_eq!(numbers(&debugger), numbers(&fresh), "{change}");
        assert_eq!(numbers(&debugger) != before, change.ends_with("down_proj"), "{change}");
        patch(&mut debugger, "undo");
        patch(&mut fresh, "unpatch 2");
        assert_eq!(numbers(&debugger), numbers(&fresh), "{change}: taken back");
    }

    let (_folder, path, mut debugger) = started("3.q_rope");
    patch(&mut debugger, "patch 1.mlp step=0 from candidate");
    let before = (numbers(&debugger), debugger.patches());
    write(&path, 3, without("model.layers.1.mlp.down_proj"));
    assert_eq!(
        reload(&mut debugger),
        "error: not reloaded, the old comparison stays: patch 1, patch 1.mlp step=0 from candidate, does not fit any more, \
         unpatch 1: the candidate does not have 1.down_proj"
    );
    assert!(before == (numbers(&debugger), debugger.patches()));
}

#[test]
fn what_has_changed_is_said() {
    let all = |path: &Path| write(path, 3, |_, values| Some(values));
    check("2.q_rope", |_| {}, "reloaded: nothing has changed");
    check("2.q_rope", all, "reloaded candidate: 2.q_rope was bad, agrees now; no divergence up to here");
    check("lm_head", all, "reloaded candidate: 2.q_rope and 2.k_rope were bad, agree now; no divergence up to here");
    check("1.probs", all, "reloaded candidate: the same up to here; no divergence up to here, as before");
    check(
        "lm_head",
        |path| write(path, 3, twice("model.layers.3.mlp.down_proj")),
        "reloaded candidate: 2.q_rope and 2.k_rope were bad, agree now; 3.down_proj followed, is bad now; first divergence \
         moves from 2.q_rope to 3.down_proj",
    );
    check(
        "lm_head",
        |path| write(path, 3, without("model.layers.1.mlp.up_proj")),
        "reloaded candidate: 2.q_rope and 2.k_rope were bad, agree now; 1.up_proj is not there any more; no divergence up \
         to here",
    );
    check(
        "1.q_proj",
        |path| write(path, 3, twice("model.layers.0.mlp.up_proj")),
        "reloaded candidate: 0.up_proj agreed, is bad now; first divergence is 0.up_proj",
    );
    check(
        "lm_head",
        |path| write(path, 1, |_, values| Some(values)),
        "reloaded candidate: 15 tokens were fed, before it were 17; all was computed again",
    );
    check(
        "lm_head",
        |path| fs::remove_file(path).expect("removed"),
        "error: not reloaded, the old comparison stays: No such file or directory (os error 2)",
    );
}

#[test]
fn a_half_written_file_is_waited_for() {
    let (_folder, path, mut debugger) = started("2.q_rope");
    let error = || debugger.listing().rows[0].error;
    let first = error();
    let whole = fs::read(&path).expect("a dump");
    for length in [0, 5, 1000, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).expect("written");
        let said = reload(&mut debugger);
        assert!(said.starts_with("error: not reloaded, the old comparison stays: "), "{length}: {said}");
        assert_eq!(debugger.listing().rows[0].error, first);
        assert!(debugger.listing().rows.iter().any(|row| row.status == Status::Diverges));
    }
    let behind = execute(&mut debugger, &Command::Step(40)).expect_err("the file is not the one that was opened");
    assert!(behind.starts_with("the dump was written again, reload reads it: "), "{behind}");
    write(&path, 3, |_, values| Some(values));
    assert!(reload(&mut debugger).starts_with("reloaded candidate: 2.q_rope"));
    assert_eq!(execute(&mut debugger, &Command::Step(1)), Ok(Stop::Done));
}

#[test]
fn an_interrupted_reload_changes_nothing() {
    let (_folder, path, mut debugger) = started("lm_head");
    for forwards in [3, 1] {
        write(&path, forwards, |_, values| Some(values));
        let outcome = debugger.execute(&Command::Reload, &AtomicBool::new(true), &mut |_| {});
        assert_eq!(outcome, Err("not reloaded, the old comparison stays: it was interrupted".into()));
        assert_eq!(debugger.listing().rows.iter().filter(|row| row.status == Status::Diverges).count(), 2);
        assert_eq!(debugger.header().notes, ["3 forwards"]);
    }
    assert!(reload(&mut debugger).starts_with("reloaded candidate: "));
    assert_eq!(debugger.header().notes, ["1 forwards"]);
}

#[test]
fn what_has_no_files_cannot_be_read_again() {
    let (_folder, path, debugger) = started("lm_head");
    drop(debugger);
    for (alone, why) in [(true, "there is no dump"), (false, "the dumps lie inside the program")] {
        let mut session = Files::new(&path).open().expect("a session");
        session.opener = None;
        session.dumps = if alone { Witnesses::default() } else { session.dumps };
        assert_eq!(reload(&mut Debugger::new(session)), format!("error: nothing can be read again: {why}"));
    }
}

/// The arguments that compare the demo's reference with a candidate.
fn arguments(path: &Path) -> [String; 5] {
    let text = |path: &Path| path.to_str().expect("a name").to_string();
    let reference = text(&demo("reference.safetensors"));
    ["--reference".into(), reference, "--candidate".into(), text(path), "--watch".into()]
}

#[test]
fn diff_compares_again_when_the_file_changes() {
    let (_folder, path, _) = started("embed_tokens");
    let mut child = Process::new(env!("CARGO_BIN_EXE_layerstep"))
        .args(["diff", "--model", demo("model").to_str().expect("a name")])
        .args(arguments(&path))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let output = BufReader::new(child.stdout.take().expect("a pipe"));
    let (lines, verdicts) = mpsc::channel();
    std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| lines.send(line)));
    let wait = |word: &str| {
        while !verdicts.recv_timeout(Duration::from_secs(60)).expect("another verdict").starts_with(word) {}
    };
    wait("diverged:");
    fs::write(&path, "half").expect("written");
    write(&path, 3, |_, values| Some(values));
    wait("match:");
    fs::copy(demo("candidate.safetensors"), &path).expect("a copy");
    wait("diverged:");
    child.kill().and_then(|()| child.wait()).expect("it ends");
}
