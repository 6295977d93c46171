//! Where the ids of a dump come from.

use layerstep::dump::{Dump, IdsOrigin, Options};
use layerstep::engine::Role as A;
use ndarray::{Axis, arr1};

use crate::fixture::{Tensors, at, graph_of, model, prefill, reference};

#[test]
fn ids_come_from_the_metadata() {
    let (graph, original) = (graph_of("llama"), reference("llama"));
    let (dump, _written) = original.open(&graph);
    let ids = dump.ids().expect("ids");
    assert_eq!((&ids.ids, &ids.steps, ids.origin), (&original.ids(), &original.steps(), IdsOrigin::Metadata));
}

#[test]
fn ids_come_from_a_tensor() {
    let (graph, mut original) = (graph_of("llama"), prefill("llama"));
    let ids = original.ids();
    original.metadata.clear();
    let values = arr1(&ids).mapv(|id| id as f32).into_dyn();
    for values in [values.clone(), values.insert_axis(Axis(0))] {
        let mut with = original.clone();
        with.tensors.push(("input_ids".into(), values));
        let (dump, _written) = with.open(&graph);
        let found = dump.ids().expect("ids");
        assert_eq!((&found.ids, &found.steps, found.origin), (&ids, &vec![13], IdsOrigin::Tensor));
        assert!(dump.unmatched().is_empty());
    }
}

#[test]
fn steps_come_from_the_shapes_of_later_forwards() {
    let (graph, mut original) = (graph_of("llama"), reference("llama"));
    original.metadata.remove("steps");
    let (dump, _written) = original.open(&graph);
    assert_eq!(dump.ids().map(|ids| ids.steps.clone()), Some(vec![13, 1, 1, 1, 1]));
    original.metadata.clear();
    let (dump, _written) = original.open(&graph);
    assert!(dump.ids().is_none());
    assert_eq!(dump.steps_for(17), [13, 1, 1, 1, 1]);
    assert_eq!(dump.steps_for(3), [3], "fewer ids than the later forwards have rows");
}

#[test]
fn ids_are_recovered_from_embedding_rows() {
    for name in ["llama", "qwen3"] {
        let (graph, mut original, model) = (graph_of(name), reference(name), model(name));
        let (ids, steps) = (original.ids(), original.steps());
        original.metadata.clear();
        let rounded =
            original.rewritten(|name, values| Some((name.into(), values.mapv(|v| half::bf16::from_f32(v).to_f32()))));
        for dump in [original, rounded] {
            let (mut dump, _written) = dump.open(&graph);
            assert!(dump.ids().is_none());
            assert!(dump.recover_ids(&model).expect("read"));
            let found = dump.ids().expect("ids");
            assert_eq!((&found.ids, &found.steps, found.origin), (&ids, &steps, IdsOrigin::Embeddings));
            assert!(dump.notes().iter().any(|note| note.contains("ids recovered")), "{:?}", dump.notes());
        }
    }
}

#[test]
fn ids_are_not_recovered_from_rows_that_are_not_the_tables() {
    let (graph, mut original, model) = (graph_of("llama"), prefill("llama"), model("llama"));
    original.metadata.clear();
    let scaled = original.rewritten(|name, values| Some((name.into(), values * 1.5)));
    let (mut dump, _written) = scaled.open(&graph);
    assert!(!dump.recover_ids(&model).expect("read"));
    let none =
        original.rewritten(|name, values| name.starts_with("model.layers").then(|| (name.into(), values.clone())));
    let (mut dump, _written) = none.open(&graph);
    assert!(!dump.recover_ids(&model).expect("read"));
    assert!(dump.ids().is_none());
}

#[test]
fn ids_that_cannot_be_are_refused() {
    let graph = graph_of("llama");
    let cases = [
        ("input_ids", "[1, 2, 192]", "has 192, outside the model's vocabulary of 192 ids (0 to 191)"),
        ("input_ids", "[1, -1]", "has -1, outside the model's vocabulary"),
        ("input_ids", "[4294967297]", "has 4294967297, outside the model's vocabulary"),
        ("input_ids", "[]", "its metadata input_ids is empty"),
        ("input_ids", "1, 2", "is no JSON list of token ids: \"1, 2\""),
        ("input_ids", "[1.5]", "is no JSON list of token ids"),
        ("input_ids", "[[1, 2], [3, 4]]", "it was fed a batch of 2 sequences; choose one with --batch 0 to 1"),
        ("steps", "[13, 1]", "should be tokens per forward that add up to 13 ids, and is \"[13, 1]\""),
        ("steps", "[13, 0]", "should be tokens per forward"),
        ("steps", "[18446744073709551615, 14]", "should be tokens per forward"),
        ("steps", "\u{1b}[2J", "is \"\\u{1b}[2J\""),
    ];
    for (key, text, expected) in cases {
        let mut bad = prefill("llama");
        bad.metadata.insert(key.into(), text.into());
        let written = bad.write();
        let error = Dump::open(&written.path, &graph, &Options::default()).expect_err(text).to_string();
        assert!(error.contains(expected), "{error}");
        assert!(error.contains("dump.safetensors: ") && !error.contains('\u{1b}'), "{error}");
    }
}

#[test]
fn fractions_are_no_ids() {
    let (graph, mut original) = (graph_of("llama"), prefill("llama"));
    original.metadata.clear();
    original.tensors.push(("input_ids".into(), arr1(&[1.0, 2.5]).into_dyn()));
    let written = original.write();
    let error = Dump::open(&written.path, &graph, &Options::default()).expect_err("fractions").to_string();
    assert!(error.ends_with("its tensor \"input_ids\" should hold token ids, and holds fractions"), "{error}");
}

#[test]
fn nothing_is_read_before_the_ids_are_known() {
    let (graph, original) = (graph_of("llama"), prefill("llama"));
    let (dump, _written) = original.open(&graph);
    let error = dump.read(0, at(&graph, 0, A::LmHead), None).expect_err("unbound").to_string();
    assert!(
        error.ends_with("the ids of this dump are not known, so its rows cannot be told; give --ids or --prompt"),
        "{error}"
    );
    assert!(dump.planned(0, at(&graph, 0, A::LmHead)).is_some(), "names are known at once");
    let empty: Tensors = original.rewritten(|_, _| None);
    assert!(Dump::open(&empty.write().path, &graph, &Options::default()).is_err(), "a dump without tensors");
}
