//! Names that have two uses, tensors that fit none, and those that no rule knows: shapes and values tell.

use std::sync::Arc;

use layerstep::dump::{Map, settle_uses, suggested_map};
use layerstep::engine::Role as A;
use ndarray::ArrayD;

use crate::fixture::{Tensors, at, bits, graph_of, model, numbers, parsed, prefill};

/// The words for roles, in a dump that lacks the others.
type Words = &'static [(A, &'static str)];

#[test]
fn a_name_of_two_uses_is_the_one_that_fits() {
    let cases: &[(&str, Words, &[A])] = &[
        ("llama", &[(A::ActMul, "mlp.act_fn")], &[A::ActFn]),
        ("llama", &[(A::ActFn, "mlp.act_fn")], &[A::ActMul]),
        ("llama", &[(A::Context, "self_attn.attn")], &[]),
        ("llama", &[(A::Context, "self_attn.attn")], &[A::OProj]),
        ("mistral", &[(A::OProj, "self_attn.attn")], &[A::Context]),
        ("llama", &[(A::QRope, "q"), (A::KRope, "k")], &[A::QProj, A::KProj]),
        ("llama", &[(A::QProj, "self_attn.q"), (A::KProj, "self_attn.k")], &[A::QRope, A::KRope]),
        ("qwen3", &[(A::QNorm, "q"), (A::KNorm, "k")], &[A::QProj, A::KProj, A::QRope, A::KRope]),
        ("qwen3", &[(A::Probs, "self_attn.scores")], &[A::Scores]),
        ("qwen3", &[(A::Scores, "attn_weights")], &[A::Probs]),
        ("gpt2", &[(A::Probs, "attn_weights")], &[A::Scores]),
    ];
    for (name, words, without) in cases {
        let (graph, original, model) = (graph_of(name), prefill(name), Arc::new(model(name)));
        let renamed = original.rewritten(|name, values| {
            let (_, site) = parsed(name, &graph);
            let role = graph[site].role?;
            if without.contains(&role) {
                return None;
            }
            let word = words.iter().find(|(of, _)| *of == role).map(|(_, word)| *word);
            let layer = graph[site].layer.unwrap_or(0);
            Some((word.map_or_else(|| name.into(), |word| format!("layers.{layer}.{word}")), values.clone()))
        });
        let (mut dump, _written) = renamed.open(&graph);
        settle_uses(&mut dump, &model, &original.ids(), &[13]).expect("read");
        dump.bind(&original.ids(), &[13]).expect("every shape fits");
        for (role, word) in *words {
            for layer in 0..graph.layers() {
                let site = at(&graph, layer, *role);
                let read = dump.read(0, site, None).expect("read");
                let read =
                    read.unwrap_or_else(|| panic!("{name}, without {without:?}: {word} is {}", graph.name(site)));
                let wanted = original.of(&graph, 0, site).expect("there");
                assert!(bits(&read.part.values) == bits(wanted), "{name}: {word}");
            }
        }
    }
}

#[test]
fn one_tensor_that_does_not_fit_is_left_out() {
    let (graph, original) = (graph_of("llama"), prefill("llama"));
    let mut odd = original.clone();
    for (name, values) in &mut odd.tensors {
        if name == "model.layers.1.mlp.up_proj" {
            *values = numbers(&[5, 7], 1);
        }
    }
    odd.tensors.push(("foo".into(), numbers(&[2], 1)));
    let (dump, _written) = odd.bound(&graph);
    let coverage = dump.coverage();
    assert_eq!((coverage.dumped, coverage.compared), (58, 56));
    assert_eq!(coverage.ignored, ["foo", "model.layers.1.mlp.up_proj"]);
    assert_eq!(coverage.said().as_deref(), Some("56 of 58 tensors compared"));
    assert!(dump.notes()[0].starts_with("model.layers.1.mlp.up_proj has shape [5, 7], which does not fit"));
    assert_eq!(original.bound(&graph).0.coverage().said(), None);
}

#[test]
fn embeddings_are_found_by_their_rows() {
    let (graph, mut original, model) = (graph_of("qwen2"), prefill("qwen2"), model("qwen2"));
    let ids = original.ids();
    original.metadata.clear();
    let renamed = original.rewritten(|name, values| {
        Some((if name == "model.embed_tokens" { "whatever" } else { name }.into(), values.clone()))
    });
    let (mut dump, _written) = renamed.open(&graph);
    assert!(dump.recover_ids(&model).expect("read"));
    assert_eq!(dump.ids().map(|found| &found.ids), Some(&ids));
    dump.bind(&ids, &[13]).expect("every shape fits");
    assert!(dump.planned(0, at(&graph, 0, A::EmbedTokens)).is_some_and(|planned| planned.name == "whatever"));
}

#[test]
fn a_map_is_suggested_that_can_be_read() {
    let (graph, original, model) = (graph_of("llama"), prefill("llama"), Arc::new(model("llama")));
    let strange = |name: &str| format!("\"{}\" of mine", name.replace('.', "/x"));
    let mut renamed = original.rewritten(|name, values| {
        let new = if name.contains("layers.1.") { strange(name) } else { name.into() };
        Some((new, values.clone()))
    });
    renamed.tensors.push(("noise".into(), ArrayD::from_elem(vec![13, 48], 0.5)));
    let (dump, _written) = renamed.bound(&graph);
    let text = suggested_map(&dump, &model, &original.ids()).expect("a map");
    assert!(text.contains("# noise [13, 48]: equals nothing"), "{text}");
    let map = Map::parse(std::path::Path::new("map.toml"), &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let mapped = Tensors { tensors: renamed.tensors.clone(), metadata: original.metadata.clone() };
    let written = mapped.write();
    let options = layerstep::dump::Options { map: Some(map), batch: None };
    let mut dump = layerstep::dump::Dump::open(&written.path, &graph, &options).expect("a dump");
    dump.bind(&original.ids(), &[13]).expect("every shape fits");
    assert_eq!(dump.unmatched().len(), 1, "{:?}", dump.unmatched());
    for (name, values) in &original.tensors {
        let (_, site) = parsed(name, &graph);
        let read = dump.read(0, site, None).expect("read").unwrap_or_else(|| panic!("{name}\n{text}"));
        assert!(bits(&read.part.values) == bits(values), "{name}");
    }
}
