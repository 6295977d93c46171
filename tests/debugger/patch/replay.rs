//! Patches are made wherever the debugger stands, and undone: the bits are always those of a run that had them from the start.

use std::sync::atomic::AtomicBool;

use layerstep::debugger::view::Stop;
use layerstep::debugger::{Command, Motion, Switched};
use layerstep::diagnose::suspects::switch::{alterations, find};

use super::subject::{CHANGED, alone, apart, effect, execute, finish, go, logits, patch, row_of, state, values};
use crate::support::tiny;

/// Commands that reach into the cache, the residual stream, attention and the logits, in one forward or both.
const SOME: &[&str] = &[
    "ablate head 1.2",
    "patch 0 token=3 add 1",
    "patch 0.v_proj token=3 head=1 scale 4",
    "patch 1.k_rope token=2 mean",
    "patch 1.scores token=4-12 key=2 set -inf",
    "patch embed_tokens token=13 scale 0.5",
    "patch 1.mlp step=1 set NaN",
    "patch lm_head token=-1 channel=5 add 3",
    "patch *.mlp token=2-9 mean",
];

/// The state at a place of a forward, of a debugger that goes there with the commands made before its first op.
fn made_before(name: &str, commands: &[&str], forward: usize, place: &str) -> (usize, Vec<Vec<u32>>) {
    let mut debugger = alone(name);
    for command in commands {
        patch(&mut debugger, command).expect("a patch");
    }
    finish(&mut debugger, forward);
    go(&mut debugger, place);
    state(&debugger)
}

#[test]
fn a_patch_made_behind_is_one_made_before() {
    for name in ["qwen3", "mistral"] {
        for (forward, place) in [(0, "1.probs"), (0, "lm_head"), (1, "1.scores"), (1, "lm_head")] {
            let clean = made_before(name, &[], forward, place);
            for command in SOME {
                let expected = made_before(name, &[command], forward, place);
                let mut debugger = alone(name);
                finish(&mut debugger, forward);
                go(&mut debugger, place);
                patch(&mut debugger, command).expect("a patch");
                assert!(state(&debugger) == expected, "{name}: {command} made at {place} of forward {forward}");

                // Over it, back and on.
                execute(&mut debugger, &Command::Back(Motion::Step, 30));
                finish(&mut debugger, forward);
                go(&mut debugger, place);
                assert!(state(&debugger) == expected, "{name}: {command}, back and on at {place} of forward {forward}");
                execute(&mut debugger, &Command::Restart);
                finish(&mut debugger, forward);
                go(&mut debugger, place);
                assert!(
                    state(&debugger) == expected,
                    "{name}: {command}, from the start to {place} of forward {forward}"
                );

                for (step, wanted) in
                    [("undo", &clean), ("redo", &expected), ("unpatch 1", &clean), ("undo", &expected)]
                {
                    patch(&mut debugger, step).expect("a change");
                    assert!(state(&debugger) == *wanted, "{name}: {command}, {step} at {place} of forward {forward}");
                }
            }
        }
    }
}

#[test]
fn patches_add_up_in_their_order() {
    let both = ["patch 0.mlp add 1", "patch 0.mlp scale 2"];
    let turned = [both[1], both[0]];
    let mut debugger = alone("llama");
    finish(&mut debugger, 1);
    for command in both {
        patch(&mut debugger, command).expect("a patch");
    }
    assert!(state(&debugger) == made_before("llama", &both, 1, "lm_head"));
    assert!(state(&debugger) != made_before("llama", &turned, 1, "lm_head"));
    patch(&mut debugger, "unpatch 1").expect("a change");
    assert!(state(&debugger) == made_before("llama", &both[1..], 1, "lm_head"));
    patch(&mut debugger, "undo").expect("a change");
    assert!(state(&debugger) == made_before("llama", &both, 1, "lm_head"), "the order is had back, too");
}

#[test]
fn an_interrupted_patch_changes_nothing() {
    let mut debugger = alone("llama");
    patch(&mut debugger, "ablate 0.mlp").expect("a patch");
    finish(&mut debugger, 1);
    let before = (state(&debugger), debugger.patches());
    let interrupt = AtomicBool::new(true);
    for line in ["patch 0.v_proj step=0 zero", "ablate 2.mlp", "ablate embed_tokens", "unpatch all", "undo"] {
        let command = Command::parse(line).expect("a line").expect("a command");
        assert_eq!(debugger.execute(&command, &interrupt, &mut |_| {}), Ok(Stop::Interrupted), "{line}");
    }
    assert!(before == (state(&debugger), debugger.patches()));
    assert_eq!(debugger.effect(&interrupt), Ok(None));
    assert_eq!(patch(&mut debugger, "undo").expect("a change"), {
        let ops = 2 * debugger.listing().rows.len() - row_of(&debugger, "0.down_proj");
        format!("taken back: ablate 0.mlp; {ops} ops computed again")
    });
}

#[test]
fn patches_stay_with_a_suspect_switched_on() {
    let mut debugger = alone("llama");
    patch(&mut debugger, "ablate 0.mlp").expect("a patch");
    finish(&mut debugger, 0);
    let patched = logits(&debugger);
    let (words, changes) =
        alterations(&tiny("llama"), find("rope_theta").expect("a suspect"), &[0, 1, 2], None).expect("it can be made");
    debugger.switch_on(Switched { id: "rope_theta", words, alterations: changes });
    finish(&mut debugger, 0);
    let both = logits(&debugger);
    assert!(apart(&both, &patched) > CHANGED);
    assert!(values(&debugger, row_of(&debugger, "0.down_proj"), 0).iter().flatten().all(|value| *value == 0.0));
    // What the patch changes is said of the engine as it computes now.
    assert!(effect(&mut debugger).kl > 1e-3);
    patch(&mut debugger, "unpatch all").expect("a change");
    assert_eq!(effect(&mut debugger).kl, 0.0);
}
