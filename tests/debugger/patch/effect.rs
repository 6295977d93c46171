//! What patches do to the model's answer, against the same numbers computed here.

use std::sync::Arc;

use layerstep::debugger::{Debugger, Session};
use layerstep::diagnose::Witnesses;
use layerstep::model::{Model, Tokenizer};

use super::subject::{alone, effect, finish, go, logits, patch};
use crate::support::{Reference, SOME, repository};

/// Probabilities, without any care for size: these logits are small.
fn softmax(logits: &[f32]) -> Vec<f64> {
    let sum: f64 = logits.iter().map(|logit| f64::from(*logit).exp()).sum();
    logits.iter().map(|logit| f64::from(*logit).exp() / sum).collect()
}

fn best(chances: &[f64]) -> usize {
    (0..chances.len()).max_by(|a, b| chances[*a].total_cmp(&chances[*b])).expect("tokens")
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-5 * b.abs()
}

#[test]
fn it_is_what_the_logits_say() {
    for name in SOME {
        for (forward, command) in
            [(0, "ablate 0.mlp"), (0, "patch 1.scores token=8-12 key=7 set -inf"), (1, "ablate head 1.1")]
        {
            let (mut clean, mut patched) = (alone(name), alone(name));
            patch(&mut patched, command).expect("a patch");
            for debugger in [&mut clean, &mut patched] {
                finish(debugger, forward);
            }
            let (p, q) = (softmax(&logits(&clean)), softmax(&logits(&patched)));
            let kl: f64 = p.iter().zip(&q).map(|(p, q)| p * (p / q).ln()).sum();
            let found = effect(&mut patched);
            assert!(kl > 1e-6 && near(found.kl, kl), "{name}: {command}: {} where {kl} is right", found.kl);
            let (first, rank) = (best(&p), q.iter().filter(|chance| **chance > q[best(&p)]).count() + 1);
            assert_eq!((found.forward, found.rank), (forward, rank), "{name}: {command}");
            assert!(near(found.probability, q[first]));
            for (named, chances) in [(&found.before, &p), (&found.after, &q)] {
                assert_eq!((named.len(), named[0].id as usize), (5, best(chances)));
                assert!(named.iter().all(|chance| near(chance.probability, chances[chance.id as usize])));
                assert!(named.windows(2).all(|two| two[0].probability >= two[1].probability));
            }
        }
    }
}

#[test]
fn nothing_is_changed_without_patches() {
    for name in SOME {
        let mut debugger = alone(name);
        for (forward, place) in [(0, "embed_tokens"), (0, "1.probs"), (0, "lm_head"), (1, "1.mlp"), (1, "lm_head")] {
            finish(&mut debugger, forward);
            go(&mut debugger, place);
            let found = effect(&mut debugger);
            assert_eq!((found.forward, found.kl, found.rank), (forward, 0.0, 1), "{name} at {place}");
            assert_eq!(found.before, found.after);
        }
    }
}

#[test]
fn it_does_not_depend_on_where_the_debugger_stands() {
    let mut debugger = alone("mistral");
    let first = effect(&mut debugger);
    patch(&mut debugger, "patch 0.v_proj token=9 zero").expect("a patch");
    let start = effect(&mut debugger);
    assert!(first.kl == 0.0 && start.kl > 0.0);
    for (forward, place) in [(0, "0.v_proj"), (0, "1.probs"), (0, "lm_head"), (1, "lm_head"), (0, "norm")] {
        if forward < debugger.listing().forward {
            debugger = alone("mistral");
            patch(&mut debugger, "patch 0.v_proj token=9 zero").expect("a patch");
        }
        finish(&mut debugger, forward);
        go(&mut debugger, place);
        let found = effect(&mut debugger);
        assert_eq!(found == start, forward == 0, "{place} of forward {forward}");
    }
}

#[test]
fn what_is_not_finite_is_said() {
    let mut debugger = alone("llama");
    patch(&mut debugger, "patch 2.mlp token=-1 set NaN").expect("a patch");
    let found = effect(&mut debugger);
    assert!(found.kl.is_nan() && found.probability.is_nan() && !found.before[0].probability.is_nan());
    patch(&mut debugger, "unpatch all").expect("a change");
    let first = effect(&mut debugger).before[0].id;
    patch(&mut debugger, &format!("patch lm_head channel={first} set -inf")).expect("a patch");
    let found = effect(&mut debugger);
    assert_eq!((found.kl, found.probability, found.rank), (f64::INFINITY, 0.0, 192));
    assert_eq!(found.after[0].id, found.before[1].id);
    patch(&mut debugger, "patch lm_head channel=3 set 1e30").expect("a patch");
    assert_eq!((effect(&mut debugger).after[0].id, effect(&mut debugger).after[0].probability), (3, 1.0));
    patch(&mut debugger, "patch lm_head channel=4 set NaN").expect("a patch");
    let found = effect(&mut debugger);
    assert!(found.kl.is_nan() && found.after[0].id == 3, "NaN ranks last");
}

#[test]
fn tokens_have_their_text() {
    let model = Arc::new(Model::load(&repository("reference/demo/model")).expect("the demo's model"));
    let Reference { ids, steps, .. } = Reference::open(&repository("reference/demo/reference.safetensors"));
    let tokenizer =
        Tokenizer::load(&repository("reference/demo/model")).expect("a tokenizer").expect("the demo has one");
    let session = |tokenizer| Session {
        tokenizer,
        ..Session::new(Arc::clone(&model), ids.clone(), &steps, Witnesses::default())
    };
    let mut without = Debugger::new(session(None));
    assert!(effect(&mut without).before.iter().all(|chance| chance.text.is_empty()));
    let mut with = Debugger::new(session(Some(Arc::new(tokenizer.clone()))));
    assert!(effect(&mut with).before.iter().all(|chance| chance.text == tokenizer.piece(chance.id)));
}
