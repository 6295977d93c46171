//! Parts left out, and logits attributed. The oracle is `PyTorch` in float64 with hooks: `reference/ablation.py`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use layerstep::debugger::attribution::attribution;
use layerstep::debugger::sweep::sweep;
use layerstep::debugger::view::{Attribution, Stop, Sweep, Swept};
use layerstep::debugger::{Command, Debugger, Session};
use layerstep::diagnose::Witnesses;
use layerstep::engine::{Op, Role};
use serde_json::Value;

use crate::support::sessions::{demo, tiny_session};
use crate::support::{SOME, repository, tiny};

const KINDS: [Swept; 3] = [Swept::Heads, Swept::Layers, Swept::Mlp];

fn fixture() -> serde_json::Map<String, Value> {
    let text = std::fs::read_to_string(repository("tests/fixtures/ablation.json")).expect("a fixture");
    serde_json::from_str(&text).expect("JSON")
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

#[track_caller]
fn close(a: f64, b: f64, what: &str) {
    assert!((a - b).abs() <= 1e-4, "{what}: {a} and {b}");
}

/// A debugger of some ids, fed in these forwards.
fn fed(name: &str, ids: &[u32], steps: &[usize]) -> Debugger {
    Debugger::new(Session::new(tiny(name), ids.to_vec(), steps, Witnesses::default()))
}

fn obey(debugger: &mut Debugger, line: &str) -> Result<Stop, String> {
    let command = Command::parse(line)?.expect("a command");
    debugger.execute(&command, &AtomicBool::new(false), &mut |_| ())
}

fn said(debugger: &mut Debugger, line: &str) -> Vec<String> {
    match obey(debugger, line).unwrap_or_else(|error| panic!("{line}: {error}")) {
        Stop::Said(lines) | Stop::Patched(lines) => lines,
        other => panic!("{line}: {other:?}"),
    }
}

fn swept(debugger: &Debugger, of: Swept, token: Option<&str>) -> Sweep {
    sweep(debugger, of, token, &AtomicBool::new(false), &mut |_, _| ()).expect("a sweep").expect("nobody interrupts")
}

fn attributed(debugger: &Debugger, token: Option<&str>) -> Attribution {
    attribution(debugger, token, &AtomicBool::new(false)).expect("an attribution").expect("nobody interrupts")
}

#[test]
fn parts_left_out_do_what_they_do_in_pytorch() {
    for (name, model) in &fixture() {
        let ids: Vec<u32> = list(&model["ids"]).iter().map(|id| number(id) as u32).collect();
        let (all, last) = (ids.len(), ids.len() - 1);
        // Fed at once, and the last two tokens one by one: the same.
        for steps in [&[all][..], &[last - 1, 1, 1]] {
            let mut debugger = fed(name, &ids, steps);
            obey(&mut debugger, "run").expect("computed");
            for of in KINDS {
                let found = swept(&debugger, of, None);
                assert_eq!(u64::from(found.token.id), model["token"].as_u64().expect("an id"), "{name}");
                let expected = list(&model[of.name()]);
                // Heads lie in a list for each layer.
                let flat: Vec<&Value> = match of {
                    Swept::Heads => expected.iter().flat_map(list).collect(),
                    Swept::Layers | Swept::Mlp => expected.iter().collect(),
                };
                assert_eq!(found.parts.len(), flat.len(), "{name}");
                for (part, expected) in found.parts.iter().zip(flat) {
                    let what = format!("{name} {steps:?} {} {}", of.name(), part.name());
                    close(part.kl, number(&expected[0]), &what);
                    close(part.change, number(&expected[1]), &what);
                }
                assert!(found.ranked().windows(2).all(|pair| pair[0].kl >= pair[1].kl));
            }
        }
    }
}

#[test]
fn logits_are_attributed_as_in_pytorch() {
    for (name, model) in &fixture() {
        let ids: Vec<u32> = list(&model["ids"]).iter().map(|id| number(id) as u32).collect();
        let found = attributed(&fed(name, &ids, &[ids.len()]), None);
        let expected = &model["attribution"];
        assert_eq!(u64::from(found.token.id), model["token"].as_u64().expect("an id"));
        close(found.logit, number(&expected["logit"]), name);
        close(found.bias, number(&expected["bias"]), name);
        let embedding = list(&expected["embedding"]);
        assert_eq!(found.embedding.len(), embedding.len(), "{name}");
        for (part, expected) in found.embedding.iter().zip(embedding) {
            close(part.value, number(expected), &format!("{name} {}", part.name));
        }
        for (index, (layer, expected)) in found.layers.iter().zip(list(&expected["layers"])).enumerate() {
            let what = format!("{name} layer {index}");
            close(layer.attention, number(&expected["attention"]), &what);
            close(layer.mlp, number(&expected["mlp"]), &what);
            assert_eq!(layer.heads.len(), list(&expected["heads"]).len(), "{what}");
            for (head, expected) in layer.heads.iter().zip(list(&expected["heads"])) {
                close(*head, number(expected), &what);
            }
        }
    }
}

#[test]
fn what_is_attributed_adds_up_to_the_logit_in_every_family() {
    for name in SOME {
        let mut debugger = tiny_session(name);
        // Before the first op, and in a decode step.
        for line in ["info place", "run"] {
            obey(&mut debugger, line).expect("obeyed");
            let position = debugger.position();
            for token in [None, Some("7")] {
                let found = attributed(&debugger, token);
                assert!(found.rest.abs() < 1e-4 * found.logit.abs().max(1.0), "{name}: {found:?}");
                close(found.sum() + found.rest, found.logit, name);
                // What projections add beside their heads is their bias.
                let output = debugger.model().graph.in_layer(0, Role::OProj).expect("an output projection");
                let biased = matches!(debugger.model().graph[output].op, Op::Linear { bias: Some(_), .. });
                for layer in found.layers.iter().filter(|_| !biased) {
                    close(layer.attention, layer.heads.iter().sum(), name);
                }
            }
            assert_eq!(debugger.position(), position, "it stays where it stands");
        }
    }
}

#[test]
fn a_skipped_layer_is_passed_through() {
    for name in SOME {
        let mut debugger = tiny_session(name);
        said(&mut debugger, "skip 0 1.mlp");
        obey(&mut debugger, "goto 1").expect("computed");
        let graph = Arc::clone(&debugger.model().graph);
        let value = |name: &str| debugger.ours(0, graph.parse(name).expect("an activation")).expect("computed").clone();
        let start = graph.short(graph.entering(0).expect("a stream"));
        // What leaves a block may be multiplied by a weight even so.
        let block = graph.in_layer(0, Role::Block).expect("a block");
        if matches!(graph[block].op, Op::ScaledSum { .. }) {
            continue;
        }
        assert_eq!(value("layers.0"), value(start), "{name}");
        if graph.parse("1.resid_mid").is_some() {
            assert_eq!(value("layers.1"), value("1.resid_mid"), "{name}");
        }
        assert_ne!(value("layers.1"), value("layers.0"), "{name}");
        let patches: Vec<(String, usize)> = debugger.patches().into_iter().map(|p| (p.text, p.activations)).collect();
        assert_eq!(patches, [("skip 0 1.mlp".to_string(), 3)]);
        said(&mut debugger, "unpatch 1");
        let value = |name: &str| debugger.ours(0, graph.parse(name).expect("an activation")).expect("computed").clone();
        assert_ne!(value("layers.0"), value(start), "{name}");
    }
}

#[test]
fn a_sweep_says_what_the_patches_say() {
    let mut debugger = tiny_session("llama");
    let found = swept(&debugger, Swept::Layers, None);
    let lines = said(&mut debugger, "skip 2.attn 2.mlp");
    assert!(
        lines[1].ends_with(&format!("KL {:.3} nats", found.parts[2].kl))
            || lines[1].contains(&format!("KL {:.3} nats;", found.parts[2].kl)),
        "{lines:?}"
    );
    // With the layer left out already, leaving it out changes nothing, and its heads do nothing.
    let again = swept(&debugger, Swept::Layers, None);
    assert!(again.parts[2].kl < 1e-9 && again.parts[0].kl > 1e-3, "{again:?}");
    let heads = swept(&debugger, Swept::Heads, None);
    assert!(heads.parts.iter().filter(|part| part.layer == 2).all(|part| part.kl < 1e-9));
}

#[test]
fn a_token_may_be_named() {
    let debugger = demo();
    let followed = |token: &str| sweep(&debugger, Swept::Mlp, Some(token), &AtomicBool::new(false), &mut |_, _| ());
    assert_eq!(followed("7").expect("a sweep").expect("done").token.id, 7);
    assert_eq!(
        followed("99999").expect_err("no such token"),
        format!("there is no token 99999: the vocabulary has ids 0 to {}", debugger.model().spec.vocab - 1)
    );
    assert_eq!(
        followed("Emma").expect_err("no tokenizer"),
        "there is no tokenizer that knows Emma: give the token's id"
    );
}

#[test]
fn what_cannot_be_read_is_said() {
    for (line, expected) in [
        ("skip", "skip what? give a layer: skip 12, 12.attn or 12.mlp"),
        ("skip 1.q_proj", "1.q_proj is no layer: skip 12, 12.attn or 12.mlp"),
        ("skip x", "x is no layer: skip 12, 12.attn or 12.mlp"),
        ("sweep", "sweep takes heads, layers or mlp"),
        ("sweep experts", "sweep takes heads, layers or mlp, not experts"),
    ] {
        assert_eq!(Command::parse(line).expect_err("refused"), expected);
    }
    let mut debugger = tiny_session("llama");
    assert_eq!(obey(&mut debugger, "skip 9").expect_err("refused"), "there is no layer 9: they are 0 to 2");
    assert_eq!(obey(&mut debugger, "skip 1 head=0").expect_err("refused"), "1.o_proj has no heads");
}

#[test]
fn it_can_be_interrupted_and_says_how_far_it_is() {
    let debugger = tiny_session("qwen3");
    let (interrupt, mut seen) = (AtomicBool::new(false), Vec::new());
    let found = sweep(&debugger, Swept::Layers, None, &interrupt, &mut |done, total| {
        seen.push((done, total));
        interrupt.store(done == 2, Ordering::Relaxed);
    });
    assert_eq!((found, seen), (Ok(None), vec![(1, 3), (2, 3)]));
    assert_eq!(attribution(&debugger, None, &AtomicBool::new(true)), Ok(None));
}
