//! What is said: of the list, of requests, and of what cannot be patched.

use std::collections::BTreeMap;
use std::fs;

use layerstep::debugger::{Debugger, Unpatch};
use layerstep::formats::{write_npy, write_safetensors};
use ndarray::{ArrayD, IxDyn};

use super::subject::{alone, finish, patch, request, row_of, state};

#[test]
fn the_list_says_what_is_patched() {
    let mut debugger = alone("llama");
    let lines = |debugger: &Debugger| -> Vec<String> {
        let lines = debugger.patches().into_iter();
        lines.map(|l| format!("{} {} {} {}", l.number, l.text, l.activations, l.applies)).collect()
    };
    let mut check = |command: &str, said: &str, expected: &[&str]| {
        let sentence = patch(&mut debugger, command).unwrap_or_else(|error| format!("error: {error}"));
        assert_eq!(
            (&*sentence, &*lines(&debugger)),
            (said, &*expected.iter().map(ToString::to_string).collect::<Vec<_>>())
        );
    };
    let first = "1 ablate 0.mlp 1.mlp 2 false";
    check("ablate 0.mlp 1.mlp", "patch 1: ablate 0.mlp 1.mlp (2 activations)", &[first]);
    let second = "2 ablate head 2.0-1 1 false";
    check("ablate head 2.0-1", "patch 2: ablate head 2.0-1 (1 activation)", &[first, second]);
    check(
        "unpatch 0.mlp",
        "error: patch 1, ablate 0.mlp 1.mlp, also changes 1.down_proj: unpatch 1 takes all of it",
        &[first, second],
    );
    check("unpatch 2.mlp", "error: 2.mlp is not patched", &[first, second]);
    check("unpatch 7", "error: there is no patch 7: there are 1, 2", &[first, second]);
    check("unpatch *.mlp", "patch 1 taken away", &[second]);
    check("undo", "taken back: unpatch ablate 0.mlp 1.mlp", &[first, second]);
    check("redo", "made again: unpatch ablate 0.mlp 1.mlp", &[second]);
    check("redo", "error: no change of patches to make again", &[second]);
    let third = "3 patch norm scale 2 1 false";
    check("patch  norm  scale 2.0", "patch 3: patch norm scale 2 (1 activation)", &[second, third]);
    check("unpatch all", "patches 2, 3 taken away", &[]);
    check("unpatch all", "error: there are no patches", &[]);
    for undone in [
        "unpatch ablate head 2.0-1; patch norm scale 2",
        "patch norm scale 2",
        "unpatch ablate 0.mlp 1.mlp",
        "ablate head 2.0-1",
        "ablate 0.mlp 1.mlp",
    ] {
        let sentence = patch(&mut debugger, "undo").expect("a change");
        assert_eq!(sentence, format!("taken back: {undone}"));
    }
    assert_eq!(patch(&mut debugger, "undo").expect_err("an empty history"), "no change of patches to take back");

    finish(&mut debugger, 0);
    let ops = debugger.listing().rows.len();
    let sentence = patch(&mut debugger, "ablate 1.mlp").expect("a patch");
    let position = row_of(&debugger, "1.down_proj");
    assert_eq!(sentence, format!("patch 4: ablate 1.mlp (1 activation); {} ops computed again", ops - position));
    assert_eq!(lines(&debugger), ["4 ablate 1.mlp 1 true"]);
    assert_eq!(debugger.patched_rows().into_iter().collect::<Vec<_>>(), [position]);
    patch(&mut debugger, "patch 1.mlp token=13 zero").expect("a patch");
    assert_eq!(lines(&debugger)[1], "5 patch 1.mlp token=13 zero 1 false", "that token is not fed yet");
}

#[test]
fn what_cannot_be_patched_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let zeros = |shape: &[usize]| ArrayD::<f32>::zeros(IxDyn(shape));
    write_npy(&path("wrong.npy"), &zeros(&[5, 48]).view()).expect("a file");
    let two = [("one".to_string(), zeros(&[13, 48])), ("two".to_string(), zeros(&[13, 48]))];
    let views: Vec<_> = two.iter().map(|(name, values)| (name.clone(), values.view())).collect();
    write_safetensors(&path("two.safetensors"), &views, &BTreeMap::new()).expect("a file");
    fs::write(path("text.npy"), "no array").expect("a file");
    let mut debugger = alone("llama");
    finish(&mut debugger, 0);
    let before = state(&debugger);
    for (command, expected) in [
        (
            "patch",
            "patch what? give an activation, and zero, mean, scale K, set V, add V, from reference, from candidate or \
                   from FILE",
        ),
        (
            "patch 0.mlp",
            "0.mlp becomes what? zero, mean, scale K, set V, add V, from reference, from candidate or from FILE",
        ),
        (
            "patch 0.mlp nul",
            "\"nul\" is no change of values: zero, mean, scale K, set V, add V, from reference, from \
                             candidate or from FILE",
        ),
        ("patch 0.mlp scale", "scale by how much? give a number"),
        ("patch 0.mlp set x", "\"x\" is not a number"),
        ("patch 0.mlp set 1e39", "1e39 is too large for f32: inf is infinity"),
        ("patch 0.mlp zero mean", "one patch makes one change: mean is the second"),
        ("patch 0.mlp token=1 token=2 zero", "token= is given twice"),
        ("patch 0.mlp tokens=1 zero", "tokens= says nothing about a place: token=, head=, key=, channel= or step="),
        ("patch 0.mlp token=x zero", "token=x is not like 5, 2-5, 0:8 or all"),
        ("patch 0.mlp token=5-2 zero", "token=5-2 is empty"),
        ("patch 0.mlp channel=3:3 zero", "channel=3:3 is empty"),
        ("patch 0.mlp step=x zero", "step=x is not one step: step=0 is the prefill, or step=all"),
        ("patch 0.mlp from", "from where? from reference, from candidate or from FILE"),
        ("patch 0.mpl zero", "no activation is called \"0.mpl\": names look like 3.q_rope, 3, norm or *.mlp"),
        ("patch 9.mlp zero", "there is no 9.mlp: the layers are 0 to 2"),
        ("patch 0.context head=4 zero", "0.context has no head 4: they are 0 to 3"),
        ("patch 0.k_proj head=2-3 zero", "0.k_proj has no key/value head 3: they are 0 to 1"),
        ("patch 0.mlp head=0 zero", "0.down_proj has no heads"),
        ("patch * head=0 zero", "embed_tokens has no heads"),
        ("patch 0.mlp key=0 zero", "0.down_proj has no keys: only scores and probs have"),
        ("patch 0.probs channel=0 zero", "0.probs has keys, not channels"),
        ("patch 0.mlp channel=48 zero", "0.down_proj has no channel 48: they are 0 to 47"),
        ("patch 0.q_proj channel=64 zero", "0.q_proj has no channel 64: they are 0 to 63"),
        ("patch 0.q_proj head=1 channel=16 zero", "0.q_proj has no channel in a head 16: they are 0 to 15"),
        ("patch 0.q_rope channel=16 zero", "0.q_rope has no channel 16: they are 0 to 15"),
        ("patch 0.mlp token=14 zero", "there is no token 14: they are 0 to 13"),
        ("patch 0.scores key=14 zero", "there is no key 14: they are 0 to 13"),
        ("patch 0.mlp step=2 zero", "there is no step 2: they are 0 to 1"),
        ("patch 0.mlp step=1 token=3 zero", "step 1 feeds tokens 13 to 13: none of them is meant"),
        ("patch 0.scores token=2 key=5 zero", "the mask hides all of 0.scores token=2 key=5"),
        ("ablate", "ablate what? give an activation, head LAYER.HEAD or expert LAYER.EXPERT"),
        ("ablate head", "which head? head 5 of layer 3 is 3.5"),
        ("ablate head 3", "3 is no head: head 5 of layer 3 is 3.5, heads 0 to 7 are 3.0-7"),
        ("ablate head 1.5", "1.context has no head 5: they are 0 to 3"),
        ("ablate head 7.0", "there is no 7.context: the layers are 0 to 2"),
        ("ablate head 1.0 head=1", "heads are named as LAYER.HEAD: head= says it twice"),
        ("ablate expert", "which expert? expert 5 of layer 3 is 3.5"),
        ("ablate expert 3", "3 is no expert: expert 5 of layer 3 is 3.5, experts 0 to 7 are 3.0-7"),
        ("force 1.0 channel=1", "experts are named as LAYER.EXPERT: beside that, token= and step= say where"),
        ("force 1.0", "this model has no experts"),
        ("heal", "heal what? give an activation"),
        ("heal 0.mlp zero", "\"zero\" does not say what to heal: token=, head=, key=, channel= or step="),
        ("heal 0.mlp", "there is no reference: give its dump as --reference"),
        ("patch 0.mlp from candidate", "there is no candidate: give its dump as --candidate"),
        (
            "patch 0.mlp from FOLDER/wrong.npy",
            "FOLDER/wrong.npy has an array of shape [5, 48] where 0.down_proj has [13, 48]",
        ),
        (
            "patch 0.mlp token=2-5 from FOLDER/wrong.npy",
            "FOLDER/wrong.npy has an array of shape [5, 48] where 0.down_proj has [13, 48], or [4, 48] for the part",
        ),
        (
            "patch 0.mlp from FOLDER/two.safetensors",
            "FOLDER/two.safetensors has no model.layers.0.mlp.down_proj: layerstep inspect FOLDER/two.safetensors lists what \
             it has",
        ),
        ("unpatch", "unpatch what? give the number of a patch, an activation, or all"),
        ("unpatch 1 2", "one at a time: \"2\" is too much"),
        ("unpatch 1", "there are no patches"),
    ] {
        let here = folder.path().display().to_string();
        let said = patch(&mut debugger, &command.replace("FOLDER", &here)).expect_err(command);
        assert_eq!(said, expected.replace("FOLDER", &here), "{command}");
    }
    for missing in ["none.npy", "text.npy"] {
        let said = patch(&mut debugger, &format!("patch 0.mlp from {}", path(missing).display())).expect_err(missing);
        assert!(said.contains(missing) && !said.contains('\n'), "{said}");
    }
    assert!(before == state(&debugger) && debugger.patches().is_empty());
}

#[test]
fn requests_have_one_spelling() {
    for (typed, canonical) in [
        ("patch 3.mlp  zero", "patch 3.mlp zero"),
        ("patch *.q_rope head=0-3 token=all mean", "patch *.q_rope head=0-3 mean"),
        ("patch 3.mlp scale -0.50 token=2", "patch 3.mlp token=2 scale -0.5"),
        ("patch 3.scores key=0:8 token=-1 step=0 set -inf", "patch 3.scores token=-1 key=0-7 step=0 set -inf"),
        ("patch 3 channel=507 step=all set nan", "patch 3 channel=507 set NaN"),
        ("patch 3 add 1e-30", "patch 3 add 0.000000000000000000000000000001"),
        ("patch 3 from reference token=3", "patch 3 token=3 from reference"),
        ("patch 3 from candidate", "patch 3 from candidate"),
        ("patch 3 token=3-3 from  a file.npy ", "patch 3 token=3 from a file.npy"),
        ("ablate 3.mlp token=4 4.mlp", "ablate 3.mlp 4.mlp token=4"),
        ("ablate head 3.5 4.0:3 step=1", "ablate head 3.5 4.0-2 step=1"),
        ("ablate expert 3.5 4.0:3 step=1", "ablate expert 3.5 4.0-2 step=1"),
        ("force 3.5 token=2", "force 3.5 token=2"),
        ("heal 3.mlp channel=3", "heal 3.mlp channel=3"),
    ] {
        let found = request(typed).expect(typed);
        assert_eq!(found.to_string(), canonical);
        assert_eq!(request(canonical).expect(canonical), found, "{canonical}");
    }
    for line in ["3", "all", "3.mlp", "layers.3"] {
        let found = Unpatch::parse(line).expect(line);
        assert_eq!(found.to_string(), format!("unpatch {line}"));
        assert_eq!(Unpatch::parse(line), Ok(found));
    }
}
