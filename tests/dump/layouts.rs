//! Every layout of every kind of activation, told by its shape, or by the values where shapes do not tell.

use std::sync::Arc;

use layerstep::dump::{Dump, Options};
use layerstep::engine::{Graph, Role as A, Site};
use ndarray::{ArrayD, Axis};

use crate::fixture::{Tensors, at, bits, graph_of, head_dim, made_up, numbers, permute, prefill, reshape};

/// One tensor of the prefill, rewritten; its plan must say `steps`.
#[track_caller]
fn check(graph: &Arc<Graph>, original: &Tensors, site: Site, values: ArrayD<f32>, steps: &str) {
    let one = Tensors { tensors: vec![(graph.name(site).to_string(), values)], metadata: original.metadata.clone() };
    let (dump, _written) = one.bound(graph);
    let planned = dump.planned(0, site).expect("planned");
    assert_eq!(planned.steps().join(", "), steps, "{planned}");
    let exact = original.get(graph.name(site));
    let ours = planned.is_ambiguous().then(|| exact.view());
    let read = dump.read(0, site, ours).expect("read").expect("there");
    assert!(bits(&read.part.values) == bits(exact), "{planned}");
}

#[test]
fn rows_are_read_in_every_layout() {
    let (graph, original) = (graph_of("llama"), prefill("llama"));
    for activation in [A::EmbedTokens, A::InputNorm, A::GateProj, A::Block, A::LmHead] {
        let site = at(&graph, 1, activation);
        let x = original.get(graph.name(site));
        let (t, c) = (13, x.shape()[1]);
        check(&graph, &original, site, x.clone(), "");
        check(&graph, &original, site, reshape(x, &[1, t, c]), "squeezed");
        check(&graph, &original, site, reshape(x, &[1, 1, t, c]), "squeezed");
        check(&graph, &original, site, reshape(x, &[t, 1, c]), "squeezed");
        check(&graph, &original, site, reshape(x, &[t * c]), "reshaped to [token, channel]");
        let turned = "transposed from [channel, token], 2 readings fit: the values decide";
        check(&graph, &original, site, permute(x, &[1, 0]), turned);
        check(&graph, &original, site, reshape(x, &[c, t]), turned);
    }
}

#[test]
fn heads_are_read_in_every_layout() {
    for name in ["llama", "qwen3"] {
        let (graph, original) = (graph_of(name), prefill(name));
        let all = [A::QProj, A::KProj, A::VProj, A::QNorm, A::KNorm, A::QRope, A::KRope, A::Context];
        for activation in all.into_iter().filter(|role| graph.has(*role)) {
            let site = at(&graph, 2, activation);
            let table = original.get(graph.name(site));
            let (t, d) = (13, head_dim(&graph));
            let h = table.len() / t / d;
            let merged = table.ndim() == 2;
            let heads = if merged { permute(&reshape(table, &[t, h, d]), &[1, 0, 2]) } else { table.clone() };
            let rows = permute(&heads, &[1, 0, 2]);
            let (thd, htd) =
                ("transposed from [token, head, head_dim]", "transposed from [head, token, head_dim], heads joined");
            let cases = [
                (heads.clone(), if merged { htd } else { "" }),
                (rows.clone(), if merged { "heads joined" } else { thd }),
                (
                    reshape(&rows, &[t, h * d]),
                    if merged { "" } else { "split into heads, transposed from [token, head * head_dim]" },
                ),
                (
                    heads.clone().insert_axis(Axis(0)),
                    if merged { "squeezed, transposed from [head, token, head_dim], heads joined" } else { "squeezed" },
                ),
            ];
            for (values, steps) in cases {
                check(&graph, &original, site, values, steps);
            }
            // Shapes that fit two readings, with the values to decide.
            for values in [
                permute(&heads, &[0, 2, 1]),
                permute(&heads, &[2, 1, 0]),
                permute(&rows, &[2, 1, 0]),
                reshape(&heads, &[h * t * d]),
            ] {
                let one = Tensors {
                    tensors: vec![(graph.name(site).to_string(), values)],
                    metadata: original.metadata.clone(),
                };
                let (dump, _written) = one.bound(&graph);
                let read = dump.read(0, site, Some(table.view())).expect("read").expect("there");
                assert!(bits(&read.part.values) == bits(table), "{}", dump.plan());
            }
        }
    }
}

#[test]
fn repeated_key_heads_are_taken_once() {
    let (graph, original) = (graph_of("mistral"), prefill("mistral"));
    let site = at(&graph, 0, A::KRope);
    let keys = original.get(graph.name(site));
    let repeated = keys.select(Axis(0), &[0, 0, 0, 1, 1, 1]);
    check(&graph, &original, site, repeated.clone(), "one of every 3 repeated heads");
    let mut odd = repeated;
    odd[[1, 0, 0]] += 1.0;
    let named = "layer0_k_expanded".to_string();
    let one = Tensors { tensors: vec![(named, odd)], metadata: original.metadata.clone() };
    let (dump, _written) = one.bound(&graph);
    let read = dump.read(0, site, None).expect("read").expect("there");
    assert_eq!(read.notes, ["its repeated heads are not all alike; the first of each was taken"]);
}

#[test]
fn scores_are_read_in_every_layout() {
    let (graph, original) = (graph_of("llama"), prefill("llama"));
    let site = at(&graph, 1, A::Probs);
    let x = original.get(graph.name(site));
    check(&graph, &original, site, x.clone().insert_axis(Axis(0)), "squeezed");
    check(&graph, &original, site, x.clone(), "");
    check(&graph, &original, site, permute(x, &[0, 2, 1]), "");
    check(&graph, &original, site, permute(x, &[1, 0, 2]), "transposed from [query, head, key]");
    let mut padded = ArrayD::from_elem(ndarray::IxDyn(&[4, 13, 32]), 9.0);
    padded.slice_axis_mut(Axis(2), (0..13).into()).assign(x);
    check(&graph, &original, site, padded.clone(), "19 keys of padding cut");
    let mut both = ArrayD::from_elem(ndarray::IxDyn(&[4, 64, 32]), 9.0);
    both.slice_axis_mut(Axis(1), (0..13).into()).assign(&padded);
    check(&graph, &original, site, both, "51 rows of padding cut, 19 keys of padding cut");
}

/// As many tokens as heads: `[H, T, d]` and `[T, H, d]` have one shape.
#[test]
fn values_decide_between_readings_once_for_the_whole_dump() {
    let graph = graph_of("llama");
    let original = made_up(&graph, &[7, 1, 99, 3]);
    let swapped = original.rewritten(|name, values| {
        let rope = name.ends_with("_rope");
        // In layer 1 the values are wrong: they cannot decide, layer 0 does.
        let values = if name.contains(".1.") { numbers(values.shape(), 77) } else { values.clone() };
        Some((name.into(), if rope { permute(&values, &[1, 0, 2]) } else { values }))
    });
    let (dump, _written) = swapped.bound(&graph);
    let site = |layer| at(&graph, layer, A::QRope);
    let undecided = dump.read(0, site(0), None).expect("read").expect("there");
    assert_eq!(undecided.notes, ["2 readings of its shape fit, and nothing decides: taken in the table's layout"]);
    let mut asked = Vec::new();
    dump.settle(|forward, site| {
        asked.push(site);
        original.of(&graph, forward, site).cloned()
    })
    .expect("settled");
    assert_eq!(asked.iter().filter(|site| graph.is(**site, A::QRope)).count(), 1, "{asked:?}");
    assert_eq!(dump.notes(), ["q_rope: transposed from [token, head, head_dim], as its values say"]);
    for layer in [0, 1, 2] {
        let read = dump.read(0, site(layer), None).expect("read").expect("there");
        let wrong = numbers(read.part.values.shape(), 77);
        let exact = if layer == 1 { &wrong } else { original.get(graph.name(site(layer))) };
        assert!(bits(&read.part.values) == bits(exact), "layer {layer}");
    }
}

/// Wrong values never change the layout: only a reading that explains them does.
#[test]
fn a_wrong_tensor_is_left_in_the_table_layout() {
    let graph = graph_of("llama");
    let original = made_up(&graph, &[7, 1, 99, 3]);
    let site = at(&graph, 1, A::QRope);
    let wrong = numbers(&[4, 4, 16], 1234);
    let one =
        Tensors { tensors: vec![(graph.name(site).to_string(), wrong.clone())], metadata: original.metadata.clone() };
    let (dump, _written) = one.bound(&graph);
    let read = dump.read(0, site, Some(original.get(graph.name(site)).view())).expect("read").expect("there");
    assert!(bits(&read.part.values) == bits(&wrong));
    assert_eq!(read.notes.len(), 1, "{:?}", read.notes);
}

#[test]
fn one_sequence_of_a_batch_is_taken() {
    let (graph, original) = (graph_of("qwen3"), prefill("qwen3"));
    let batch = original.rewritten(|name, values| {
        let other = numbers(values.shape(), 5);
        Some((name.into(), ndarray::stack(Axis(0), &[other.view(), values.view()]).expect("alike")))
    });
    let written = batch.write();
    let options = Options { batch: Some(1), ..Options::default() };
    let mut dump = Dump::open(&written.path, &graph, &options).err();
    assert_eq!(
        dump.take().map(|e| e.to_string().split(": ").last().map(ToString::to_string)),
        Some(Some("it was fed one sequence, and --batch 1 asks for another; leave --batch out".into()))
    );

    let mut batch = batch;
    batch.metadata.insert("input_ids".into(), format!("[{:?}, {:?}]", vec![1; 13], original.ids()));
    let written = batch.write();
    let mut dump = Dump::open(&written.path, &graph, &options).expect("a dump");
    assert_eq!(dump.ids().map(|ids| ids.ids.clone()), Some(original.ids()));
    dump.bind(&original.ids(), &[13]).expect("bound");
    for planned in dump.all_planned() {
        assert!(planned.to_string().contains("sequence 1 of a batch of 2"), "{planned}");
        let exact = original.get(graph.name(planned.site));
        let read = dump.read(0, planned.site, Some(exact.view())).expect("read").expect("there");
        assert!(bits(&read.part.values) == bits(exact), "{planned}");
    }
}

/// A directory of .bin files, which store no shape: with the count that the founding story's files have, and without.
#[test]
fn files_without_shape_are_shaped_by_the_model() {
    let (graph, original) = (graph_of("llama"), prefill("llama"));
    let folder = tempfile::tempdir().expect("a folder");
    let files = [
        ("after_embeddings", "model.embed_tokens"),
        ("after_layer_1", "model.layers.1"),
        ("layer0_q_proj", "0.q_proj"),
    ];
    for (at, (file, canonical)) in files.iter().enumerate() {
        let site = graph.parse(canonical).expect("canonical");
        let values = original.get(graph.name(site));
        let mut bytes = if at == 0 { (values.len() as u32).to_le_bytes().to_vec() } else { Vec::new() };
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        std::fs::write(folder.path().join(format!("{file}.bin")), bytes).expect("written");
    }
    let mut dump = Dump::open(folder.path(), &graph, &Options::default()).expect("a dump");
    dump.bind(&original.ids(), &[13]).expect("bound");
    for (_, canonical) in files {
        let site = graph.parse(canonical).expect("canonical");
        let exact = original.get(graph.name(site));
        let read = dump.read(0, site, Some(exact.view())).expect("read").expect("there");
        assert!(bits(&read.part.values) == bits(exact), "{canonical}");
    }
    let error = dump.bind(&original.ids()[..12], &[12]).expect_err("624 values are 13 rows").to_string();
    assert!(error.contains("after_embeddings.bin: tensor \"after_embeddings\" has shape [624]"), "{error}");
}
