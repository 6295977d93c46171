//! Suspects switched on: every known mistake can be made by our own engine, and one that was diagnosed makes the
//! candidate's tensors.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::support::{Reference, SOME, repository, tiny};
use layerstep::debugger::view::{Diagnosis, Stop, TensorRequest, Witness};
use layerstep::debugger::{Command, Debugger, Motion, Session, Switched};
use layerstep::diagnose::Witnesses;
use layerstep::diagnose::suspects::all;
use layerstep::diagnose::suspects::switch::{alterations, find, place};
use layerstep::dump::{Dump, Options};
use layerstep::engine::{LogitRows, Run};
use layerstep::model::Model;

/// The demo with three witnesses: a candidate that rotates the wrong pairs in layer 2.
fn demo() -> Debugger {
    let model = Arc::new(Model::load(&repository("reference/demo/model")).expect("the demo's model"));
    let path = |name| repository("reference/demo").join(name);
    let Reference { ids, steps, .. } = Reference::open(&path("reference.safetensors"));
    let open = |name| {
        let mut dump = Dump::open(&path(name), &model.graph, &Options::default()).expect("a dump");
        dump.bind(&ids, &steps).expect("the ids fit");
        Some(Arc::new(dump))
    };
    let dumps = Witnesses { reference: open("reference.safetensors"), candidate: open("candidate.safetensors") };
    Debugger::new(Session::new(model, ids, &steps, dumps))
}

fn execute(debugger: &mut Debugger, command: Command) -> Result<Stop, String> {
    debugger.execute(&command, &AtomicBool::new(false), &mut |_| {})
}

#[track_caller]
fn diagnosed(debugger: &mut Debugger, command: Command) -> Diagnosis {
    match execute(debugger, command) {
        Ok(Stop::Diagnosed(diagnosis)) => diagnosis,
        other => panic!("{other:?}"),
    }
}

/// Our engine against another witness, at an op of the current forward.
#[track_caller]
fn error(debugger: &Debugger, name: &str, against: Witness) -> f64 {
    let row = debugger.listing().rows.iter().position(|row| row.short == name).expect("an op");
    let page = debugger.page(&TensorRequest { row, ..TensorRequest::default() }).expect("a page");
    let line = page.comparisons.iter().find(|line| line.of == Witness::Engine && line.against == against);
    line.expect("a comparison").error
}

#[test]
fn what_was_diagnosed_makes_the_candidates_tensors() {
    let mut debugger = demo();
    assert!(execute(&mut debugger, Command::Switch(0)).is_err(), "nothing is diagnosed yet");
    execute(&mut debugger, Command::Continue(1)).expect("a stop");
    let before = format!("{:?} {:?}", debugger.listing(), debugger.curve());
    assert!(execute(&mut debugger, Command::Diagnose("2.q_proj".into())).is_err());
    let diagnosis = diagnosed(&mut debugger, Command::Diagnose("2.q_rope".into()));
    let first = &diagnosis.suspects[0];
    assert_eq!((&*first.id, first.can_be_switched, first.on), ("rope_interleaved", true, false));
    assert!(first.explained > 0.999_999 && error(&debugger, "2.q_rope", Witness::Candidate) > 0.1);

    let diagnosis = diagnosed(&mut debugger, Command::Switch(0));
    assert!(diagnosis.suspects[0].on);
    assert_eq!(debugger.header().suspect.as_deref(), Some("with rope_interleaved in layer 2"));
    assert!(error(&debugger, "2.q_rope", Witness::Candidate) < 1e-6);
    let page = debugger.page(&TensorRequest { row: diagnosis.row, ..TensorRequest::default() }).expect("a page");
    assert_eq!((page.comparisons[0].of, page.comparisons[0].against), (Witness::Engine, Witness::Candidate));
    assert_eq!(
        format!("{:?} {:?}", debugger.listing(), debugger.curve()),
        before,
        "the comparison stays the right one"
    );

    // Keys are rotated by the same code: to the end, decode steps included, our engine is the candidate.
    while execute(&mut debugger, Command::Continue(1)).expect("a stop") != Stop::End {}
    assert!(error(&debugger, "lm_head", Witness::Candidate) < 1e-5);
    assert!(error(&debugger, "lm_head", Witness::Reference) > 1e-3);
    execute(&mut debugger, Command::Restart).expect("the start");
    execute(&mut debugger, Command::Goto("2.q_rope".into())).expect("an op");
    assert!(error(&debugger, "2.q_rope", Witness::Candidate) < 1e-6, "a restart keeps it");

    let diagnosis = diagnosed(&mut debugger, Command::Switch(0));
    assert!(!diagnosis.suspects[0].on && debugger.header().suspect.is_none());
    assert!(error(&debugger, "2.q_rope", Witness::Reference) < 1e-6, "a second time switches it off");
}

/// What was wrong in the prefill is wrong in every decode step, for the same reason.
#[test]
fn a_mistake_has_its_name_in_decode_steps_too() {
    let mut debugger = demo();
    let mut named = Vec::new();
    while execute(&mut debugger, Command::Continue(1)).expect("a stop") != Stop::End {
        let name = debugger.listing().rows[debugger.listing().at.expect("an op")].short.clone();
        let diagnosis = diagnosed(&mut debugger, Command::Diagnose(name.clone()));
        named.push((debugger.listing().forward, name, diagnosis.suspects[0].id.clone()));
    }
    let of = |forward| ["2.q_rope", "2.k_rope"].map(|name| (forward, name.into(), "rope_interleaved".into()));
    assert_eq!(named, [of(0), of(1), of(2)].concat());
}

#[test]
fn a_search_that_is_interrupted_has_found_nothing() {
    let mut debugger = demo();
    execute(&mut debugger, Command::Continue(1)).expect("a stop");
    let diagnose = Command::Diagnose("2.q_rope".into());
    assert_eq!(debugger.execute(&diagnose, &AtomicBool::new(true), &mut |_| {}), Ok(Stop::Interrupted));
    assert!(execute(&mut debugger, Command::Switch(0)).is_err(), "nothing is diagnosed");
    assert_eq!(diagnosed(&mut debugger, diagnose).suspects[0].id, "rope_interleaved");
}

#[test]
fn a_switch_that_is_interrupted_changes_nothing() {
    let mut debugger = demo();
    execute(&mut debugger, Command::Continue(1)).expect("a stop");
    diagnosed(&mut debugger, Command::Diagnose("2.q_rope".into()));
    let interrupted = debugger.execute(&Command::Switch(0), &AtomicBool::new(true), &mut |_| {});
    assert_eq!(interrupted, Ok(Stop::Interrupted));
    assert!(debugger.header().suspect.is_none());
    assert!(error(&debugger, "2.q_rope", Witness::Reference) < 1e-6);
}

#[test]
fn a_suspect_of_the_command_line_is_on_from_the_first_op() {
    let mut debugger = demo();
    let model = Arc::new(Model::load(&repository("reference/demo/model")).expect("the demo's model"));
    let suspect = find("rope_interleaved").expect("a suspect");
    let (words, alterations) = alterations(&model, suspect, &[2], None).expect("it can be made");
    debugger.switch_on(Switched { id: suspect.id, words, alterations });
    execute(&mut debugger, Command::Continue(1)).expect("a stop");
    assert!(error(&debugger, "2.q_rope", Witness::Candidate) < 1e-6);
    assert_eq!(debugger.listing().first_divergence, debugger.listing().at, "the candidate is still the wrong one");
    execute(&mut debugger, Command::Back(Motion::Step, 1)).expect("one back");
    execute(&mut debugger, Command::Step(1)).expect("one on");
    assert!(error(&debugger, "2.q_rope", Witness::Candidate) < 1e-6, "a step back keeps it");
}

/// Every mistake that a model can make changes its logits, or is one of those that may not; nothing panics.
#[test]
fn every_suspect_can_be_made() {
    /// On these models: too small a change for f32, or one that needs decode steps to show.
    const MAY_BE_NOTHING: &[&str] = &["rope_low_precision", "ref_inv_freq_low_precision", "sliding_window"];
    /// What only earlier rows of the last layer show, where no other has attention.
    const NOT_SEEN: &[&str] = &["causal_mask_missing", "mask_off_by_one", "head_merge_order"];
    let mut nothing = Vec::new();
    for name in SOME.iter().chain(&["lfm2", "qwen3_next"]) {
        let (model, reference) = (tiny(name), Reference::tiny(name));
        let layers: Vec<usize> = (0..model.graph.layers()).collect();
        let logits = |altered: Vec<layerstep::engine::Alteration>| {
            let mut run = Run::new(Arc::clone(&model), &reference.ids[..reference.steps[0]], LogitRows::All);
            run.alter(altered);
            run.finish_forward();
            run.begin_forward(&[1]);
            run.finish_forward();
            run.last_logits().expect("a forward").to_owned()
        };
        let right = logits(Vec::new());
        let mut made = 0;
        for suspect in all() {
            for way in 1.. {
                let Ok((words, altered)) = alterations(&model, suspect, &layers, Some(way)) else { break };
                let wrong = logits(altered.clone());
                let may =
                    MAY_BE_NOTHING.contains(&suspect.id) || (*name == "qwen3_next" && NOT_SEEN.contains(&suspect.id));
                if wrong == right && !may {
                    nothing.push(format!("{name}: {} in {}: {words}", suspect.id, place(&altered, &model.graph)));
                }
                made += 1;
            }
        }
        assert!(made > 40, "{name}: {made}");
    }
    assert!(nothing.is_empty(), "these change nothing:\n{}", nothing.join("\n"));
}
