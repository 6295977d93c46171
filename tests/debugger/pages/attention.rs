//! Attention pages.

use layerstep::debugger::view::{AttentionPage, AttentionRequest, CacheRequest, LensRequest, Quantity, Shown, Witness};
use layerstep::debugger::{Command, Debugger};
use layerstep::engine::{Role, Site};
use layerstep::metrics::HeadNumbers;
use layerstep::model::Model;
use ndarray::{ArrayD, Axis, Slice};
use proptest::prelude::*;

use super::{any_size, close, execute, finish_forward, go};
use crate::support::sessions::{changed, demo, tiny_session};
use crate::support::{Reference, SOME, tiny};

const CELLS: (usize, usize) = (64, 64);

fn page(debugger: &Debugger, request: &AttentionRequest) -> AttentionPage {
    debugger.page(request).unwrap_or_else(|error| panic!("{request:?}: {error}"))
}

fn whole(layer: usize, head: usize, shown: Shown) -> AttentionRequest {
    AttentionRequest { layer, head, shown, heatmap: CELLS, small: CELLS, ..AttentionRequest::default() }
}

const ENGINE: Shown = Shown::Values(Witness::Engine);
const REFERENCE: Shown = Shown::Values(Witness::Reference);

fn site(model: &Model, layer: usize, role: Role) -> Site {
    model.graph.in_layer(layer, role).expect("every layer attends")
}

/// Entropy, spread, and the mass on key 0, the own and the previous token, on earlier tokens that are the same and on those
/// behind them, with loops and `ln`: of the forwards whose probabilities these are, each with the position of its first token.
fn naive(forwards: &[(usize, ArrayD<f32>)], head: usize, window: usize, ids: &[u32]) -> [f64; 7] {
    let mut found: [Vec<f64>; 7] = Default::default();
    let queries =
        forwards.iter().flat_map(|(first, probs)| (0..probs.shape()[1]).map(move |query| (*first, probs, query)));
    for (first, probs, query) in queries {
        let (keys, position) = (probs.shape()[2], first + query);
        let p = |key: usize| f64::from(probs[[head, query, key]]);
        let seen = (0..keys).filter(|key| *key <= position && position - key < window).count();
        if seen < 2 {
            continue;
        }
        let entropy: f64 = (0..keys).filter(|key| p(*key) > 0.0).map(|key| -p(key) * p(key).ln()).sum();
        found[0].push(entropy);
        found[1].push(entropy / (seen as f64).ln());
        if position < window {
            found[2].push(p(0));
        }
        found[3].push(p(position));
        found[4].push(p(position - 1));
        for (of, behind) in [(5, 0), (6, 1)] {
            let mut masses = Vec::new();
            for earlier in 0..position {
                let key = earlier + behind;
                if ids[earlier] == ids[position] && key < position && position - key < window {
                    masses.push(p(key));
                }
            }
            if !masses.is_empty() {
                found[of].push(masses.iter().sum());
            }
        }
    }
    found.map(|of| of.iter().sum::<f64>() / of.len() as f64)
}

#[test]
fn heads_in_numbers_are_those_of_pytorch() {
    let mut repeated = 0;
    for name in SOME {
        let (model, reference) = (tiny(name), Reference::tiny(name));
        for forward in [0, 2] {
            let mut debugger = tiny_session(name);
            finish_forward(&mut debugger, forward);
            for layer in 0..model.graph.layers() {
                let probs = |forward| reference.read(site(&model, layer, Role::Probs), forward, &model.graph);
                let so_far: Vec<_> = (0..=forward).map(|forward| (reference.first(forward), probs(forward))).collect();
                let [heads, _, keys] = so_far[forward].1.shape() else { panic!("three axes") };
                let seen = model.spec.layers[layer].attn.window;
                let window = seen.unwrap_or(usize::MAX);
                for shown in [ENGINE, REFERENCE] {
                    let page = page(&debugger, &whole(layer, 0, shown));
                    assert_eq!((page.lines.len(), page.small.len()), (*heads, *heads));
                    assert_eq!((page.query_count, page.key_count), (*keys, *keys), "every query so far");
                    assert_eq!((page.window, page.first_position), (seen, 0));
                    for (head, line) in page.lines.iter().enumerate() {
                        let numbers = line.numbers.expect("probabilities are there");
                        let HeadNumbers { entropy, spread, sink, own, previous, duplicate, induction } = numbers;
                        let numbers = [entropy, spread, sink, own, previous, duplicate, induction];
                        let expected = naive(&so_far, head, window, &reference.ids);
                        repeated += usize::from(!induction.is_nan());
                        for (found, expected) in numbers.iter().zip(expected) {
                            close(*found, expected, 1e-5, &format!("{name}@{forward} {layer}.{head} {page:?}"));
                        }
                    }
                }
            }
        }
    }
    assert!(repeated > 0, "some prompt says a token twice");
}

#[test]
fn a_head_is_pooled_and_what_is_hidden_is_empty() {
    for name in ["qwen3", "mistral"] {
        let (model, reference) = (tiny(name), Reference::tiny(name));
        let mut debugger = tiny_session(name);
        finish_forward(&mut debugger, 0);
        let window = model.spec.layers[1].attn.window.unwrap_or(usize::MAX);
        for quantity in [Quantity::Probs, Quantity::Scores] {
            let role = if quantity == Quantity::Probs { Role::Probs } else { Role::Scores };
            let values = reference.read(site(&model, 1, role), 0, &model.graph);
            let request = AttentionRequest { quantity, ..whole(1, 2, ENGINE) };
            let all = page(&debugger, &request);
            assert_eq!((all.heatmap.len(), all.heatmap[0].len(), all.pooled), (13, 13, (1, 1)));
            assert_eq!((&all.small[2], all.small_pooled), (&all.heatmap, (1, 1)));
            for (query, key) in (0..13).flat_map(|query| (0..13).map(move |key| (query, key))) {
                let (found, expected) = (all.heatmap[query][key], values[[2, query, key]]);
                if key > query || query - key >= window {
                    assert_eq!(found, f32::NEG_INFINITY, "{query} {key}");
                } else {
                    close(f64::from(found), f64::from(expected), 1e-4, "a cell");
                }
            }
            // Three by four to a cell, and a part of it.
            let pooled = page(&debugger, &AttentionRequest { heatmap: (5, 4), small: (5, 4), ..request.clone() });
            assert_eq!((pooled.pooled, &pooled.small[2]), ((3, 4), &pooled.heatmap));
            let part = AttentionRequest { queries: (2, 9), keys: (5, usize::MAX), ..request };
            let part = page(&debugger, &part);
            assert_eq!((part.queries, part.keys), ((2, 9), (5, 8)));
            let expected: Vec<Vec<f32>> = all.heatmap[2..11].iter().map(|row| row[5..].to_vec()).collect();
            assert_eq!(part.heatmap, expected);
            for (row, cells) in pooled.heatmap.iter().enumerate() {
                for (column, cell) in cells.iter().enumerate() {
                    let rows = all.heatmap.iter().skip(3 * row).take(3);
                    let inside: Vec<f32> = rows.flat_map(|row| row.iter().skip(4 * column).take(4).copied()).collect();
                    let seen: Vec<f32> = inside.iter().copied().filter(|value| value.is_finite()).collect();
                    let loudest = seen.iter().fold(0.0f32, |most, value| most.max(value.abs()));
                    assert!(inside.contains(cell) && (seen.is_empty() == cell.is_infinite()), "{row} {column}");
                    assert!(seen.is_empty() || cell.abs() == loudest, "{row} {column}");
                }
            }
        }
    }
}

#[test]
fn groups_read_their_key_head_and_the_last_head_is_the_last() {
    let mut debugger = tiny_session("mistral");
    finish_forward(&mut debugger, 0);
    let groups: Vec<(usize, usize)> =
        (0..7).map(|head| page(&debugger, &whole(0, head, ENGINE))).map(|page| (page.head, page.kv_head)).collect();
    assert_eq!(groups, [(0, 0), (1, 0), (2, 0), (3, 1), (4, 1), (5, 1), (5, 1)]);
}

#[test]
fn the_keys_of_a_query() {
    let (model, reference) = (tiny("llama"), Reference::tiny("llama"));
    let mut debugger = tiny_session("llama");
    finish_forward(&mut debugger, 0);
    let probs = reference.read(site(&model, 2, Role::Probs), 0, &model.graph);
    let scores = reference.read(site(&model, 2, Role::Scores), 0, &model.graph);
    for quantity in [Quantity::Probs, Quantity::Scores] {
        for query in [0, 5, 12, 99] {
            let request = AttentionRequest { quantity, query, top: 4, ..whole(2, 1, ENGINE) };
            let page = page(&debugger, &request);
            let query = query.min(12);
            assert_eq!((page.query, page.against), (query, Some(Witness::Reference)));
            let mut expected: Vec<(usize, f32)> = (0..=query).map(|key| (key, probs[[1, query, key]])).collect();
            expected.sort_by(|a, b| b.1.total_cmp(&a.1));
            assert_eq!(page.top.len(), expected.len().min(4));
            for (line, (key, p)) in page.top.iter().zip(expected) {
                assert_eq!(line.key, key);
                close(line.probability, f64::from(p), 1e-5, "probability");
                close(line.against.expect("a reference"), f64::from(p), 1e-6, "its probability");
                let score = (quantity == Quantity::Scores).then(|| f64::from(scores[[1, query, key]]));
                assert_eq!(line.score.is_some(), score.is_some());
                close(line.score.unwrap_or_default(), score.unwrap_or_default(), 1e-4, "score");
            }
        }
    }
}

#[test]
fn two_witnesses_apart() {
    let mut debugger = demo();
    finish_forward(&mut debugger, 0);
    let reference = Shown::Difference(Witness::Candidate, Witness::Reference);
    let worst = |layer, shown| -> f64 {
        let page = page(&debugger, &AttentionRequest { top: 3, query: 9, ..whole(layer, 0, shown) });
        let apart = page.heatmap.iter().flatten().filter(|cell| cell.is_finite()).fold(0.0f32, |m, c| m.max(c.abs()));
        let line = page.lines[0].difference;
        let (most, (query, key)) = line.unwrap_or((0.0, (0, 0)));
        close(most, f64::from(apart), 1e-6, "the largest difference is in the heatmap");
        assert!(line.is_none() || (page.heatmap[query][key].abs() - apart).abs() < 1e-6);
        if let Shown::Difference(..) = shown {
            let first = &page.top[0];
            let row = page.heatmap[9].iter().filter(|cell| cell.is_finite()).fold(0.0f32, |m, c| m.max(c.abs()));
            close((first.probability - first.against.expect("both")).abs(), f64::from(row), 1e-6, "the top key");
        }
        most
    };
    // The candidate is wrong from layer 2 on.
    assert!(worst(1, reference) < 1e-4 && worst(2, reference) > 0.1);
    assert!(worst(2, Shown::Difference(Witness::Engine, Witness::Reference)) < 1e-4);
    let shown = page(&debugger, &whole(2, 0, Shown::Values(Witness::Candidate)));
    assert_eq!(shown.against, Some(Witness::Reference));
    assert!(shown.lines.iter().all(|line| line.difference.is_some_and(|(most, _)| most > 0.05)), "{:?}", shown.lines);
    assert_eq!(page(&debugger, &whole(2, 0, REFERENCE)).against, Some(Witness::Candidate));
}

#[test]
fn a_mask_that_lets_something_through_is_seen() {
    // The first query looks at key 3, which lies ahead.
    let leaks = |name: &str, mut values: ArrayD<f32>| {
        if name == "model.layers.1.self_attn.probs" {
            values[[0, 0, 0]] = 0.75;
            values[[0, 0, 3]] = 0.25;
        }
        Some(values)
    };
    let mut debugger = changed("llama", leaks);
    finish_forward(&mut debugger, 0);
    let page = page(&debugger, &AttentionRequest { top: 9, ..whole(1, 0, REFERENCE) });
    assert_eq!((page.heatmap[0][3], page.heatmap[0][2]), (0.25, f32::NEG_INFINITY));
    let keys: Vec<(usize, f64)> = page.top.iter().map(|line| (line.key, line.probability)).collect();
    assert_eq!(keys, [(0, 0.75), (3, 0.25)]);
}

#[test]
fn what_is_not_there_is_a_sentence() {
    let mut debugger = demo();
    go(&mut debugger, 0, "2.scores");
    let error = |debugger: &Debugger, request: AttentionRequest| debugger.page(&request).expect_err("nothing there");
    assert_eq!(error(&debugger, whole(2, 0, ENGINE)), "2.probs is not computed yet: s steps, g goes there");
    assert_eq!(error(&debugger, whole(4, 0, ENGINE)), "there is no layer 4: they are 0 to 3");
    let scores = AttentionRequest { quantity: Quantity::Scores, ..whole(2, 0, ENGINE) };
    let shown = page(&debugger, &scores);
    assert_eq!(shown.notes, ["2.probs is not computed yet: s steps, g goes there"]);
    assert!(shown.lines.iter().all(|line| line.numbers.is_none() && line.difference.is_some()));
    // A dump can be looked at before our engine is there.
    assert_eq!(page(&debugger, &whole(3, 0, REFERENCE)).lines.len(), 4);

    let mut partial = changed("qwen2", |name, values| (!name.ends_with("probs")).then_some(values));
    finish_forward(&mut partial, 0);
    assert_eq!(error(&partial, whole(1, 0, REFERENCE)), "the reference does not have 1.probs");
    let ours = page(&partial, &whole(1, 0, ENGINE));
    assert_eq!((ours.against, ours.lines[0].difference), (None, None));
}

#[test]
fn rows_that_a_dump_lacks_are_left_out_of_the_numbers() {
    let last = |name: &str, values: ArrayD<f32>| {
        let rows = values.ndim().saturating_sub(2);
        let cut = name.ends_with("1.self_attn.probs");
        Some(if cut { values.slice_axis(Axis(rows), Slice::from(-1..)).to_owned() } else { values })
    };
    let mut debugger = changed("llama", last);
    finish_forward(&mut debugger, 0);
    let shown = page(&debugger, &AttentionRequest { query: 12, top: 2, ..whole(1, 0, REFERENCE) });
    assert!(shown.heatmap[0][0].is_nan() && shown.heatmap[12][0].is_finite() && shown.top.len() == 2);
    let numbers = shown.lines[0].numbers.expect("one row is there");
    assert!(numbers.entropy.is_finite() && numbers.own == f64::from(shown.heatmap[12][12]), "{numbers:?}");
    assert!(page(&debugger, &AttentionRequest { query: 3, top: 2, ..whole(1, 0, REFERENCE) }).top.is_empty());
    let ours = page(&debugger, &whole(1, 0, ENGINE));
    assert!(ours.lines[0].difference.is_some_and(|(most, _)| most < 1e-4), "{:?}", ours.lines[0]);
}

#[test]
fn queries_of_earlier_forwards_stand_above_those_of_this_one() {
    let mut debugger = tiny_session("llama");
    finish_forward(&mut debugger, 0);
    let prefill = page(&debugger, &whole(1, 0, ENGINE));
    finish_forward(&mut debugger, 2);
    let rows = |queries, shown| page(&debugger, &AttentionRequest { queries, ..whole(1, 0, shown) });
    let all = rows((0, usize::MAX), ENGINE);
    assert_eq!((all.heatmap.len(), all.query), (15, 0));
    for (row, before) in all.heatmap.iter().zip(&prefill.heatmap) {
        assert_eq!(row[..before.len()], before[..]);
        assert!(row[before.len()..].iter().all(|cell| *cell == f32::NEG_INFINITY), "what comes later is hidden");
    }
    // Positions, not rows of this forward.
    assert_eq!(rows((14, 1), ENGINE).heatmap, all.heatmap[14..]);
    let largest = rows((0, usize::MAX), Shown::Difference(Witness::Engine, Witness::Reference));
    assert!(largest.heatmap.iter().flatten().all(|cell| *cell < 1e-5), "{largest:?}");
}

#[test]
fn what_is_kept_goes_with_what_it_was_made_from() {
    let mut debugger = tiny_session("llama");
    finish_forward(&mut debugger, 0);
    let of = |debugger: &Debugger| format!("{:?}", page(debugger, &whole(1, 0, ENGINE)));
    let first = of(&debugger);
    assert_eq!(of(&debugger), first);
    go(&mut debugger, 1, "lm_head");
    let second = of(&debugger);
    assert_ne!(first, second);
    let mut fresh = tiny_session("llama");
    go(&mut fresh, 1, "lm_head");
    assert_eq!(of(&fresh), second);
}

#[test]
fn a_suspect_that_is_switched_on_is_seen_at_once() {
    let mut debugger = demo();
    finish_forward(&mut debugger, 0);
    let apart = |debugger: &Debugger, against: Witness| {
        let shown = Shown::Difference(Witness::Engine, against);
        let page = page(debugger, &whole(2, 0, shown));
        let lens = LensRequest { token: 14, shown: Witness::Engine, ..LensRequest::default() };
        let lens = debugger.page(&lens).expect("a page").rows.pop().expect("logits");
        let by_lens = (lens.probability - lens.against.expect("a reference").probability).abs();
        let cache = debugger.page(&CacheRequest::default()).expect("a cache").layers[2].error.expect("a reference");
        let attention = page.lines.iter().filter_map(|line| line.difference).fold(0.0f64, |most, (d, _)| most.max(d));
        (attention, by_lens, cache)
    };
    let (attention, by_lens, cache) = apart(&debugger, Witness::Reference);
    assert!(attention < 1e-4 && by_lens < 1e-4 && cache < 1e-4, "{attention} {by_lens} {cache}");
    execute(&mut debugger, Command::Diagnose("2.q_rope".into()));
    execute(&mut debugger, Command::Switch(0));
    let (attention, by_lens, cache) = apart(&debugger, Witness::Reference);
    assert!(attention > 0.05 && by_lens > 1e-3 && cache > 0.1, "{attention} {by_lens} {cache}");
    assert!(apart(&debugger, Witness::Candidate).0 < 1e-4);
    execute(&mut debugger, Command::Switch(0));
    assert!(apart(&debugger, Witness::Reference).0 < 1e-4);
}

#[test]
fn no_request_panics() {
    let mut debuggers =
        vec![demo(), tiny_session("mistral"), changed("llama", |name, v| name.contains("pro").then_some(v))];
    go(&mut debuggers[0], 0, "2.k_rope");
    go(&mut debuggers[1], 1, "2.probs");
    go(&mut debuggers[2], 0, "1");
    let witness = || prop::sample::select(vec![Witness::Engine, Witness::Reference, Witness::Candidate]);
    let shown = prop_oneof![
        witness().prop_map(Shown::Values),
        (witness(), witness()).prop_map(|(a, b)| Shown::Difference(a, b))
    ];
    let quantity = prop::sample::select(vec![Quantity::Probs, Quantity::Scores]);
    let span = || (any_size(), any_size());
    let request = (0usize..5, shown, quantity, any_size(), (span(), span()), (span(), span()), any_size(), any_size());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig { cases: 300, ..ProptestConfig::default() });
    let outcome =
        runner.run(&request, |(layer, shown, quantity, head, (queries, keys), (heatmap, small), query, top)| {
            let request = AttentionRequest { layer, shown, quantity, head, queries, keys, heatmap, small, query, top };
            for debugger in &debuggers {
                if let Ok(page) = debugger.page(&request) {
                    prop_assert!(
                        page.heatmap.len() <= heatmap.0 && page.heatmap.iter().all(|row| row.len() <= heatmap.1)
                    );
                    prop_assert!(page.small.iter().all(|map| map.len() <= small.0) && page.top.len() <= top);
                }
            }
            Ok(())
        });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}
