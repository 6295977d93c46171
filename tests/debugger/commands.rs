//! The debugger without a screen: a script of commands in, a transcript out; and the pages of tensors.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::sessions::{changed, demo, open, session, tiny_session};
use crate::support::{Reference, repository, tiny};
use layerstep::debugger::view::{Listing, Shown, Status, Stop, TensorPage, TensorRequest, Witness};
use layerstep::debugger::{COMMANDS, Command, Debugger};
use layerstep::diagnose::Witnesses;
use layerstep::engine::{LogitRows, Run};
use ndarray::{ArrayD, Axis, Slice};
use proptest::prelude::*;

fn command(line: &str) -> Command {
    let line = line.trim_start_matches('!').replace("huge", "1000000");
    Command::parse(&line).unwrap_or_else(|error| panic!("{line}: {error}")).expect("a command")
}

/// Two digits of an error would change with the order of a sum; below 1e-5 even the first does.
fn error(error: f64) -> String {
    if error < 1e-5 { "~0".into() } else { format!("{error:.0e}") }
}

/// Where the debugger stands, and what it knows of that op.
fn place(listing: &Listing) -> String {
    let status = |status| match status {
        Status::Ahead => "ahead",
        Status::NotCompared => "not compared",
        Status::Agrees => "agrees",
        Status::Equivalent => "other layout",
        Status::Diverges => "DIVERGES",
        Status::Follows => "follows",
    };
    let forward = listing.forward;
    let mut place = listing.at.map_or_else(
        || format!("{forward} start"),
        |at| {
            let row = &listing.rows[at];
            let known = row.error.map_or_else(String::new, error);
            format!("{forward} {} {} {known}", row.short, status(row.status)).trim_end().to_string()
        },
    );
    if let Some(first) = listing.first_divergence {
        write!(place, ", diverged at {}", listing.rows[first].short).expect("a string");
    }
    let breakpoints: Vec<&str> = listing.rows.iter().filter(|row| row.breakpoint).map(|row| &*row.short).collect();
    match breakpoints.as_slice() {
        [] => {}
        few if few.len() <= 4 => write!(place, ", breaks {}", few.join(" ")).expect("a string"),
        many => write!(place, ", {} breaks", many.len()).expect("a string"),
    }
    place
}

/// Listings must hold together whatever was done.
fn consistent(listing: &Listing) {
    let counter = listing.at.map_or(0, |at| at + 1);
    for (index, row) in listing.rows.iter().enumerate() {
        assert_eq!(row.computed, index < counter, "{}", row.name);
        assert_eq!(row.status == Status::Ahead, index >= counter, "{}", row.name);
        assert_eq!(row.error.is_some(), !matches!(row.status, Status::Ahead | Status::NotCompared), "{}", row.name);
    }
    assert!(listing.first_divergence.is_none_or(|first| first < counter));
}

fn execute(debugger: &mut Debugger, line: &str) -> Result<Stop, String> {
    let interrupt = AtomicBool::new(line.starts_with('!'));
    let outcome = debugger.execute(&command(line), &interrupt, &mut |listing| consistent(&listing));
    consistent(&debugger.listing());
    outcome
}

/// A script is the first column of `expected`; `!` before a command sets the flag that interrupts it.
#[track_caller]
fn check(mut debugger: Debugger, expected: &str) {
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let mut transcript = Vec::new();
    for line in &expected {
        let line = line.split(" | ").next().unwrap_or_default().trim();
        let outcome = execute(&mut debugger, line).map_or_else(
            |error| format!("error: {error}"),
            |stop| match stop {
                Stop::Breakpoint { number, .. } => format!("Breakpoint {number}"),
                Stop::Said(lines) => lines.join(" / "),
                other => format!("{other:?}"),
            },
        );
        transcript.push(format!("{line:<26} | {outcome:<11} | {}", place(&debugger.listing())).trim_end().to_string());
    }
    assert!(transcript == expected, "the transcript is\n{}\n", transcript.join("\n"));
}

#[test]
fn what_help_gives_as_examples_works_in_the_demo_or_in_a_model_with_experts() {
    for example in COMMANDS.iter().flat_map(|spec| spec.examples) {
        use Command as C;
        // Of files, recordings and screens; of what another command has made; of a model with a tokenizer.
        let elsewhere = matches!(
            command(example),
            C::Export { .. }
                | C::Source(_)
                | C::Unpatch(_)
                | C::Delete(_)
                | C::Switch(_)
                | C::Save { .. }
                | C::Screen(_)
        );
        if elsewhere {
            continue;
        }
        let outcome_of = |mut debugger: Debugger| {
            for line in ["run", "goto 2.q_rope@0"] {
                execute(&mut debugger, line).unwrap_or_else(|error| panic!("{line}: {error}"));
            }
            execute(&mut debugger, example)
        };
        let outcome = match outcome_of(demo()) {
            Err(error) if error == "this model has no experts" => outcome_of(tiny_session("qwen3_moe")),
            outcome => outcome,
        };
        // What lies ahead cannot be printed there.
        let ahead = matches!(command(example), C::Print(_) | C::Yank(_))
            && outcome.as_ref().is_err_and(|error| error.contains("is not computed yet"));
        assert!(outcome.is_ok() || ahead, "{example}: {outcome:?}");
    }
}

#[test]
fn a_page_begins_where_two_witnesses_are_furthest_apart() {
    let mut debugger = demo();
    execute(&mut debugger, "continue").expect("a divergence");
    let pair = Some((Witness::Candidate, Witness::Reference));
    let row = debugger.listing().at.expect("an op");
    let page = |rows, columns| {
        let shown = Shown::Difference(Witness::Candidate, Witness::Reference);
        let request = TensorRequest {
            row,
            shown,
            rows: (0, rows),
            columns: (0, columns),
            worst: pair,
            ..request(&debugger, "0")
        };
        debugger.page(&request).expect("a page")
    };
    let (_, index) = page(1, 1).summary.absmax.expect("a largest");
    let [head, token, channel] = index[..] else { panic!("three axes") };
    assert_eq!(page(1, 1).place, (head, token, channel));
    let largest = page(1, 1).summary.absmax.expect("a largest").0;
    assert_eq!(f64::from(page(1, 1).numbers[0][0]).abs(), largest);
    // As much as there is room for.
    assert_eq!(page(99, 999).place, (head, 0, 0));
    assert_eq!(page(15, 4).place, (head, 0, channel.min(28)));
}

#[test]
fn the_nearest_name_is_offered_in_the_layer_that_was_named() {
    let mut debugger = demo();
    for (name, near) in [
        ("3.q_rop", "is it 3.q_rope?"),
        ("3.qrope", "is it 3.q_rope?"),
        ("1.rope", "is it 1.q_rope?"),
        ("*.prbs", "is it *.probs?"),
        ("model.layers.2.self_attn.q_porj", "is it 2.q_proj?"),
        ("lm_haed", "is it lm_head?"),
        ("contxt", "is it 0.context?"),
        ("9.q_rope", "the layers are 0 to 3"),
        ("zzz", "names look like 3.q_rope, 3, norm or *.mlp"),
    ] {
        for verb in ["goto", "until", "break", "toggle", "heal", "diagnose"] {
            let error = execute(&mut debugger, &format!("{verb} {name}")).expect_err(name);
            assert!(error.contains(near), "{verb} {name}: {error}");
        }
    }
}

#[test]
fn stepping() {
    check(
        demo(),
        "
        step                       | Done        | 0 embed_tokens agrees ~0
        step 3                     | Done        | 0 0.k_proj agrees ~0
        step 0                     | Done        | 0 0.k_proj agrees ~0
        back                       | Done        | 0 0.q_proj agrees ~0
        back 0                     | Done        | 0 0.q_proj agrees ~0
        step 70                    | Done        | 0 3 follows 2e-1, diverged at 2.q_rope
        step 8                     | Done        | 1 0.q_rope agrees ~0
        back 2                     | Done        | 1 0.k_proj agrees ~0
        back 100                   | Start       | 0 start
        back                       | Start       | 0 start
        step huge                  | End         | 2 lm_head follows 1e-1, diverged at 2.q_rope
        step                       | End         | 2 lm_head follows 1e-1, diverged at 2.q_rope
        back huge                  | Start       | 0 start
        ",
    );
}

#[test]
fn layer_by_layer() {
    check(
        demo(),
        "
        next                       | Done        | 0 embed_tokens agrees ~0
        next                       | Done        | 0 0.input_layernorm agrees ~0
        next                       | Done        | 0 1.input_layernorm agrees ~0
        next 0                     | Done        | 0 1.input_layernorm agrees ~0
        next huge                  | Done        | 0 norm follows 2e-1, diverged at 2.q_rope
        back next                  | Done        | 0 3 follows 2e-1, diverged at 2.q_rope
        back next 2                | Done        | 0 1 agrees ~0
        back next                  | Done        | 0 0 agrees ~0
        back next                  | Done        | 0 embed_tokens agrees ~0
        back next                  | Done        | 0 start
        next 3                     | Done        | 0 embed_tokens agrees ~0
        goto 1.q_proj              | Done        | 0 1.q_proj agrees ~0
        next                       | Done        | 0 2.q_proj agrees ~0
        next                       | Done        | 0 3.q_proj follows 2e-1, diverged at 2.q_rope
        next                       | Done        | 0 norm follows 2e-1, diverged at 2.q_rope
        next                       | Done        | 0 lm_head follows 1e-1, diverged at 2.q_rope
        next                       | Done        | 1 embed_tokens agrees ~0
        next                       | Done        | 1 0.input_layernorm agrees ~0
        next                       | Done        | 1 1.input_layernorm agrees ~0
        goto 3.v_proj              | Done        | 1 3.v_proj follows 7e-1, diverged at 2.q_rope
        back next 2                | Done        | 1 1.v_proj agrees ~0
        back next 0                | Done        | 1 1.v_proj agrees ~0
        back next huge             | Done        | 1 embed_tokens agrees ~0
        restart                    | Done        | 0 start
        step                       | Done        | 0 embed_tokens agrees ~0
        next huge                  | Done        | 0 norm follows 2e-1, diverged at 2.q_rope
        ",
    );
}

#[test]
fn finishing_blocks() {
    check(
        demo(),
        "
        finish                     | Done        | 0 0 agrees ~0
        finish                     | Done        | 0 1 agrees ~0
        step 3                     | Done        | 0 2.k_proj agrees ~0
        finish                     | Done        | 0 2 follows 2e-1, diverged at 2.q_rope
        finish                     | Done        | 0 3 follows 2e-1, diverged at 2.q_rope
        finish                     | Done        | 0 lm_head follows 1e-1, diverged at 2.q_rope
        finish                     | Done        | 1 0 agrees ~0
        goto norm                  | Done        | 1 norm follows 5e-1, diverged at 2.q_rope
        finish                     | Done        | 1 lm_head follows 1e0, diverged at 2.q_rope
        ",
    );
}

#[test]
fn continuing() {
    check(
        demo(),
        "
        continue                   | Divergence  | 0 2.q_rope DIVERGES 9e-1, diverged at 2.q_rope
        continue                   | Divergence  | 0 2.k_rope DIVERGES 8e-1, diverged at 2.q_rope
        continue                   | Divergence  | 1 2.q_rope DIVERGES 1e0, diverged at 2.q_rope
        continue                   | Divergence  | 1 2.k_rope DIVERGES 9e-1, diverged at 2.q_rope
        goto lm_head               | Done        | 1 lm_head follows 1e0, diverged at 2.q_rope
        continue                   | Divergence  | 2 2.q_rope DIVERGES 1e0, diverged at 2.q_rope
        continue                   | Divergence  | 2 2.k_rope DIVERGES 9e-1, diverged at 2.q_rope
        continue                   | End         | 2 lm_head follows 1e-1, diverged at 2.q_rope
        continue                   | End         | 2 lm_head follows 1e-1, diverged at 2.q_rope
        restart                    | Done        | 0 start
        toggle 1.probs             | Done        | 0 start, breaks 1.probs
        toggle norm                | Done        | 0 start, breaks 1.probs norm
        continue                   | Breakpoint 1 | 0 1.probs agrees ~0, breaks 1.probs norm
        continue                   | Divergence  | 0 2.q_rope DIVERGES 9e-1, diverged at 2.q_rope, breaks 1.probs norm
        continue                   | Divergence  | 0 2.k_rope DIVERGES 8e-1, diverged at 2.q_rope, breaks 1.probs norm
        continue                   | Breakpoint 2 | 0 norm follows 2e-1, diverged at 2.q_rope, breaks 1.probs norm
        continue                   | Breakpoint 1 | 1 1.probs agrees ~0, breaks 1.probs norm
        goto 3.mlp                 | Done        | 1 3.down_proj follows 6e-1, diverged at 2.q_rope, breaks 1.probs norm
        continue                   | Breakpoint 2 | 1 norm follows 5e-1, diverged at 2.q_rope, breaks 1.probs norm
        back 3                     | Done        | 1 3.act_mul follows 6e-1, diverged at 2.q_rope, breaks 1.probs norm
        continue                   | Breakpoint 2 | 1 norm follows 5e-1, diverged at 2.q_rope, breaks 1.probs norm
        restart                    | Done        | 0 start, breaks 1.probs norm
        toggle *.k_rope            | Done        | 0 start, 6 breaks
        continue                   | Breakpoint 3 | 0 0.k_rope agrees ~0, 6 breaks
        continue                   | Breakpoint 3 | 0 1.k_rope agrees ~0, 6 breaks
        continue                   | Breakpoint 1 | 0 1.probs agrees ~0, 6 breaks
        back next                  | Done        | 0 0.probs agrees ~0, 6 breaks
        continue                   | Breakpoint 3 | 0 1.k_rope agrees ~0, 6 breaks
        ",
    );
}

#[test]
fn going_to_a_name() {
    check(
        demo(),
        "
        goto model.layers.1.self_attn.q_rope | Done        | 0 1.q_rope agrees ~0
        goto 2.mlp.down_proj       | Done        | 0 2.down_proj follows 3e-1, diverged at 2.q_rope
        goto 0                     | Done        | 0 0 agrees ~0
        goto *.probs               | Done        | 0 0.probs agrees ~0
        goto layers.3.mlp          | Done        | 0 3.down_proj follows 3e-1, diverged at 2.q_rope
        goto q_proj                | Done        | 0 0.q_proj agrees ~0
        goto lm_head               | Done        | 0 lm_head follows 1e-1, diverged at 2.q_rope
        step                       | Done        | 1 embed_tokens agrees ~0
        goto 3.scores              | Done        | 1 3.scores follows 4e-1, diverged at 2.q_rope
        goto embed_tokens          | Done        | 1 embed_tokens agrees ~0
        goto 4.q_proj              | error: there is no 4.q_proj: the layers are 0 to 3 | 1 embed_tokens agrees ~0
        goto q_rop                 | error: no activation is called \"q_rop\": is it 0.q_rope? | 1 embed_tokens agrees ~0
        goto 2.q_norm              | error: no activation is called \"2.q_norm\": names look like 3.q_rope, 3, norm or *.mlp | 1 embed_tokens agrees ~0
        goto nothing               | error: no activation is called \"nothing\": names look like 3.q_rope, 3, norm or *.mlp | 1 embed_tokens agrees ~0
        goto [                     | error: no activation is called \"[\": names look like 3.q_rope, 3, norm or *.mlp | 1 embed_tokens agrees ~0
        toggle nothing             | error: no activation is called \"nothing\": names look like 3.q_rope, 3, norm or *.mlp | 1 embed_tokens agrees ~0
        ",
    );
}

#[test]
fn breakpoints() {
    check(
        demo(),
        "
        toggle 2                   | Done        | 0 start, breaks 2
        toggle 2.q_rope            | Done        | 0 start, breaks 2.q_rope 2
        toggle *.q_rope            | Done        | 0 start, 5 breaks
        toggle *.q_rope            | Done        | 0 start, breaks 2
        toggle layers.2.mlp*       | Done        | 0 start, 6 breaks
        toggle 2                   | Done        | 0 start, 5 breaks
        toggle *                   | Done        | 0 start, 75 breaks
        step 30                    | Done        | 0 1.resid_mid agrees ~0, 75 breaks
        next                       | Breakpoint 5 | 0 1.post_attention_layernorm agrees ~0, 75 breaks
        finish                     | Breakpoint 5 | 0 1.gate_proj agrees ~0, 75 breaks
        goto 3                     | Done        | 0 3 follows 2e-1, diverged at 2.q_rope, 75 breaks
        toggle *                   | Done        | 0 3 follows 2e-1, diverged at 2.q_rope
        ",
    );
}

#[test]
fn interrupted() {
    check(
        demo(),
        "
        !step                      | Interrupted | 0 start
        !continue                  | Interrupted | 0 start
        step 4                     | Done        | 0 0.k_proj agrees ~0
        !step 100                  | Interrupted | 0 0.k_proj agrees ~0
        !goto lm_head              | Interrupted | 0 0.k_proj agrees ~0
        !goto 0.q_proj             | Done        | 0 0.q_proj agrees ~0
        !next                      | Interrupted | 0 0.q_proj agrees ~0
        !finish                    | Interrupted | 0 0.q_proj agrees ~0
        !back                      | Done        | 0 0.input_layernorm agrees ~0
        !restart                   | Done        | 0 start
        step                       | Done        | 0 embed_tokens agrees ~0
        ",
    );
}

#[test]
fn a_model_that_agrees() {
    check(
        tiny_session("qwen3"),
        "
        continue                   | End         | 4 lm_head agrees ~0
        goto 1.q_norm              | Done        | 4 1.q_norm agrees ~0
        next                       | Done        | 4 2.q_norm agrees ~0
        next                       | Done        | 4 norm agrees ~0
        next                       | Done        | 4 lm_head agrees ~0
        restart                    | Done        | 0 start
        finish                     | Done        | 0 0 agrees ~0
        ",
    );
    check(
        tiny_session("mistral"),
        "
        goto 2.scores              | Done        | 0 2.scores agrees ~0
        continue                   | End         | 4 lm_head agrees ~0
        goto 2.probs               | Done        | 4 2.probs agrees ~0
        ",
    );
}

#[test]
fn the_flag_stops_a_long_command_between_two_ops() {
    let mut debugger = demo();
    let interrupt = AtomicBool::new(false);
    let mut reports = 0;
    let mut seen = Listing::default();
    let stop = debugger.execute(&Command::Step(usize::MAX), &interrupt, &mut |listing| {
        reports += 1;
        seen = listing;
        interrupt.store(reports == 3, Ordering::Relaxed);
    });
    assert_eq!((stop, reports), (Ok(Stop::Interrupted), 3));
    assert_eq!(format!("{:?}", debugger.listing()), format!("{seen:?}"));
    assert_eq!(execute(&mut debugger, "step huge"), Ok(Stop::End));
}

fn step_command() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (0usize..100).prop_map(|n| format!("step {n}")),
        4 => (0usize..150).prop_map(|n| format!("back {n}")),
        2 => (0usize..4).prop_map(|n| format!("next {n}")),
        2 => (0usize..4).prop_map(|n| format!("back next {n}")),
        2 => Just("finish".to_string()),
        1 => Just("continue".to_string()),
        1 => Just("!step".to_string()),
        2 => (0usize..3, prop_oneof![Just("q_rope"), Just("mlp"), Just("probs")]).prop_map(|(l, n)| format!("goto {l}.{n}")),
    ]
}

fn shown(debugger: &Debugger) -> String {
    format!("{:?} {:?}", debugger.listing(), debugger.curve())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_script_played_again_shows_the_same(script in prop::collection::vec(step_command(), 1..8), breaks in any::<bool>()) {
        let mut debugger = tiny_session("llama");
        if breaks {
            execute(&mut debugger, "break *.scores").expect("a pattern");
        }
        let start = shown(&debugger);
        let play = |debugger: &mut Debugger| -> Vec<_> {
            script.iter().map(|line| (execute(debugger, line), shown(debugger))).collect()
        };
        let first = play(&mut debugger);
        execute(&mut debugger, "restart").expect("restart");
        prop_assert_eq!(shown(&debugger), start);
        prop_assert!(play(&mut debugger) == first);
    }

    // The session has 5 forwards of 57 ops; a step beyond them, or back before them, is another test.
    #[test]
    fn back_and_on_again_shows_the_same(at in 1usize..=285, count in 0usize..=285) {
        let mut debugger = tiny_session("llama");
        execute(&mut debugger, &format!("step {at}")).expect("step");
        let here = shown(&debugger);
        let count = count.min(at);
        prop_assert_eq!(execute(&mut debugger, &format!("back {count}")), Ok(Stop::Done));
        let there = shown(&debugger);
        execute(&mut debugger, &format!("step {count}")).expect("step");
        prop_assert_eq!(&shown(&debugger), &here);
        execute(&mut debugger, &format!("back {count}")).expect("back");
        prop_assert_eq!(shown(&debugger), there);
    }
}

fn request(debugger: &Debugger, name: &str) -> TensorRequest {
    let row = debugger.model().graph.parse(name).expect("an op of the model").index();
    TensorRequest { row, rows: (0, 64), columns: (0, 64), heatmap: (64, 64), ..TensorRequest::default() }
}

fn page(debugger: &Debugger, name: &str, shown: Shown) -> TensorPage {
    let request = TensorRequest { shown, ..request(debugger, name) };
    debugger.page(&request).unwrap_or_else(|error| panic!("{name}: {error}"))
}

const ENGINE: Shown = Shown::Values(Witness::Engine);
const REFERENCE: Shown = Shown::Values(Witness::Reference);

#[test]
fn a_page_has_the_numbers_of_the_engine() {
    for name in ["qwen3", "mistral"] {
        let mut debugger = tiny_session(name);
        let (model, reference) = (tiny(name), Reference::tiny(name));
        execute(&mut debugger, "goto lm_head").expect("goto");
        execute(&mut debugger, "next").expect("next");
        execute(&mut debugger, "goto lm_head").expect("goto");
        let mut run = Run::new(Arc::clone(&model), &reference.ids[..13], LogitRows::All);
        run.finish_forward();
        run.begin_forward(&reference.ids[13..14]);
        let mut row = 0;
        while let Some(site) = run.step() {
            let (value, site) = (run.get(site).expect("just computed"), model.graph.name(site));
            let planes = if value.ndim() == 3 { value.shape()[0] } else { 1 };
            for plane in 0..planes {
                let request =
                    TensorRequest { row, plane, rows: (0, 99), columns: (0, 999), ..TensorRequest::default() };
                let page = debugger.page(&request).expect("a page");
                assert_eq!((page.name.as_str(), page.planes, page.first_position), (site, planes, 13));
                let lengths: Vec<usize> = page.axes.iter().map(|(_, length)| *length).collect();
                assert_eq!(lengths, value.shape());
                let values = if value.ndim() == 3 { value.index_axis(Axis(0), plane) } else { value.view() };
                let numbers: Vec<f32> = page.numbers.concat();
                assert_eq!(numbers, values.iter().copied().collect::<Vec<_>>(), "{site}");
            }
            row += 1;
        }
    }
}

#[test]
fn a_small_memory_keeps_the_newest_and_what_one_goes_to() {
    let (mut small, mut large) = (tiny_session("llama"), tiny_session("llama"));
    small.limit_memory(1);
    for line in
        ["step 40", "goto 0.q_rope", "goto 1.scores", "next", "goto 0.q_rope@2", "goto 2.mlp", "back 3", "reload"]
    {
        let done = [&mut small, &mut large].map(|debugger| execute(debugger, line).is_ok());
        assert_eq!(done, [line != "reload"; 2], "{line}");
        let listing = small.listing();
        let at = listing.rows[listing.at.expect("somewhere")].short.clone();
        assert_eq!(page(&small, &at, ENGINE).numbers, page(&large, &at, ENGINE).numbers, "{line}");
        let before = request(&small, "embed_tokens");
        assert!(small.page(&before).is_err_and(|error| error.contains("not kept")), "{line}");
        assert!(large.page(&before).is_ok());
    }
}

#[test]
fn a_page_is_cut_at_its_edges() {
    let mut debugger = demo();
    execute(&mut debugger, "goto 0.q_rope").expect("goto");
    let whole = page(&debugger, "0.q_rope", ENGINE);
    assert_eq!((whole.planes, whole.row_axis, whole.column_axis), (4, ("token", 15), ("head_dim", 32)));
    assert_eq!((whole.numbers.len(), whole.numbers[0].len()), (15, 32));
    let cut = |rows, columns| {
        let request = TensorRequest { rows, columns, ..request(&debugger, "0.q_rope") };
        debugger.page(&request).expect("a page").numbers
    };
    let inside: Vec<Vec<f32>> = whole.numbers[12..].iter().map(|row| row[30..].to_vec()).collect();
    assert_eq!(cut((12, 9), (30, 9)), inside);
    assert_eq!(cut((12, usize::MAX), (30, usize::MAX)), inside);
    assert_eq!(cut((15, 1), (0, 1)), Vec::<Vec<f32>>::new());
    assert_eq!(cut((usize::MAX, usize::MAX), (0, 1)), Vec::<Vec<f32>>::new());
    assert_eq!(cut((2, 2), (40, 5)), vec![Vec::<f32>::new(); 2]);
    // Past the last head, the last one is shown.
    let plane = |plane| debugger.page(&TensorRequest { plane, ..request(&debugger, "0.q_rope") }).expect("a page");
    assert_eq!(plane(3).numbers, plane(usize::MAX).numbers);
    assert_ne!(plane(3).numbers, plane(0).numbers);
}

#[test]
fn a_heatmap_cell_is_the_largest_of_what_it_stands_for() {
    let mut debugger = demo();
    execute(&mut debugger, "goto 0.scores").expect("goto");
    let pooled = |name: &str, heatmap| debugger.page(&TensorRequest { heatmap, ..request(&debugger, name) });
    let page = pooled("0.q_rope", (4, 10)).expect("a page");
    assert_eq!((page.pooled, page.heatmap.len(), page.heatmap[0].len()), ((4, 4), 4, 8));
    for (row, cells) in page.heatmap.iter().enumerate() {
        for (column, cell) in cells.iter().enumerate() {
            let rows = page.numbers.iter().skip(4 * row).take(4);
            let inside: Vec<f32> = rows.flat_map(|row| row.iter().skip(4 * column).take(4).copied()).collect();
            assert!(inside.contains(cell) && inside.iter().all(|value| value.abs() <= cell.abs()), "{row} {column}");
        }
    }
    let page = pooled("0.q_rope", (99, 99)).expect("a page");
    assert_eq!((page.pooled, &page.heatmap), ((1, 1), &page.numbers));
    for none in [(0, 9), (9, 0), (0, 0)] {
        assert!(pooled("0.q_rope", none).expect("a page").heatmap.is_empty());
    }
    // Masked scores lose against any number, and do not stretch the colours.
    for shown in [ENGINE, REFERENCE, Shown::Values(Witness::Candidate)] {
        let page = debugger.page(&TensorRequest { shown, heatmap: (5, 5), ..request(&debugger, "0.scores") });
        let page = page.expect("a page");
        assert!(page.heatmap[0][0].is_finite() && page.heatmap[0][1] == f32::NEG_INFINITY, "{:?}", page.heatmap);
        assert!(page.range.0 > -1e4 && page.range.1 < 1e4, "{:?}", page.range);
        assert_eq!((page.summary.negative_infinite, page.summary.nan), (4 * 15 * 14 / 2, 0));
    }
}

#[test]
fn a_difference_is_the_first_less_the_second() {
    let mut debugger = demo();
    execute(&mut debugger, "goto lm_head").expect("goto");
    for name in ["2.q_rope", "2.scores", "lm_head"] {
        let of = |witness| page(&debugger, name, Shown::Values(witness)).numbers;
        let (candidate, reference) = (of(Witness::Candidate), of(Witness::Reference));
        let difference = page(&debugger, name, Shown::Difference(Witness::Candidate, Witness::Reference));
        for ((d, c), r) in
            difference.numbers.iter().flatten().zip(candidate.iter().flatten()).zip(reference.iter().flatten())
        {
            let expected = if c == r { 0.0 } else { c - r };
            assert!(*d == expected && d.is_finite(), "{name}: {d} {c} {r}");
        }
        let against: Vec<(Witness, Witness, bool)> =
            difference.comparisons.iter().map(|line| (line.of, line.against, line.error < 1e-4)).collect();
        assert_eq!(
            against,
            [
                (Witness::Candidate, Witness::Reference, false),
                (Witness::Engine, Witness::Reference, true),
                (Witness::Engine, Witness::Candidate, false)
            ]
        );
        let engine = page(&debugger, name, Shown::Difference(Witness::Engine, Witness::Reference));
        assert!(engine.numbers.iter().flatten().all(|value| value.abs() < 1e-3), "{name}");
    }
    let worst = &page(&debugger, "2.q_rope", ENGINE).comparisons[0].worst;
    assert!(worst.starts_with("token ") && worst.contains("head ") && worst.contains("channel "), "{worst}");
}

#[test]
fn a_ratio_is_the_first_over_the_second_and_its_heatmap_lies_around_one() {
    let mut debugger = demo();
    execute(&mut debugger, "goto 2.scores").expect("goto");
    let of = |shown| page(&debugger, "2.scores", shown);
    let (candidate, reference) = (of(Shown::Values(Witness::Candidate)), of(REFERENCE));
    let ratio = of(Shown::Ratio(Witness::Candidate, Witness::Reference));
    let values = candidate.numbers.iter().flatten().zip(reference.numbers.iter().flatten());
    for (found, (c, r)) in ratio.numbers.iter().flatten().zip(values) {
        let expected = if c == r { 1.0 } else { c / r };
        assert!(found.to_bits() == expected.to_bits(), "{found} {c} {r}");
    }
    assert_eq!((ratio.numbers[0][1], ratio.heatmap[0][1]), (1.0, 0.0), "masked by both");
    assert!((ratio.numbers[1][0] - 1.0 - ratio.heatmap[1][0]).abs() < 1e-6);
    let difference = of(Shown::Difference(Witness::Candidate, Witness::Reference));
    assert!(ratio.summary.rms != difference.summary.rms);
}

#[test]
fn a_magnified_heatmap_begins_where_the_numbers_begin() {
    let mut debugger = demo();
    execute(&mut debugger, "goto 0.q_rope").expect("goto");
    let of = |rows, columns, magnify| {
        let request = TensorRequest { rows, columns, magnify, ..request(&debugger, "0.q_rope") };
        debugger.page(&request).expect("a page")
    };
    let whole = of((0, 64), (0, 64), 1);
    for (rows, columns, magnify, from, size) in [
        ((3, 64), (4, 64), 1, (0, 0), (15, 32)),
        ((3, 64), (4, 64), 2, (3, 4), (8, 16)),
        ((99, 64), (99, 64), 2, (7, 16), (8, 16)),
        ((0, 64), (0, 64), 64, (0, 0), (1, 1)),
    ] {
        let page = of(rows, columns, magnify);
        assert_eq!((page.heat_from, (page.heatmap.len(), page.heatmap[0].len())), (from, size));
        assert_eq!(page.heatmap[0][0].to_bits(), whole.numbers[from.0][from.1].to_bits());
    }
}

#[test]
fn what_is_not_there_is_a_sentence() {
    let mut debugger = demo();
    execute(&mut debugger, "goto 2.q_rope").expect("goto");
    let error = |debugger: &Debugger, name: &str, shown| {
        debugger.page(&TensorRequest { shown, ..request(debugger, name) }).expect_err("nothing to show")
    };
    assert_eq!(error(&debugger, "2.k_rope", ENGINE), "2.k_rope is not computed yet: s steps, g goes there");
    let both = Shown::Difference(Witness::Engine, Witness::Reference);
    assert_eq!(error(&debugger, "norm", both), "norm is not computed yet: s steps, g goes there");
    let beyond = TensorRequest { row: 999, ..TensorRequest::default() };
    assert_eq!(debugger.page(&beyond).expect_err("no such op"), "there is no such op");
    // A dump can be looked at before our engine is there.
    assert_eq!(page(&debugger, "norm", REFERENCE).numbers.len(), 15);

    let alone = tiny_session("qwen2");
    assert_eq!(
        error(&alone, "1.q_rope", Shown::Values(Witness::Candidate)),
        "there is no candidate: give its dump as --candidate"
    );
}

#[test]
fn a_dump_that_goes_away_is_a_sentence_and_nothing_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, away) = (folder.path().join("dump.safetensors"), folder.path().join("away"));
    std::fs::copy(repository("reference/tiny/llama/reference.safetensors"), &path).expect("a copy");
    let (model, reference) = (tiny("llama"), Reference::tiny("llama"));
    let dumps = Witnesses { reference: Some(open(&model, &path, &reference)), candidate: None };
    let mut debugger = session(model, &reference, dumps);
    for line in ["step 3", "goto lm_head"] {
        execute(&mut debugger, line).expect("a command");
        let here = shown(&debugger);
        std::fs::rename(&path, &away).expect("it is there");
        let error = execute(&mut debugger, "step").expect_err("the dump is gone");
        assert!(error.contains("dump.safetensors"), "{error}");
        assert_eq!(shown(&debugger), here);
        std::fs::rename(&away, &path).expect("it is there");
        assert_eq!(execute(&mut debugger, "step"), Ok(Stop::Done));
    }
}

#[test]
fn a_dump_of_some_activations() {
    let only = |name: &str, values| (name.starts_with("model.layers.1.") || name == "lm_head").then_some(values);
    let mut debugger = changed("qwen2", only);
    check_statuses(&mut debugger, "goto lm_head", &["layer 1 agrees", "whole agrees"]);
    let missing = page(&debugger, "0.q_proj", ENGINE);
    assert!(missing.comparisons.is_empty());
    assert_eq!(missing.notes, ["the reference does not have 0.q_proj"]);
    let error = debugger.page(&TensorRequest { shown: REFERENCE, ..request(&debugger, "0.q_proj") });
    assert_eq!(error.expect_err("not dumped"), "the reference does not have 0.q_proj");
    assert_eq!(page(&debugger, "1.q_proj", ENGINE).comparisons.len(), 1);
}

/// Runs `line`, and lists the layers of which something was compared.
fn check_statuses(debugger: &mut Debugger, line: &str, expected: &[&str]) {
    execute(debugger, line).expect("a command");
    let mut found: Vec<String> = Vec::new();
    for row in debugger.listing().rows {
        let layer = row.layer.map_or_else(|| "whole".to_string(), |layer| format!("layer {layer}"));
        match row.status {
            Status::NotCompared | Status::Ahead => {}
            Status::Agrees | Status::Equivalent => found.push(format!("{layer} agrees")),
            Status::Diverges | Status::Follows => found.push(format!("{layer} is wrong")),
        }
    }
    found.dedup();
    assert_eq!(found, expected);
}

#[test]
fn a_dump_of_the_last_row() {
    let last = |_: &str, values: ArrayD<f32>| {
        let axis = Axis(values.ndim() - 2);
        Some(values.slice_axis(axis, Slice::from(-1..)).to_owned())
    };
    let mut debugger = changed("llama", last);
    execute(&mut debugger, "continue").expect("continue");
    assert_eq!(debugger.listing().first_divergence, None);
    execute(&mut debugger, "restart").expect("restart");
    execute(&mut debugger, "goto lm_head").expect("goto");
    for name in ["1.q_proj", "1.k_rope", "1.probs", "norm"] {
        let shown = page(&debugger, name, REFERENCE);
        let ours = page(&debugger, name, ENGINE);
        assert_eq!(shown.numbers.len(), 13);
        assert!(shown.numbers[..12].iter().flatten().all(|value| value.is_nan()), "{name}");
        for (a, b) in shown.numbers[12].iter().zip(&ours.numbers[12]) {
            assert!((a - b).abs() < 1e-4, "{name}: {a} {b}");
        }
        let note = "reference: 1 of 13 rows are there; NaN stands for the others";
        assert!(shown.notes.iter().any(|found| found == note), "{name}: {:?}", shown.notes);
        assert!(ours.comparisons[0].error < 1e-4);
        let difference = page(&debugger, name, Shown::Difference(Witness::Engine, Witness::Reference));
        assert!(difference.numbers[0][0].is_nan() && difference.numbers[12][0].abs() < 1e-4, "{name}");
    }
}

#[test]
fn keys_that_a_window_hides_are_masked_and_not_missing() {
    let mut debugger = tiny_session("mistral");
    for line in ["goto lm_head", "next", "goto lm_head", "next", "goto lm_head"] {
        execute(&mut debugger, line).expect("a command");
    }
    let masked = |name, shown, value: f32| {
        let page = page(&debugger, name, shown);
        assert_eq!((page.numbers.len(), page.numbers[0].len()), (1, 15), "{name}");
        let count = page.numbers[0].iter().filter(|found| **found == value).count();
        assert_eq!((count, page.summary.nan), (9, 0), "{name}: {:?} {:?}", page.numbers, page.notes);
        page.notes
    };
    for (name, value) in [("1.scores", f32::NEG_INFINITY), ("1.probs", 0.0)] {
        assert_eq!(masked(name, ENGINE, value), Vec::<String>::new());
        let notes = masked(name, REFERENCE, value);
        assert_eq!(notes, ["reference: the last 6 of 15 keys"], "{name}");
    }
}

#[test]
fn what_was_done_to_a_tensor_is_said() {
    // [head, token, head_dim] as [1, token, head, head_dim], which is what many engines have.
    let turned = |name: &str, values: ArrayD<f32>| {
        Some(if name.ends_with("q_rope") {
            let turned = values.permuted_axes(vec![1, 0, 2]).insert_axis(Axis(0));
            turned.as_standard_layout().into_owned()
        } else {
            values
        })
    };
    let mut debugger = changed("llama", turned);
    execute(&mut debugger, "goto 1.q_rope").expect("goto");
    let shown = page(&debugger, "1.q_rope", REFERENCE);
    assert_eq!(shown.notes, ["reference: squeezed", "reference: transposed from [token, head, head_dim]"]);
    assert!(shown.comparisons[0].error < 1e-4, "{:?}", shown.comparisons);
    assert_eq!(page(&debugger, "1.q_proj", REFERENCE).notes, Vec::<String>::new());
}

fn any_size() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0usize..40, 1 => any::<usize>(), 1 => Just(usize::MAX)]
}

fn any_shown() -> impl Strategy<Value = Shown> {
    let witness = || prop::sample::select(vec![Witness::Engine, Witness::Reference, Witness::Candidate]);
    let two = || (witness(), witness());
    prop_oneof![
        witness().prop_map(Shown::Values),
        two().prop_map(|(a, b)| Shown::Difference(a, b)),
        two().prop_map(|(a, b)| Shown::Ratio(a, b))
    ]
}

#[test]
fn no_request_panics() {
    let mut debuggers =
        vec![demo(), tiny_session("mistral"), changed("llama", |name, v| name.contains("k_").then_some(v))];
    execute(&mut debuggers[0], "goto 2.k_rope").expect("goto");
    execute(&mut debuggers[1], "step 150").expect("step");
    execute(&mut debuggers[2], "goto 1").expect("goto");
    let span = || (any_size(), any_size());
    let magnified = (span(), prop_oneof![0usize..9, any_size()]);
    let request = (prop_oneof![9 => 0usize..90, 1 => any_size()], any_shown(), any_size(), span(), span(), magnified);
    let config = ProptestConfig { cases: 400, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let outcome = runner.run(&request, |(row, shown, plane, rows, columns, (heatmap, magnify))| {
        let request = TensorRequest { row, shown, plane, rows, columns, heatmap, magnify, worst: None };
        for debugger in &debuggers {
            if let Ok(page) = debugger.page(&request) {
                prop_assert!(page.numbers.len() <= rows.1 && page.heatmap.len() <= heatmap.0);
                prop_assert!(page.numbers.iter().all(|row| row.len() <= columns.1));
                prop_assert!(page.heatmap.iter().all(|row| row.len() <= heatmap.1));
            }
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}
