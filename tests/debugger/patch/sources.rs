//! Values of dumps and of files.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use layerstep::debugger::Debugger;
use layerstep::diagnose::Witnesses;
use layerstep::dump::{Dump, Options};
use layerstep::engine::{Op, Role};
use layerstep::formats::{Archive, write_npy, write_safetensors};
use ndarray::{ArrayD, Axis, Slice, s};

use super::subject::{CHAINED, CHANGED, alone, apart, debugger, effect, finish, go, logits, patch, state, values};
use crate::support::{Reference, SOME, repository, tiny};

/// A tiny model beside `PyTorch`'s dump as `change` makes it: 13 tokens and four decode steps.
fn beside(name: &str, candidate: bool, change: impl Fn(&str, ArrayD<f32>) -> Option<ArrayD<f32>>) -> Debugger {
    let (model, reference) = (tiny(name), Reference::tiny(name));
    let archive = archive(name);
    let kept: Vec<(String, ArrayD<f32>)> = archive
        .entries()
        .iter()
        .filter_map(|entry| {
            let values = archive.read(&entry.name).expect("a tensor").into_f32();
            change(&entry.name, values).map(|values| (entry.name.clone(), values))
        })
        .collect();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("changed.safetensors");
    write(&path, &kept, archive.metadata());
    let bytes = std::fs::read(&path).expect("just written").leak();
    let archive = Archive::from_safetensors_bytes("changed", bytes).expect("a dump");
    let mut dump = Dump::from_archive(archive, &model.graph, &Options::default()).expect("a dump");
    dump.bind(&reference.ids, &reference.steps).unwrap_or_else(|error| panic!("{error}"));
    let dump = Some(Arc::new(dump));
    let dumps = if candidate {
        Witnesses { reference: None, candidate: dump }
    } else {
        Witnesses { reference: dump, candidate: None }
    };
    debugger(model, reference.ids, reference.steps, dumps)
}

fn archive(name: &str) -> Archive {
    Archive::open(&repository("reference/tiny").join(name).join("reference.safetensors")).expect("a dump")
}

fn write(path: &Path, tensors: &[(String, ArrayD<f32>)], metadata: &BTreeMap<String, String>) {
    let views: Vec<_> = tensors.iter().map(|(name, values)| (name.clone(), values.view())).collect();
    write_safetensors(path, &views, metadata).expect("a dump");
}

#[test]
fn what_was_ablated_is_healed() {
    for name in SOME {
        for (activation, forward) in
            [("0.mlp", 0), ("1.v_proj", 1), ("2.scores", 0), ("1.probs", 1), ("0.k_rope", 1), ("1", 1)]
        {
            let mut clean = beside(name, false, |_, values| Some(values));
            finish(&mut clean, forward);
            let mut debugger = beside(name, false, |_, values| Some(values));
            finish(&mut debugger, forward);
            let graph = Arc::clone(&debugger.model().graph);
            let Some(site) = graph.parse(activation) else { continue };
            // A norm behind attention or MLP, or behind all layers, takes a factor of what they give off again; one that
            // takes off the mean, what all channels gain.
            let normed = graph.has(Role::MlpOutNorm) && ["0.mlp", "1.v_proj", "1.probs"].contains(&activation);
            let normed = normed || graph.readers(site).all(|reader| matches!(graph[reader].op, Op::Norm { .. }));
            let change = match graph.in_layer(graph.layers() - 1, Role::Block) == Some(site) {
                true => "channel=0 add 1",
                false if normed => "add 1",
                false => "scale 0.25",
            };
            patch(&mut debugger, &format!("patch {activation} {change}")).expect("a patch");
            let broken = apart(&logits(&debugger), &logits(&clean));
            assert!(broken > CHANGED, "{name}: {activation} changes {broken:.2e}");
            patch(&mut debugger, &format!("heal {activation}")).expect("a patch");
            let healed = apart(&logits(&debugger), &logits(&clean));
            assert!(healed <= CHAINED, "{name}: {activation} is off by {healed:.2e}");
            // The values are the dump's own.
            let row = site.index();
            let step = if forward == 0 { String::new() } else { format!("@{forward}") };
            let stored = archive(name).read(&format!("{}{step}", debugger.listing().rows[row].name)).expect("a tensor");
            let mut stored = stored.into_f32();
            if stored.ndim() == 3 {
                stored = stored.index_axis_move(Axis(0), 0);
            }
            let ours = values(&debugger, row, 0);
            for (ours, stored) in ours.iter().zip(stored.outer_iter()) {
                let cut = ours.len() - stored.len();
                assert!(ours[cut..].iter().zip(&stored).all(|(a, b)| a == b || (*a < -1e30 && *b < -1e30)), "{name}");
            }
        }
    }
}

#[test]
fn a_dump_must_have_what_is_taken_from_it() {
    let mut debugger = beside("llama", false, |name, values| match name {
        "model.layers.1.mlp.down_proj" => Some(values.slice_axis_move(Axis(0), Slice::from(11..))),
        "model.layers.0.mlp.down_proj@2" => None,
        _ => Some(values),
    });
    finish(&mut debugger, 0);
    for (command, expected) in [
        ("heal 1.mlp", "the reference does not have token 0 and 10 more of 1.down_proj"),
        ("heal 1.mlp token=10-12", "the reference does not have token 10 of 1.down_proj"),
        ("heal *.mlp", "the reference does not have 0.down_proj in step 2"),
        ("patch 1.mlp from candidate", "there is no candidate: give its dump as --candidate"),
    ] {
        assert_eq!(patch(&mut debugger, command).expect_err(command), expected);
    }
    for command in ["heal 1.mlp token=11-16", "heal 1.mlp token=-1", "heal 0.mlp step=1", "heal 0.mlp token=0-13"] {
        patch(&mut debugger, command).expect(command);
    }
    let mut debugger = beside("llama", true, |_, values| Some(values));
    let said = patch(&mut debugger, "heal 1.mlp token=3").expect_err("no reference");
    assert_eq!(
        said,
        "there is no reference to heal from, only a candidate: patch 1.mlp token=3 from candidate takes its values"
    );
    patch(&mut debugger, "patch 1.mlp token=3 from candidate").expect("a patch");
}

/// A patch from a file and one from text must give the same bits.
#[track_caller]
fn same(a: &str, b: &str) {
    let [a, b] = [a, b].map(|command| {
        let mut debugger = alone("llama");
        patch(&mut debugger, command).expect(command);
        finish(&mut debugger, 1);
        let later = state(&debugger);
        let mut debugger = alone("llama");
        patch(&mut debugger, command).expect(command);
        finish(&mut debugger, 0);
        (state(&debugger), later)
    });
    assert!(a == b);
}

#[test]
fn files_hold_the_whole_or_the_part() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let file = |name: &str, shape: &[usize]| {
        write_npy(&path(name), &ArrayD::from_elem(shape, 0.5f32).view()).expect("a file");
        path(name).display().to_string()
    };
    let whole = file("whole of it.npy", &[13, 48]);
    same(&format!("patch 0.mlp from {whole}"), "patch 0.mlp step=0 set 0.5");
    same(&format!("patch 0.mlp token=3 channel=4-5 from {whole}"), "patch 0.mlp token=3 channel=4-5 set 0.5");
    same(&format!("patch 0.mlp token=2-5 from {}", file("part.npy", &[4, 48])), "patch 0.mlp token=2-5 set 0.5");
    same(&format!("patch 0.mlp token=3 from {}", file("row.npy", &[48])), "patch 0.mlp token=3 set 0.5");
    same(&format!("patch 0.mlp step=1 from {}", file("last.npy", &[1, 48])), "patch 0.mlp step=1 set 0.5");
    same(
        &format!("patch 1.context head=1-2 from {}", file("heads.npy", &[13, 32])),
        "patch 1.context head=1-2 step=0 set 0.5",
    );
    same(
        &format!("patch 1.q_rope head=3 from {}", file("head.npy", &[1, 1, 13, 16])),
        "patch 1.q_rope head=3 step=0 set 0.5",
    );
    same(
        &format!("patch 1.q_rope token=4 head=1 channel=0:8 from {}", file("few.npy", &[8])),
        "patch 1.q_rope token=4 head=1 channel=0:8 set 0.5",
    );

    // Places inside the part, each with its own value.
    let mut values = ArrayD::zeros(vec![13, 48]);
    values.iter_mut().enumerate().for_each(|(index, value)| *value = index as f32);
    let part = values.slice(s![2..5, 7..9]).to_owned().into_dyn();
    write_npy(&path("all.npy"), &values.view()).expect("a file");
    write_npy(&path("some.npy"), &part.view()).expect("a file");
    let place = "patch 0.mlp token=2-4 channel=7:9 from";
    same(&format!("{place} {}", path("all.npy").display()), &format!("{place} {}", path("some.npy").display()));

    // Names say which activation and which forward.
    let named = |name: &str, value: f32, tokens: usize| (name.to_string(), ArrayD::from_elem(vec![tokens, 48], value));
    let both = [named("model.layers.0.mlp.down_proj", 0.5, 13), named("model.layers.0.mlp.down_proj@1", 0.5, 1)];
    let other = [both[0].clone(), named("model.layers.1", 3.0, 13)];
    write(&path("both.safetensors"), &both, &BTreeMap::new());
    write(&path("other.safetensors"), &other, &BTreeMap::new());
    same(&format!("patch 0.mlp from {}", path("both.safetensors").display()), "patch 0.mlp set 0.5");
    same(&format!("patch 0.mlp from {}", path("other.safetensors").display()), "patch 0.mlp step=0 set 0.5");
    same(&format!("patch 1 from {}", path("other.safetensors").display()), "patch 1 step=0 set 3");
}

#[test]
fn healed_logits_are_the_dumps_wherever_the_debugger_stands() {
    let mut debugger = beside("qwen2", false, |_, values| Some(values));
    patch(&mut debugger, "ablate 0.mlp").expect("a patch");
    assert!(effect(&mut debugger).kl > CHANGED);
    patch(&mut debugger, "heal lm_head").expect("a patch");
    for forward in 0..3 {
        let found = effect(&mut debugger);
        assert!(found.kl < 1e-9 && found.rank == 1, "{}", found.kl);
        finish(&mut debugger, forward);
        assert_eq!(effect(&mut debugger), found);
        finish(&mut debugger, forward + 1);
        go(&mut debugger, "embed_tokens");
    }
}
