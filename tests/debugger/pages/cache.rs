//! The KV cache, against what `PyTorch` dumped forward by forward.

use layerstep::debugger::Command;
use layerstep::debugger::view::{CacheRequest, Half, Witness};
use layerstep::engine::Role;
use layerstep::model::Model;
use proptest::prelude::*;

use super::{any_size, close, execute, finish_forward, go};
use crate::support::sessions::{changed, demo, tiny_session};
use crate::support::{Reference, tiny};

fn whole(half: Half) -> CacheRequest {
    CacheRequest { half, cells: (64, 64), head: Some((1, 1)), head_cells: (64, 64) }
}

/// The vector of one position and head: `[kv_head, token, head_dim]`, or `[token, kv_head * head_dim]`.
fn vector(reference: &Reference, model: &Model, half: Half, layer: usize, position: usize, head: usize) -> Vec<f32> {
    let mut forwards = (0..reference.steps.len()).rev();
    let forward = forwards.find(|forward| reference.first(*forward) <= position).expect("the prefill");
    let token = position - reference.first(forward);
    let role = if half == Half::Keys { Role::KRope } else { Role::VProj };
    let site = model.graph.in_layer(layer, role).expect("every layer attends");
    let values = reference.read(site, forward, &model.graph);
    let dim = model.spec.layers[layer].attn.head_dim;
    (0..dim)
        .map(|i| if half == Half::Keys { values[[head, token, i]] } else { values[[token, head * dim + i]] })
        .collect()
}

#[test]
fn norms_and_heads_are_those_of_the_dump() {
    for name in ["llama", "mistral"] {
        let (model, reference) = (tiny(name), Reference::tiny(name));
        let attn = &model.spec.layers[0].attn;
        for forward in [0, 2] {
            let mut debugger = tiny_session(name);
            finish_forward(&mut debugger, forward);
            for half in [Half::Keys, Half::Values] {
                let page = debugger.page(&whole(half)).expect("a cache");
                let positions = 13 + forward;
                assert_eq!((page.positions, page.filled, page.pooled), (positions, 3, (1, 1)));
                assert_eq!(page.new, reference.first(forward)..positions);
                assert_eq!(page.bytes, 2 * 3 * positions * attn.kv_heads * attn.head_dim * 4);
                for layer in 0..3 {
                    for position in 0..positions {
                        let heads = 0..attn.kv_heads;
                        let all = heads.flat_map(|head| vector(&reference, &model, half, layer, position, head));
                        let norm = all.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt();
                        close(f64::from(page.grid[layer][position]), norm, 1e-4, name);
                    }
                    assert_eq!(
                        (page.layers[layer].positions, page.layers[layer].window),
                        (positions, model.spec.layers[layer].attn.window)
                    );
                    assert!(page.layers[layer].error.is_some_and(|error| error < 1e-5), "{:?}", page.layers);
                }
                let head = page.head.expect("layer 1 is there");
                let group = attn.heads / attn.kv_heads;
                assert_eq!((head.layer, head.kv_head, head.readers), (1, 1, group..2 * group));
                for (position, cells) in head.grid.iter().enumerate() {
                    for (cell, expected) in cells.iter().zip(vector(&reference, &model, half, 1, position, 1)) {
                        close(f64::from(*cell), f64::from(expected), 1e-4, name);
                    }
                }
            }
        }
    }
}

#[test]
fn layers_fill_up_one_after_the_other() {
    let mut debugger = demo();
    // Keys are taken by the scores that read them, values by the context.
    for (name, keys, values) in [("0.k_rope", 0, 0), ("0.scores", 1, 0), ("0.context", 1, 1), ("2.probs", 3, 2)] {
        go(&mut debugger, 1, "embed_tokens");
        execute(&mut debugger, Command::Goto(name.into()));
        for (half, filled) in [(Half::Keys, keys), (Half::Values, values)] {
            let page = debugger.page(&whole(half)).expect("a cache");
            assert_eq!((page.filled, page.new.clone(), page.positions), (filled, 15..16, 16), "{name}");
            for (layer, row) in page.grid.iter().enumerate() {
                assert!(row[..15].iter().all(|norm| *norm > 0.0));
                assert_eq!(row[15] == f32::NEG_INFINITY, layer >= filled, "{name} {half:?} {layer}");
                assert_eq!(page.layers[layer].positions, 15 + usize::from(layer < filled));
                assert_eq!(page.layers[layer].error.is_some(), layer < filled);
            }
        }
        execute(&mut debugger, Command::Restart);
    }
    let empty = demo().page(&whole(Half::Keys)).expect("a cache");
    assert!((empty.filled, empty.bytes, empty.positions) == (0, 0, 15));
    assert!(empty.grid.iter().flatten().all(|cell| *cell == f32::NEG_INFINITY));
}

#[test]
fn a_dump_with_other_keys_is_told() {
    let mut debugger = changed("llama", |name, values| {
        Some(if name.ends_with("1.self_attn.k_rope") { values * 1.25 } else { values })
    });
    finish_forward(&mut debugger, 0);
    let page = debugger.page(&whole(Half::Keys)).expect("a cache");
    let errors: Vec<f64> = page.layers.iter().map(|layer| layer.error.expect("dumped")).collect();
    close(errors[1], 0.2, 1e-5, "a fifth too small");
    assert!(errors[0] < 1e-5 && errors[2] < 1e-5 && page.against == Some(Witness::Reference));
    let values = debugger.page(&whole(Half::Values)).expect("a cache");
    assert!(values.layers.iter().all(|layer| layer.error.is_some_and(|error| error < 1e-5)));

    let mut some = changed("llama", |name, values| (!name.contains("k_rope")).then_some(values));
    finish_forward(&mut some, 0);
    assert!(some.page(&whole(Half::Keys)).expect("a cache").layers.iter().all(|layer| layer.error.is_none()));
}

#[test]
fn no_request_panics() {
    let mut debugger = tiny_session("mistral");
    go(&mut debugger, 1, "1.probs");
    let span = || (any_size(), any_size());
    let half = prop::sample::select(vec![Half::Keys, Half::Values]);
    let request = (half, span(), proptest::option::of(span()), span());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig { cases: 200, ..ProptestConfig::default() });
    let outcome = runner.run(&request, |(half, cells, head, head_cells)| {
        let page = debugger.page(&CacheRequest { half, cells, head, head_cells }).expect("a cache");
        prop_assert!(page.grid.len() <= cells.0 && page.grid.iter().all(|row| row.len() <= cells.1));
        prop_assert_eq!(page.head.is_some(), head.is_some_and(|(layer, _)| layer < 3));
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}
