//! Experts that tie: rounding decides which of two a token is given, and either choice is right. A choice that is none of
//! these is a mistake.

use std::fs;

use layerstep::diagnose::{Report, Status, Verdict};
use layerstep::engine::{Graph, Role as R};
use layerstep::formats::{Archive, write_safetensors};
use layerstep::model::Model;
use layerstep::ops::Rounding;
use ndarray::{ArrayD, Axis};

use super::coverages;
use super::subject::{Format, Subject};
use crate::fixture::{Tensors, graph_of, parsed, reference, tiny};

const MODEL: &str = "qwen3_moe";

/// The two experts that the router of layer 0 cannot tell apart.
const TIED: [usize; 2] = [2, 4];

/// The tiny model with two rows of a router that are nearly one, fed what PyTorch's dump was fed.
fn subject() -> Subject {
    let archive = Archive::open(&tiny(MODEL).join("model.safetensors")).expect("the weights");
    let mut tensors: Vec<(String, ArrayD<f32>)> = Vec::new();
    for entry in archive.entries() {
        tensors.push((entry.name.clone(), archive.read(&entry.name).expect("a tensor").into_f32()));
    }
    let router = tensors.iter_mut().find(|(name, _)| name.ends_with("layers.0.mlp.gate.weight")).expect("a router");
    let mut row = router.1.index_axis(Axis(0), TIED[0]).to_owned();
    row[[0]] *= 1.0 + f32::EPSILON;
    router.1.index_axis_mut(Axis(0), TIED[1]).assign(&row);
    let folder = tempfile::tempdir().expect("a folder");
    fs::copy(tiny(MODEL).join("config.json"), folder.path().join("config.json")).expect("copied");
    let views: Vec<_> = tensors.iter().map(|(name, values)| (name.clone(), values.view())).collect();
    write_safetensors(&folder.path().join("model.safetensors"), &views, archive.metadata()).expect("written");
    let model = Model::load(folder.path()).expect("a model");
    let dump = reference(MODEL);
    Subject::with(model, dump.ids(), dump.steps())
}

/// The other one of the tied experts, where only one is chosen.
fn other_choice(graph: &Graph, name: &str, values: &mut ArrayD<f32>) {
    let (_, site) = parsed(name, graph);
    if Some(site) != graph.in_layer(0, R::Routing) {
        return;
    }
    for mut row in values.outer_iter_mut() {
        let [a, b] = TIED.map(|expert| row[[expert]]);
        if (a == 0.0) != (b == 0.0) {
            (row[[TIED[0]]], row[[TIED[1]]]) = (b, a);
        }
    }
}

/// What has no routing, and more.
fn without(dump: &Tensors, graph: &Graph, roles: &[R]) -> Tensors {
    let kept = |name: &str| !graph[parsed(name, graph).1].role.is_some_and(|role| roles.contains(&role));
    dump.rewritten(|name, values| kept(name).then(|| (name.to_string(), values.clone())))
}

fn parts(dump: &Tensors, graph: &Graph) -> Vec<(&'static str, Tensors)> {
    let inner = [R::Routing, R::ExpertGate, R::ExpertUp, R::ExpertAct, R::ExpertActMul, R::ExpertDown];
    let outer = [&inner[..], &[R::RouterLogits, R::MlpNorm, R::ResidMid]].concat();
    vec![
        ("all", dump.clone()),
        ("no logits", without(dump, graph, &[R::RouterLogits])),
        ("no routing", without(dump, graph, &[R::Routing])),
        ("no routing and no logits", without(dump, graph, &[R::Routing, R::RouterLogits])),
        ("nothing inside", without(dump, graph, &inner)),
        ("the sum of the experts", without(dump, graph, &outer)),
        ("blocks", coverages::blocks(dump, graph)),
        ("every second block", coverages::second_blocks(dump, graph)),
    ]
}

#[track_caller]
fn accuses_nobody(report: &Report, what: &str) {
    assert!(report.divergences.is_empty(), "{what}: {}", report.sentence);
    let wrong = report.activations.iter().find(|row| matches!(row.status, Status::Bad | Status::Propagated));
    assert!(wrong.is_none(), "{what}: {wrong:?}");
    assert_eq!(report.verdict, Verdict::Rounding, "{what}: {}", report.sentence);
}

#[test]
fn either_choice_is_right_where_experts_tie() {
    let subject = subject();
    let graph = graph_of(MODEL);
    for rounding in [Rounding::None, Rounding::Bf16] {
        let plain = subject.recorded(rounding, |_, _| ());
        let dump = subject.recorded(rounding, |name, values| other_choice(&graph, name, values));
        for ((what, part), (_, plain)) in parts(&dump, &graph).into_iter().zip(parts(&plain, &graph)) {
            let what = format!("{what}, {rounding:?}");
            let report = subject.report(None, Some(&part), Format::Safetensors);
            accuses_nobody(&report, &what);
            let tie = |note: &&String| note.contains("of token") && note.contains("is a tie: experts");
            assert!(rounding != Rounding::None || report.notes.iter().any(|note| tie(&note)), "{:?}", report.notes);
            let report = subject.report(Some(&plain), Some(&part), Format::Safetensors);
            accuses_nobody(&report, &what);
            let report = subject.report(Some(&part), Some(&part), Format::Safetensors);
            accuses_nobody(&report, &what);
        }
    }
}

#[test]
fn another_choice_is_a_mistake() {
    let subject = subject();
    let graph = graph_of(MODEL);
    let dump = subject.recorded(Rounding::None, |name, values| {
        let (_, site) = parsed(name, &graph);
        if Some(site) != graph.in_layer(2, R::Routing) {
            return;
        }
        // The expert after the last that is chosen is taken in its place.
        for mut row in values.outer_iter_mut() {
            let last = (0..row.len()).rev().find(|expert| row[[*expert]] != 0.0).expect("some are chosen");
            let free = (0..row.len()).find(|expert| row[[*expert]] == 0.0).expect("some are not");
            (row[[free]], row[[last]]) = (row[[last]], 0.0);
        }
    });
    for ((what, part), first) in parts(&dump, &graph).into_iter().zip([
        R::Routing,
        R::Routing,
        R::ExpertGate,
        R::ExpertGate,
        R::Experts,
        R::Experts,
        R::Block,
        R::Block,
    ]) {
        let report = subject.report(None, Some(&part), Format::Safetensors);
        assert_eq!(report.verdict, Verdict::Diverged, "{what}: {}", report.sentence);
        let site = graph.in_layer(2, first).expect("layer 2 has experts");
        assert_eq!(report.divergences[0].name, graph.name(site), "{what}: {}", report.sentence);
    }
}
