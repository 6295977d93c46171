//! Experts of a tiny model, beside a dump that chooses others for one token.

use std::sync::atomic::AtomicBool;

use layerstep::debugger::view::{ExpertsPage, ExpertsRequest, Stop, Witness};
use layerstep::debugger::{Command, Debugger};

use crate::support::sessions::{changed, demo};

const TOKEN: usize = 4;

/// The reference gives a token of layer 0 its two experts' neighbours.
fn rerouted() -> Debugger {
    changed("qwen3_moe", |name, mut values| {
        if name.ends_with("layers.0.mlp.routing") {
            let row = values.index_axis(ndarray::Axis(0), TOKEN).to_owned();
            let experts = row.len();
            for expert in 0..experts {
                values[[TOKEN, (expert + 1) % experts]] = row[expert];
            }
        }
        Some(values)
    })
}

fn obey(debugger: &mut Debugger, line: &str) -> Result<Stop, String> {
    let command = Command::parse(line).expect("a command").expect("one");
    debugger.execute(&command, &AtomicBool::new(false), &mut |_| {})
}

fn page(debugger: &Debugger, layer: usize) -> ExpertsPage {
    let request = ExpertsRequest { layer, of: Witness::Engine, against: Some(Witness::Reference) };
    debugger.page(&request).expect("a page")
}

#[test]
fn a_run_stops_where_a_dump_chooses_other_experts() {
    let mut debugger = rerouted();
    obey(&mut debugger, "break *.routing if rerouted").expect("a breakpoint");
    obey(&mut debugger, "tbreak 2.routing").expect("a breakpoint");
    let stop = obey(&mut debugger, "until 0.routing").expect("a stop");
    assert!(matches!(stop, Stop::Breakpoint { number: 1, .. }), "{stop:?}");
    let stop = obey(&mut debugger, "continue").expect("a stop");
    assert!(matches!(stop, Stop::Divergence | Stop::Breakpoint { number: 2, .. }), "{stop:?}");
}

#[test]
fn another_choice_beyond_rounding_is_no_tie() {
    let mut debugger = rerouted();
    obey(&mut debugger, "goto 0.routing").expect("there");
    let page = page(&debugger, 0);
    let others: Vec<(usize, bool)> =
        page.tokens.iter().filter_map(|token| Some((token.position, token.other.as_ref()?.is_tie))).collect();
    assert_eq!(others, [(TOKEN, false)]);
    assert_eq!(page.load.iter().sum::<usize>(), 2 * page.tokens.len());
    assert!(page.tokens.iter().all(|token| token.nearest.is_some_and(|nearest| nearest.margin > 0.0)));
}

#[test]
fn a_forced_expert_takes_the_place_of_the_lightest_and_weighs_what_its_router_says() {
    let mut debugger = rerouted();
    obey(&mut debugger, "goto 0.routing").expect("there");
    let before = page(&debugger, 0);
    let [heavy, light] = before.tokens[TOKEN].experts[..] else { panic!("two experts") };
    let forced = (0..6).find(|expert| ![heavy.0, light.0].contains(expert)).expect("another");
    obey(&mut debugger, &format!("force 0.{forced} token={TOKEN}")).expect("a patch");
    let after = page(&debugger, 0);
    let chosen: Vec<usize> = after.tokens[TOKEN].experts.iter().map(|(expert, _)| *expert).collect();
    assert_eq!(chosen, [heavy.0, forced]);
    let sum: f32 = after.tokens[TOKEN].experts.iter().map(|(_, weight)| weight).sum();
    assert!((sum - 1.0).abs() < 1e-6, "{sum}");
    assert!(after.tokens.iter().zip(&before.tokens).all(|(a, b)| a.position == TOKEN || a.experts == b.experts));
    obey(&mut debugger, "undo").expect("taken back");
    assert_eq!(page(&debugger, 0).tokens, before.tokens);
}

#[test]
fn models_without_experts_say_so() {
    let mut debugger = demo();
    for line in ["info experts", "force 0.1", "ablate expert 0.1"] {
        assert_eq!(obey(&mut debugger, line).expect_err(line), "this model has no experts");
    }
}
