//! How long the screen takes from a key to the drawn buffer, the page that is shown included: for the demo, for SmolLM2
//! where `LAYERSTEP_SMOLLM2` says where it is, and for tensors of the sizes that large models have. Prints a table, and
//! fails nothing: `cargo bench --bench screen`.

#[path = "../tests/support/mod.rs"]
mod support;
#[path = "screen/synthetic.rs"]
mod synthetic;
#[path = "screen/table.rs"]
mod table;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use layerstep::debugger::{Command, Debugger, Session};
use layerstep::diagnose::Witnesses;
use layerstep::model::{Model, Tokenizer};
use layerstep::session::{DEFAULT_BUDGET, Places, Recorder};
use layerstep::tui::{Colors, Palette, Screen, Theme};
use synthetic::Shape;
use table::{Table, timed};

/// Milliseconds that a key may take: one frame at 60 a second. An op of SmolLM2, and the way back over one of its layers,
/// may take longer: they are computed.
const KEY: f64 = 16.0;
const STEP: f64 = 20.0;
const LAYER: f64 = 100.0;

/// Columns and rows of the screen.
const SIZE: (u16, u16) = (160, 50);
/// How often a page is asked for anew, each time by a debugger that has made none, and how many keys are pressed then.
const ROUNDS: usize = 5;
const PRESSES: usize = 60;

/// Panes, the key that opens each, and the keys that are pressed in it.
const PANES: &[(&str, &str, &[&str])] = &[
    ("tensor", "<M-2>", &["j", "l", "]", "j", "l", "["]),
    ("histogram", "H", &["<M-1>j", "H"]),
    ("attention", "a", &["]", "[", "}", "{"]),
    ("divergence", "e", &["j", "k"]),
    ("lens", "L", &["j", "}", "k", "{"]),
    ("cache", "K", &["j", "]", "k", "["]),
    ("tokens", "o", &["j", "k"]),
    ("log", "m", &["j", "k"]),
];

fn main() {
    let mut table = Table::new();
    panes(&mut table, "demo", &["e"], &|| at(support::sessions::demo(), "lm_head"));
    if let Some(folder) = std::env::var_os("LAYERSTEP_SMOLLM2") {
        smollm2(&mut table, &std::path::Path::new(&folder).join("smollm2"));
    }
    let wide = synthetic::model(&Shape { vocabulary: 151_936, heads: 4, head_dim: 16 });
    panes(&mut table, "151936 logits x 16", &[], &|| at(session(&wide, 16, None), "lm_head"));
    let long = synthetic::model(&Shape { vocabulary: 256, heads: 32, head_dim: 4 });
    panes(&mut table, "32 x 1024 x 1024", &[], &|| at(session(&long, 1024, None), "0.probs"));
    table.print();
}

fn smollm2(table: &mut Table, folder: &std::path::Path) {
    let model = Arc::new(Model::load(folder).expect("SmolLM2"));
    let tokenizer = Tokenizer::load(folder).expect("its tokenizer").map(Arc::new);
    let fresh = || session(&model, 40, tokenizer.as_ref());
    panes(table, "SmolLM2, 40 tokens", &[], &|| at(fresh(), "15.probs"));

    let mut screen = shown(fresh());
    let ops = screen_ops(&fresh());
    let steps = (0..ops).map(|_| timed(|| screen.keys("s"))).collect();
    table.row("SmolLM2, 40 tokens", "s: the next op", STEP, steps);
    screen.keys("g20.q_rope<ret>");
    let back = (0..20).map(|_| timed(|| screen.keys("N"))).collect();
    table.row("SmolLM2, 40 tokens", "N: a layer back", LAYER, back);
}

fn screen_ops(debugger: &Debugger) -> usize {
    debugger.listing().rows.len()
}

/// Opens every pane of fresh debuggers, and presses keys in it.
fn panes(table: &mut Table, session: &str, more: &[&str], fresh: &dyn Fn() -> Debugger) {
    for (name, opens, keys) in PANES {
        // Without a dump there are no errors to show.
        if *name == "divergence" && !more.contains(opens) {
            continue;
        }
        let mut first = Vec::new();
        let mut last = None;
        for _ in 0..ROUNDS {
            let debugger = fresh();
            // The tensor pane is shown first: opening it is beginning.
            if *name == "tensor" {
                let mut screen = None;
                first.push(timed(|| screen = Some(shown(debugger))));
                last = screen;
            } else {
                let mut screen = shown(debugger);
                first.push(timed(|| screen.keys(opens)));
                last = Some(screen);
            }
        }
        table.row(session, &format!("{name}, first"), KEY, first);
        let Some(mut screen) = last else { continue };
        if *name == "tensor" {
            screen.keys(opens);
        }
        let next = (0..PRESSES).map(|press| timed(|| screen.keys(keys[press % keys.len()]))).collect();
        table.row(session, &format!("{name}, {}", keys.join(" ")), KEY, next);
    }
}

/// As `debug` shows it: with a recorder.
fn shown(debugger: Debugger) -> Screen<Recorder> {
    let recorder = Recorder::new(debugger, Places::default(), DEFAULT_BUDGET);
    Screen::headless(recorder, SIZE.0, SIZE.1, Theme { palette: Palette::Dark, colors: Colors::Full, ascii: false })
}

/// A debugger that stands at an op.
fn at(mut debugger: Debugger, name: &str) -> Debugger {
    let command = Command::Goto(name.into());
    debugger.execute(&command, &AtomicBool::new(false), &mut |_| {}).expect("there is such an op");
    debugger
}

/// A debugger of so many tokens and no dumps.
fn session(model: &Arc<Model>, tokens: usize, tokenizer: Option<&Arc<Tokenizer>>) -> Debugger {
    let vocabulary = model.spec.vocab;
    let ids = (0..tokens).map(|token| ((token * 7919 + 13) % vocabulary) as u32).collect();
    let session = Session::new(Arc::clone(model), ids, &[tokens], Witnesses::default());
    Debugger::new(Session { tokenizer: tokenizer.map(Arc::clone), ..session })
}
