//! A debugger of a tiny model, its commands, and the bits it holds.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use layerstep::debugger::view::{Effect, Stop, TensorRequest};
use layerstep::debugger::{Command, Debugger, PatchRequest, Session};
use layerstep::diagnose::Witnesses;
use layerstep::model::Model;

use crate::support::{Reference, tiny};

/// The whole computation, as in tests/model/forward.rs.
pub(crate) const CHAINED: f64 = 5e-6;

/// What a patch changes at least.
pub(crate) const CHANGED: f64 = 1e-3;

/// A tiny model with 13 tokens and one after them.
pub(crate) fn session(name: &str, token: Option<u32>) -> Debugger {
    let Reference { mut ids, .. } = Reference::tiny(name);
    ids.truncate(14);
    ids[8] = token.unwrap_or(ids[8]);
    debugger(tiny(name), ids, vec![13, 1], Witnesses::default())
}

pub(crate) fn debugger(model: Arc<Model>, ids: Vec<u32>, steps: Vec<usize>, dumps: Witnesses) -> Debugger {
    Debugger::new(Session::new(model, ids, &steps, dumps))
}

pub(crate) fn alone(name: &str) -> Debugger {
    session(name, None)
}

/// What `work` does without interrupts.
pub(crate) fn calmly<T>(work: impl FnOnce(&AtomicBool) -> T) -> T {
    work(&AtomicBool::new(false))
}

/// A command about patches.
pub(crate) fn patch(debugger: &mut Debugger, line: &str) -> Result<String, String> {
    let command = Command::parse(line)?.expect("a command");
    match calmly(|interrupt| debugger.execute(&command, interrupt, &mut |_| {}))? {
        Stop::Patched(lines) => Ok(lines[0].clone()),
        other => panic!("{line}: {other:?}"),
    }
}

pub(crate) fn request(line: &str) -> Result<PatchRequest, String> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    match word {
        "patch" => PatchRequest::parse_patch(rest),
        "ablate" => PatchRequest::parse_ablate(rest),
        "force" => PatchRequest::parse_force(rest),
        "heal" => PatchRequest::parse_heal(rest),
        _ => panic!("no command {word}"),
    }
}

pub(crate) fn execute(debugger: &mut Debugger, command: &Command) -> Stop {
    calmly(|interrupt| debugger.execute(command, interrupt, &mut |_| {})).expect("a stop")
}

pub(crate) fn go(debugger: &mut Debugger, name: &str) {
    execute(debugger, &Command::Goto(name.into()));
}

/// To the end of a forward.
pub(crate) fn finish(debugger: &mut Debugger, forward: usize) {
    let graph = Arc::clone(&debugger.model().graph);
    let output = graph.short(graph.output().expect("a head"));
    while debugger.listing().forward < forward {
        go(debugger, output);
        execute(debugger, &Command::Step(1));
    }
    go(debugger, output);
}

pub(crate) fn row_of(debugger: &Debugger, name: &str) -> usize {
    debugger.listing().rows.iter().position(|row| row.short == name).expect("an op")
}

/// All values of one head, or of an activation without heads.
pub(crate) fn values(debugger: &Debugger, row: usize, plane: usize) -> Vec<Vec<f32>> {
    let all = (0, usize::MAX);
    let request = TensorRequest { row, plane, rows: all, columns: all, ..TensorRequest::default() };
    debugger.page(&request).expect("a page").numbers
}

/// The bits of everything that is computed of the current forward, and where the debugger stands.
pub(crate) fn state(debugger: &Debugger) -> (usize, Vec<Vec<u32>>) {
    let listing = debugger.listing();
    let mut all = Vec::new();
    for row in 0..listing.at.map_or(0, |at| at + 1) {
        let planes = debugger.page(&TensorRequest { row, ..TensorRequest::default() }).expect("a page").planes;
        for plane in 0..planes {
            all.push(values(debugger, row, plane).iter().flatten().map(|value| value.to_bits()).collect());
        }
    }
    (listing.forward, all)
}

/// The last token's logits at the end of a forward.
pub(crate) fn logits(debugger: &Debugger) -> Vec<f32> {
    let output = debugger.model().graph.output().expect("a head");
    values(debugger, output.index(), 0).pop().expect("a row")
}

pub(crate) fn apart(a: &[f32], b: &[f32]) -> f64 {
    let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>();
    let difference = squares(&mut a.iter().zip(b).map(|(a, b)| f64::from(a - b)));
    (difference / squares(&mut b.iter().map(|b| f64::from(*b)))).sqrt()
}

/// What the patches do to the current forward's last token.
pub(crate) fn effect(debugger: &mut Debugger) -> Effect {
    calmly(|interrupt| debugger.effect(interrupt)).expect("an effect").expect("nobody interrupts")
}
