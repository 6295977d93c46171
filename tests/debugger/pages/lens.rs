//! The logit lens. The oracle is `PyTorch` in float64: `reference/lens.py`.

use std::sync::Arc;

use layerstep::debugger::view::{LensPage, LensRequest, TensorRequest, Witness};
use layerstep::debugger::{Debugger, Session};
use layerstep::diagnose::Witnesses;
use layerstep::formats::Archive;
use layerstep::model::{Model, Tokenizer};
use ndarray::{ArrayD, Axis, Slice};
use proptest::prelude::*;
use serde_json::Value;

use super::{any_size, close, finish_forward, go};
use crate::support::sessions::{changed, demo, tiny_session};
use crate::support::{Reference, SOME, repository, tiny};

fn page(debugger: &Debugger, request: &LensRequest) -> LensPage {
    debugger.page(request).unwrap_or_else(|error| panic!("{request:?}: {error}"))
}

fn names(page: &LensPage) -> Vec<&str> {
    page.rows.iter().map(|row| row.name.as_str()).collect()
}

#[test]
fn the_lens_is_that_of_pytorch() {
    let text = std::fs::read_to_string(repository("tests/fixtures/lens.json")).expect("a fixture");
    let fixture: Value = serde_json::from_str(&text).expect("JSON");
    for (name, tokens) in fixture.as_object().expect("models") {
        let mut debugger = tiny_session(name);
        finish_forward(&mut debugger, 0);
        for (token, points) in tokens.as_object().expect("tokens") {
            let token: usize = token.parse().expect("a row");
            for shown in [Witness::Engine, Witness::Reference] {
                let request = LensRequest { token, shown, top: 5, chosen: None, mid: true };
                let page = page(&debugger, &request);
                let points = points.as_object().expect("points");
                assert_eq!(names(&page), points.keys().collect::<Vec<_>>());
                for (row, point) in page.rows.iter().zip(points.values()) {
                    let what = format!("{name} {token} {} by {shown:?}", row.name);
                    let ids: Vec<u32> = row.top.iter().map(|line| line.token.id).collect();
                    assert_eq!(serde_json::json!(ids), point["top"], "{what}");
                    let number = |key: &str| point[key].as_f64().expect("a number");
                    close(row.entropy, number("entropy"), 1e-4, &what);
                    close(row.divergence.expect("complete"), number("kl"), 1e-4, &what);
                    close(row.logit, number("logit"), 1e-4, &what);
                    close(row.probability, number("probability"), 1e-5, &what);
                    assert_eq!(row.rank as u64, point["rank"].as_u64().expect("a rank"), "{what}");
                    for (line, probability) in row.top.iter().zip(point["probabilities"].as_array().expect("a list")) {
                        close(line.probability, probability.as_f64().expect("a number"), 1e-5, &what);
                    }
                    // The other witness stands beside: it says nearly the same.
                    let beside = row.against.as_ref().expect("both have it");
                    assert_eq!((beside.rank, beside.top.as_ref().map(|top| top.token.id)), (row.rank, Some(ids[0])));
                    close(beside.probability, row.probability, 1e-5, &what);
                }
            }
        }
    }
}

#[test]
fn the_last_block_says_what_the_logits_say() {
    for name in SOME {
        let (model, reference) = (tiny(name), Reference::tiny(name));
        for forward in [0, 3] {
            let mut debugger = tiny_session(name);
            finish_forward(&mut debugger, forward);
            let logits = reference.read(model.graph.output().expect("a head"), forward, &model.graph);
            for token in [0, 4, 99] {
                let request = LensRequest { token, top: 1, ..LensRequest::default() };
                let page = page(&debugger, &request);
                let token = token.min(logits.shape()[0] - 1);
                assert_eq!((page.token, page.position), (token, reference.first(forward) + token));
                let [.., block, logits_row] = page.rows.as_slice() else { panic!("too few rows") };
                assert_eq!((block.rank, block.top[0].token.id), (1, page.chosen.id));
                // One row through the head or thirteen: other sums of the same products.
                close(block.logit, logits_row.logit, 1e-5, name);
                assert_eq!(logits_row.divergence, Some(0.0));
                let best = logits.index_axis(Axis(0), token);
                close(logits_row.logit, f64::from(best.iter().copied().fold(f32::MIN, f32::max)), 1e-4, name);
            }
        }
    }
}

#[test]
fn rows_appear_as_blocks_are_computed() {
    let mut debugger = demo();
    let request = LensRequest { token: 14, top: 1, ..LensRequest::default() };
    assert_eq!(
        debugger.page(&request).expect_err("nothing is computed"),
        "embed_tokens is not computed yet: s steps, g goes there"
    );
    let mut check = |name: &str, rows: &[&str], complete: bool| {
        go(&mut debugger, 0, name);
        let page = page(&debugger, &request);
        assert_eq!(names(&page), rows, "{name}");
        assert!(page.rows.iter().all(|row| row.divergence.is_some() == complete), "{name}");
        assert!(page.notes.is_empty());
        assert_eq!(page.rows.last().map(|row| (row.rank, row.top[0].token.id)), Some((1, page.chosen.id)));
    };
    check("embed_tokens", &["embed_tokens"], false);
    check("1.q_rope", &["embed_tokens", "0"], false);
    check("3", &["embed_tokens", "0", "1", "2", "3"], true);
    check("lm_head", &["embed_tokens", "0", "1", "2", "3", "lm_head"], true);
}

#[test]
fn a_chosen_token_is_followed() {
    let mut debugger = demo();
    finish_forward(&mut debugger, 0);
    let all = page(&debugger, &LensRequest { token: 7, top: usize::MAX, ..LensRequest::default() });
    for chosen in [0, 17, 99] {
        let request = LensRequest { token: 7, top: 3, chosen: Some(chosen), ..LensRequest::default() };
        let page = page(&debugger, &request);
        for (row, all) in page.rows.iter().zip(&all.rows) {
            assert_eq!((row.top.len(), &row.top[..]), (3, &all.top[..3]));
            let place = all.top.iter().position(|line| line.token.id == chosen).expect("every token is listed");
            assert_eq!((row.rank, row.probability), (place + 1, all.top[place].probability));
            let sum: f64 = all.top.iter().map(|line| line.probability).sum();
            close(sum, 1.0, 1e-9, "probabilities");
        }
    }
    let beyond = LensRequest { chosen: Some(1 << 20), ..LensRequest::default() };
    assert!(
        debugger.page(&beyond).expect_err("no such token").starts_with("there is no token 1048576: the vocabulary")
    );
}

#[test]
fn the_wrong_port_says_something_else_from_its_mistake_on() {
    let mut debugger = demo();
    finish_forward(&mut debugger, 0);
    let request = LensRequest { token: 14, shown: Witness::Candidate, top: 1, ..LensRequest::default() };
    let page = page(&debugger, &request);
    assert_eq!(page.against, Some(Witness::Reference));
    for row in &page.rows {
        let apart = (row.probability - row.against.as_ref().expect("dumped").probability).abs();
        let before = row.layer.map_or(row.name == "embed_tokens", |layer| layer < 2);
        assert_eq!(apart < 1e-5, before, "{}: {apart}", row.name);
    }
}

#[test]
fn what_a_dump_lacks_is_said() {
    let some = |name: &str, values: ArrayD<f32>| {
        let wanted = name.starts_with("model.layers.1") || name == "model.embed_tokens";
        wanted.then_some(values)
    };
    let mut debugger = changed("qwen2", some);
    finish_forward(&mut debugger, 0);
    let request = LensRequest { token: 3, shown: Witness::Reference, top: 1, ..LensRequest::default() };
    let shown = page(&debugger, &request);
    assert_eq!(names(&shown), ["embed_tokens", "1"]);
    assert_eq!(shown.notes, ["the reference does not have 0, and 2 more"]);
    assert!(
        page(&debugger, &LensRequest { shown: Witness::Engine, ..request })
            .rows
            .iter()
            .any(|row| row.against.is_none())
    );

    let last = |name: &str, values: ArrayD<f32>| {
        let cut = name == "model.layers.2" || name == "lm_head";
        Some(if cut { values.slice_axis(Axis(0), Slice::from(-1..)).to_owned() } else { values })
    };
    let mut debugger = changed("llama", last);
    finish_forward(&mut debugger, 0);
    let of = |token| page(&debugger, &LensRequest { token, shown: Witness::Reference, ..LensRequest::default() });
    assert_eq!(names(&of(12)), ["embed_tokens", "0", "1", "2", "lm_head"]);
    assert_eq!(names(&of(4)), ["embed_tokens", "0", "1"]);
    assert_eq!(of(4).notes, ["the reference does not have this token of 2, and 1 more"]);
}

#[test]
fn tokens_have_their_texts() {
    let model = Arc::new(Model::load(&repository("reference/demo/model")).expect("the demo's model"));
    let tokenizer = Tokenizer::load(&repository("reference/demo/model")).expect("readable").expect("it has one");
    let archive = Archive::open(&repository("reference/demo/reference.safetensors")).expect("a dump");
    let ids: Vec<u32> = serde_json::from_str(&archive.metadata()["input_ids"]).expect("ids");
    let steps = vec![ids.len()];
    let session = |tokenizer| Session {
        tokenizer,
        ..Session::new(Arc::clone(&model), ids.clone(), &steps, Witnesses::default())
    };
    let mut with = Debugger::new(session(Some(Arc::new(tokenizer.clone()))));
    finish_forward(&mut with, 0);
    let request = LensRequest { token: 5, top: 4, ..LensRequest::default() };
    let shown = page(&with, &request);
    assert_eq!((shown.against, shown.chosen.text.clone()), (None, tokenizer.piece(shown.chosen.id)));
    for line in shown.rows.iter().flat_map(|row| &row.top) {
        assert_eq!(line.token.text, tokenizer.piece(line.token.id));
    }
    // The columns of logits are tokens, too.
    let row = model.graph.output().expect("a head").index();
    let tensor = |row| with.page(&TensorRequest { row, columns: (5, 3), ..TensorRequest::default() }).expect("a page");
    let texts: Vec<(u32, String)> = tensor(row).vocabulary.into_iter().map(|token| (token.id, token.text)).collect();
    assert_eq!(texts, [5, 6, 7].map(|id| (id, tokenizer.piece(id))));
    assert_eq!(tensor(row - 1).vocabulary, []);
    let mut without = Debugger::new(session(None));
    finish_forward(&mut without, 0);
    assert_eq!(page(&without, &request).chosen.text, "");
}

#[test]
fn no_request_panics() {
    let mut debuggers =
        vec![demo(), tiny_session("mistral"), changed("llama", |name, v| name.contains('1').then_some(v))];
    go(&mut debuggers[0], 0, "2.k_rope");
    go(&mut debuggers[1], 1, "2.probs");
    let witness = prop::sample::select(vec![Witness::Engine, Witness::Reference, Witness::Candidate]);
    let request =
        (any_size(), witness, any_size(), proptest::option::of(any::<u32>().prop_map(|id| id % 250)), any::<bool>());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig { cases: 200, ..ProptestConfig::default() });
    let outcome = runner.run(&request, |(token, shown, top, chosen, mid)| {
        let request = LensRequest { token, shown, top, chosen, mid };
        for debugger in &debuggers {
            let first = debugger.page(&request).map(|page| format!("{page:?}"));
            // What is kept is what was computed.
            prop_assert_eq!(debugger.page(&request).map(|page| format!("{page:?}")), first);
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}
