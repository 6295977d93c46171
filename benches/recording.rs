//! What recording costs: the same steps with a recorder and without, in turn, in one process. Prints the ratio of the
//! medians, and fails nothing: `LAYERSTEP_SMOLLM2=FOLDER cargo bench --bench recording`.

#[path = "../tests/support/mod.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use layerstep::debugger::messages::describe;
use layerstep::debugger::{Command, Debugger, Session};
use layerstep::diagnose::Witnesses;
use layerstep::model::Model;
use layerstep::session::{Backend, DEFAULT_BUDGET, Places, Recorder};
use layerstep::tui::{Colors, Palette, Screen, Theme};
use support::sessions::Plain;

/// How often each way is taken: with 41, the medians of eleven runs lay between 1.2 and 4.0 %.
const ROUNDS: usize = 201;
/// What recording may cost.
const TARGET: f64 = 0.03;
const SIZE: (u16, u16) = (160, 50);

fn main() {
    compare("demo, on the screen", &support::sessions::demo, &on_screen, &on_recorded_screen);
    compare("demo, without one", &support::sessions::demo, &bare, &recorded);
    if let Some(folder) = std::env::var_os("LAYERSTEP_SMOLLM2") {
        let model = Arc::new(Model::load(&std::path::Path::new(&folder).join("smollm2")).expect("SmolLM2"));
        let ids: Vec<u32> = (0..40).map(|token| (token * 7919 + 13) % 49_152).collect();
        let fresh = || Debugger::new(Session::new(Arc::clone(&model), ids.clone(), &[40], Witnesses::default()));
        compare("SmolLM2, on the screen", &fresh, &on_screen, &on_recorded_screen);
        compare("SmolLM2, without one", &fresh, &bare, &recorded);
    }
}

#[expect(clippy::print_stdout, reason = "the line is what a benchmark is for")]
fn compare(
    what: &str,
    fresh: &dyn Fn() -> Debugger,
    plain: &dyn Fn(Debugger, usize) -> f64,
    recorded: &dyn Fn(Debugger, usize) -> f64,
) {
    let ops = fresh().listing().rows.len();
    let (mut without, mut with, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // In turn: who comes second finds a warmer machine, or a more tired one.
        let (a, b) = if round % 2 == 0 {
            let first = plain(fresh(), ops);
            (first, recorded(fresh(), ops))
        } else {
            let first = recorded(fresh(), ops);
            (plain(fresh(), ops), first)
        };
        without.push(a);
        with.push(b);
        ratios.push(b / a);
    }
    let (without, with) = (median(without), median(with));
    let cost = median(ratios) - 1.0;
    let verdict = if cost <= TARGET { "pass" } else { "MISS" };
    let each = |seconds: f64| seconds * 1e3 / ops as f64;
    println!(
        "{what:<24} {:>8.3} ms a step, recorded {:>8.3}: {:>+6.1} % {verdict}",
        each(without),
        each(with),
        cost * 100.0
    );
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// Seconds that the work takes.
fn timed(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

/// A recorder with a journal, as `debug` has one.
fn recorder(debugger: Debugger, folder: &std::path::Path) -> Recorder {
    let mut recorder = Recorder::new(debugger, Places::default(), DEFAULT_BUDGET);
    recorder.keep_journal(folder).expect("a journal");
    recorder
}

/// Every step drawn, its page included.
fn steps<B: Backend>(backend: B, ops: usize) -> f64 {
    let theme = Theme { palette: Palette::Dark, colors: Colors::Full, ascii: false };
    let mut screen = Screen::headless(backend, SIZE.0, SIZE.1, theme);
    timed(|| {
        for _ in 0..ops {
            screen.keys("s");
        }
    })
}

fn on_screen(debugger: Debugger, ops: usize) -> f64 {
    steps(Plain(debugger), ops)
}

fn on_recorded_screen(debugger: Debugger, ops: usize) -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    steps(recorder(debugger, folder.path()), ops)
}

/// Every step described, as a script prints it.
fn bare(mut debugger: Debugger, ops: usize) -> f64 {
    timed(|| {
        for _ in 0..ops {
            let stop = debugger.execute(&Command::Step(1), &AtomicBool::new(false), &mut |_| {}).expect("a step");
            std::hint::black_box(describe(&debugger, &stop));
        }
    })
}

fn recorded(debugger: Debugger, ops: usize) -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let mut recorder = recorder(debugger, folder.path());
    timed(|| {
        for _ in 0..ops {
            recorder.execute(&Command::Step(1), "step", &AtomicBool::new(false), &mut |_| {}).expect("a step");
        }
    })
}
