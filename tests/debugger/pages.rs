//! Pages of attention, logit lens, histogram and cache, against oracles that share no code with them.

mod attention;
mod cache;
mod histogram;
mod lens;

use std::sync::atomic::AtomicBool;

use layerstep::debugger::{Command, Debugger};
use proptest::prelude::*;

/// Computes up to the last op of a forward.
fn finish_forward(debugger: &mut Debugger, forward: usize) {
    let output = output(debugger);
    go(debugger, forward, &output);
}

/// The name of what the model returns.
fn output(debugger: &Debugger) -> String {
    let graph = &debugger.model().graph;
    graph.short(graph.output().expect("a head")).to_string()
}

/// Goes to an op of a forward that lies ahead.
fn go(debugger: &mut Debugger, forward: usize, name: &str) {
    execute(debugger, Command::Step(1));
    while debugger.listing().forward < forward {
        let output = output(debugger);
        execute(debugger, Command::Goto(output));
        execute(debugger, Command::Step(1));
    }
    execute(debugger, Command::Goto(name.into()));
}

fn execute(debugger: &mut Debugger, command: Command) {
    debugger.execute(&command, &AtomicBool::new(false), &mut |_| ()).expect("a command");
}

#[track_caller]
fn close(a: f64, b: f64, tolerance: f64, what: &str) {
    let same = (a - b).abs() <= tolerance || (a.is_nan() && b.is_nan());
    assert!(same, "{what}: {a} and {b}");
}

/// Sizes as people and as machines give them.
fn any_size() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0usize..40, 1 => any::<usize>(), 1 => Just(usize::MAX)]
}
