//! The engine against PyTorch, on the tiny models: op by op from PyTorch's own inputs, chained, and greedy.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the figures are for people: cargo test -- --nocapture")]

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::support::{HEADLESS, Reference, TINY, repository, tiny};
use layerstep::diagnose::{Part, compare_parts};
use layerstep::engine::sampling::argmax;
use layerstep::engine::{Compute, LogitRows, Role, Run, Site, Span, Value, evaluate};
use layerstep::model::Model;

/// One op from PyTorch's own inputs. An independent f32 implementation reaches 1.3e-6.
const LOCAL: f64 = 2e-6;

/// The whole computation up to an op. An independent f32 implementation reaches 1.6e-6.
const CHAINED: f64 = 5e-6;

fn error(model: &Model, reference: &Reference, site: Site, forward: usize, ours: Value) -> f64 {
    let (graph, tokens) = (&model.graph, reference.steps[forward]);
    let expected = Part::whole(reference.read(site, forward, graph).into_shared(), &graph[site], tokens);
    let ours = Part::whole(ours, &graph[site], tokens);
    let first = reference.first(forward);
    compare_parts(site, graph, first, &ours, &expected).expect("both have every row").0.error
}

#[test]
fn every_op_agrees_with_pytorch_on_its_own_inputs() {
    for name in TINY.iter().chain(HEADLESS) {
        let (model, reference) = (tiny(name), Reference::tiny(name));
        let graph = &model.graph;
        let mut worst = (0.0, String::new());
        for (forward, tokens) in reference.steps.iter().enumerate() {
            let first = reference.first(forward);
            let span = Span { ids: &reference.ids[first..first + tokens], first };
            for site in graph.sites() {
                let inputs = reference.inputs(site, forward, graph);
                let views: Vec<_> = inputs.iter().map(|input| input.view()).collect();
                let ours = evaluate(&model, site, span, &views, Compute::default());
                let (error, key) = (error(&model, &reference, site, forward, ours), graph.key(site, forward));
                assert!(error <= LOCAL, "{name}: {key} is off by {error:.2e}");
                if error > worst.0 {
                    worst = (error, key);
                }
            }
        }
        println!("{name}: largest local error {:.2e} at {}", worst.0, worst.1);
    }
}

#[test]
fn every_activation_agrees_with_pytorch_chained() {
    for name in TINY.iter().chain(HEADLESS) {
        let (model, reference) = (tiny(name), Reference::tiny(name));
        let mut worst = (0.0, String::new());
        let mut seen = BTreeSet::new();
        let mut run = Run::new(Arc::clone(&model), &reference.ids[..reference.steps[0]], LogitRows::All);
        for (forward, tokens) in reference.steps.iter().enumerate() {
            if forward > 0 {
                let first = reference.first(forward);
                run.begin_forward(&reference.ids[first..first + tokens]);
            }
            while let Some(site) = run.step() {
                let ours = run.get(site).expect("just computed").clone();
                let key = model.graph.key(site, forward);
                let error = error(&model, &reference, site, forward, ours);
                assert!(error <= CHAINED, "{name}: {key} is off by {error:.2e}");
                if error > worst.0 {
                    worst = (error, key.clone());
                }
                seen.insert(key);
            }
        }
        let others: Vec<String> = reference.names().into_iter().filter(|name| !seen.contains(name)).collect();
        assert!(others.is_empty(), "{name}: PyTorch has what the graph does not know: {others:?}");
        println!("{name}: largest chained error {:.2e} at {}", worst.0, worst.1);
    }
}

#[test]
fn thirty_two_greedy_tokens_are_those_of_pytorch() {
    for name in TINY {
        let text = std::fs::read_to_string(repository("reference/tiny").join(name).join("greedy.json"));
        let expected: serde_json::Value = serde_json::from_str(&text.expect("greedy.json")).expect("JSON");
        let list = |key: &str| serde_json::from_value::<Vec<u32>>(expected[key].clone()).expect("ids");
        let greedy = list("greedy");
        assert_eq!(greedy.len(), 32);
        assert_eq!(generate(&tiny(name), &list("prompt"), 32), greedy, "{name}");
    }
}

fn generate(model: &Arc<Model>, prompt: &[u32], count: usize) -> Vec<u32> {
    let mut run = Run::new(Arc::clone(model), prompt, LogitRows::Last);
    for _ in 0..count {
        run.finish_forward();
        let next = argmax(&run.last_logits().expect("a complete forward").to_vec());
        run.begin_forward(&[next]);
    }
    run.ids()[prompt.len()..].to_vec()
}

/// Every activation of a whole session, in order.
fn record(run: &mut Run, reference: &Reference) -> Vec<(Site, Value)> {
    let mut seen = Vec::new();
    loop {
        while let Some(site) = run.step() {
            seen.push((site, run.get(site).expect("just computed").clone()));
        }
        let forward = run.forward() + 1;
        let Some(tokens) = reference.steps.get(forward) else { return seen };
        let first = reference.first(forward);
        run.begin_forward(&reference.ids[first..first + tokens]);
    }
}

fn start(model: &Arc<Model>, reference: &Reference) -> Run {
    Run::new(Arc::clone(model), &reference.ids[..reference.steps[0]], LogitRows::All)
}

#[test]
fn results_have_the_same_bits_for_any_number_of_threads() {
    for name in TINY {
        let (model, reference) = (tiny(name), Reference::tiny(name));
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            pool.install(|| record(&mut start(&model, &reference), &reference))
        };
        let one = with(1);
        for threads in [2, 3, 8] {
            assert!(one == with(threads), "{name} with {threads} threads");
        }
    }
}

#[test]
fn going_back_and_on_again_gives_the_same_bits() {
    for name in TINY {
        let (model, reference) = (tiny(name), Reference::tiny(name));
        let straight = record(&mut start(&model, &reference), &reference);
        let per_forward = straight.len() / reference.steps.len();
        for forward in [0, 2] {
            for back in 0..=per_forward {
                let mut run = start(&model, &reference);
                record(&mut run, &reference);
                run.rewind_to_forward(forward);
                run.finish_forward();
                run.rewind(back);
                assert_eq!(run.counter(), back);
                if let Some(site) = run.last() {
                    let short = model.graph.short(site);
                    assert_eq!(run.get(site), Some(&straight[forward * per_forward + back - 1].1), "{name} {short}");
                }
                let rest = record(&mut run, &reference);
                assert!(rest == straight[forward * per_forward + back..], "{name}: from op {back} of {forward}");
            }
        }
    }
}

#[test]
fn an_activation_that_is_not_computed_is_not_there() {
    for name in TINY {
        let (model, reference) = (tiny(name), Reference::tiny(name));
        let mut run = start(&model, &reference);
        let graph = &model.graph;
        for counter in 0..=graph.len() {
            for site in graph.sites() {
                let here = run.last().and_then(|last| graph[last].layer);
                let entered =
                    here.or(run.last().filter(|last| Some(last.index()) >= graph.tail()).map(|_| graph.layers() - 1));
                // What no layer owns is there until the first is entered; what is read behind it stays.
                let next = graph[site].layer.map_or(0, |layer| layer + 1);
                let read_later = next < graph.layers() && graph.live(graph.start(next)).any(|live| live == site);
                let stays = graph.is_stream(site) || Some(site.index()) >= graph.tail() || read_later;
                let held = stays || graph[site].layer == entered;
                let expected = site.index() < counter && held;
                assert_eq!(run.get(site).is_some(), expected, "{name}: {} after {counter} ops", graph.name(site));
            }
            run.step();
        }
    }
}

#[test]
fn a_patch_made_while_stopped_reaches_the_model() {
    for name in TINY {
        let (model, reference) = (tiny(name), Reference::tiny(name));
        let mut plain = start(&model, &reference);
        plain.finish_forward();
        let output = model.graph.output().expect("it has logits");
        let logits = plain.get(output).expect("complete").clone();
        for site in model.graph.sites() {
            let short = model.graph.short(site);
            let mut run = start(&model, &reference);
            while run.step() != Some(site) {}
            let clone = run.clone();
            let patched = run.get(site).expect("just computed").mapv(|v| v * 0.5);
            assert!(run.set(site, patched.into_shared()), "{name}: {short}");
            let reached = |mut run: Run| {
                run.finish_forward();
                run.get(output) != Some(&logits)
            };
            assert!(reached(run), "{name}: a patch of {short} changes the logits");
            assert!(!reached(clone), "{name}: a clone made before the patch of {short} does not feel it");
        }
    }
}

#[test]
fn cached_decode_agrees_with_prefill() {
    for name in TINY {
        let (model, reference) = (tiny(name), Reference::tiny(name));
        // Where a sequence outgrows its speeds, cached keys keep those that they were turned by.
        let rope = model.spec.layers.iter().find_map(|layer| layer.attn.rope.as_ref());
        let outgrown = rope.and_then(|rope| rope.scaling.limit()).is_some();
        // Steps of time have a floor in forwards of several tokens only.
        let floored = model.graph.has(Role::TimeStepFloor);
        let mut whole = Run::new(Arc::clone(&model), &reference.ids, LogitRows::Last);
        whole.finish_forward();
        let mut steps = start(&model, &reference);
        record(&mut steps, &reference);
        let (whole, steps) = (whole.last_logits().expect("complete"), steps.last_logits().expect("complete"));
        let difference: f64 = whole.iter().zip(steps).map(|(a, b)| f64::from(a - b).powi(2)).sum();
        let norm: f64 = whole.iter().map(|v| f64::from(*v).powi(2)).sum();
        let apart = (difference / norm).sqrt();
        assert!(if outgrown || floored { apart > 1e-3 } else { apart <= CHAINED }, "{name}: {apart:.2e}");
    }
}
