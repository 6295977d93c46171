//! Which rows of a forward a tensor holds.

use layerstep::dump::RowSubset;
use layerstep::engine::{Graph, Role as A, Site};
use ndarray::{ArrayD, Axis};

use crate::fixture::{Tensors, at, bits, graph_of, parsed, prefill, reference, reshape};

/// The axis of the rows in the table's layout.
fn row_axis(graph: &Graph, site: Site) -> Axis {
    Axis(graph[site].row_axis())
}

#[test]
fn the_values_tell_which_rows_are_present() {
    for name in ["llama", "mistral"] {
        let (graph, original) = (graph_of(name), prefill(name));
        for rows in [vec![0], vec![12], vec![5], vec![0, 1, 2], vec![3, 7, 11], vec![10, 11, 12]] {
            let part = original.rewritten(|name, values| {
                Some((name.into(), values.select(row_axis(&graph, parsed(name, &graph).1), &rows)))
            });
            let (dump, _written) = part.bound(&graph);
            dump.settle(|forward, site| original.of(&graph, forward, site).cloned()).expect("settled");
            for planned in dump.all_planned() {
                let exact = original.get(graph.name(planned.site));
                let read = dump.read(0, planned.site, Some(exact.view())).expect("read").expect("there");
                assert_eq!(read.part.rows, rows, "{planned}");
                assert!(bits(&read.part.values) == bits(part.get(&planned.name)), "{planned}");
            }
        }
    }
}

#[test]
fn rows_found_in_one_tensor_hold_for_the_others() {
    let (graph, original) = (graph_of("llama"), prefill("llama"));
    let first = original.rewritten(|name, values| {
        let (_, site) = parsed(name, &graph);
        let values = values.select(row_axis(&graph, site), &[0]);
        let wrong = graph[site].layer.is_some_and(|layer| layer > 0) || graph.is(site, A::LmHead);
        Some((name.into(), if wrong { values * -3.0 } else { values }))
    });
    let (dump, _written) = first.bound(&graph);
    let logits = at(&graph, 0, A::LmHead);
    let blind = dump.read(0, logits, None).expect("read").expect("there");
    assert_eq!((blind.part.rows, blind.notes.len()), (vec![12], 1), "the last row, and a note");
    dump.settle(|forward, site| original.of(&graph, forward, site).cloned()).expect("settled");
    assert_eq!(dump.notes(), ["1 of 13 rows are present: [0]"]);
    for ours in [None, Some(original.get("lm_head").view())] {
        assert_eq!(dump.read(0, logits, ours).expect("read").map(|read| read.part.rows), Some(vec![0]));
    }
}

/// Equal ids have equal embeddings, so those cannot tell; the first block does.
#[test]
fn rows_that_could_be_either_are_not_guessed() {
    let (graph, original) = (graph_of("qwen3"), prefill("qwen3"));
    let ids = original.ids();
    assert_eq!(ids[1], ids[3], "the same token twice");
    let part = original
        .rewritten(|name, values| Some((name.into(), values.select(row_axis(&graph, parsed(name, &graph).1), &[1]))));
    let (dump, _written) = part.bound(&graph);
    let embed = at(&graph, 0, A::EmbedTokens);
    let read = dump.read(0, embed, Some(original.get("model.embed_tokens").view())).expect("read").expect("there");
    assert_eq!(read.notes, ["which 1 of 13 rows it holds is not certain"]);
    dump.settle(|forward, site| original.of(&graph, forward, site).cloned()).expect("settled");
    assert_eq!(dump.read(0, embed, None).expect("read").map(|read| read.part.rows), Some(vec![1]));
}

#[test]
fn the_last_row_alone_is_known() {
    let (graph, original) = (graph_of("llama"), prefill("llama"));
    let last = original.rewritten(|name, values| {
        let cut = name == "lm_head" || name == "model.layers.2";
        Some((
            name.into(),
            if cut { reshape(&values.select(Axis(0), &[12]), &[values.shape()[1]]) } else { values.clone() },
        ))
    });
    let (dump, _written) = last.bound(&graph);
    for site in [at(&graph, 0, A::LmHead), at(&graph, 2, A::Block)] {
        let read = dump.read(0, site, Some(original.get(graph.name(site)).view())).expect("read").expect("there");
        assert_eq!((read.part.rows, read.notes), (vec![12], vec![]), "{}", graph.name(site));
    }
}

/// Prefill and decode steps, joined along the token axis under one name.
#[test]
fn joined_forwards_are_taken_apart() {
    for name in ["llama", "qwen3", "qwen2"] {
        let (graph, original) = (graph_of(name), reference(name));
        let steps = original.steps();
        let total: usize = steps.iter().sum();
        let joined = original.rewritten(|name, first| {
            let (forward, site) = parsed(name, &graph);
            if forward > 0 {
                return None;
            }
            let mut parts: Vec<ArrayD<f32>> = vec![first.clone()];
            parts.extend((1..steps.len()).filter_map(|forward| original.of(&graph, forward, site).cloned()));
            if graph[site].has_keys() {
                for part in &mut parts {
                    let mut wide = ArrayD::zeros(ndarray::IxDyn(&[part.shape()[0], part.shape()[1], total]));
                    wide.slice_axis_mut(Axis(2), (0..part.shape()[2]).into()).assign(part);
                    *part = wide;
                }
            }
            let parts: Vec<_> = parts.iter().map(|values| values.view()).collect();
            Some((name.into(), ndarray::concatenate(row_axis(&graph, site), &parts).expect("alike")))
        });
        let (dump, _written) = joined.bound(&graph);
        for (name, values) in &original.tensors {
            let (forward, site) = parsed(name, &graph);
            let read = dump.read(forward, site, Some(values.view())).expect("read").expect(name);
            assert!(bits(&read.part.values) == bits(values), "{name}");
            assert_eq!(read.part.rows, (0..steps[forward]).collect::<Vec<_>>(), "{name}");
        }
        let planned = dump.planned(1, at(&graph, 0, A::LmHead)).expect("split");
        assert_eq!(planned.steps(), ["rows 13..14 of the 17 of all forwards"]);
    }
}

#[test]
fn a_whole_cache_is_cut_to_the_new_keys() {
    let (graph, original) = (graph_of("llama"), reference("llama"));
    let steps = original.steps();
    let cached = original.rewritten(|name, values| {
        let (forward, site) = parsed(name, &graph);
        let parts: Vec<_> =
            (0..=forward).filter_map(|k| original.of(&graph, k, site).map(|values| values.view())).collect();
        let layer = graph[site].layer.unwrap_or(0);
        let cache = match graph[site].role {
            Some(A::KRope) => (format!("past_key_values.{layer}.key@{forward}"), Axis(1)),
            Some(A::VProj) => (format!("past_key_values.{layer}.1@{forward}"), Axis(0)),
            _ => return Some((name.into(), values.clone())),
        };
        let all = ndarray::concatenate(cache.1, &parts).expect("alike");
        let tokens = all.shape()[cache.1.index()];
        let per_head = if cache.1 == Axis(1) {
            all
        } else {
            reshape(&all, &[tokens, 2, 16]).permuted_axes(ndarray::IxDyn(&[1, 0, 2]))
        };
        Some((cache.0, per_head.insert_axis(Axis(0))))
    });
    let (dump, _written) = cached.bound(&graph);
    for (name, values) in &original.tensors {
        let (forward, site) = parsed(name, &graph);
        let read = dump.read(forward, site, Some(values.view())).expect("read").expect(name);
        assert!(bits(&read.part.values) == bits(values), "{name}");
        assert_eq!(read.part.rows.len(), steps[forward], "{name}");
    }
}

/// The key axis of a decode step is cut to the window: its right end is the newest key.
#[test]
fn a_window_of_keys_is_aligned_to_the_right() {
    let (graph, original) = (graph_of("mistral"), reference("mistral"));
    let (dump, _written) = original.bound(&graph);
    for forward in 1..original.steps().len() {
        let read = dump.read(forward, at(&graph, 0, A::Probs), None).expect("read").expect("there");
        let keys = read.part.values.shape()[2];
        assert_eq!(read.part.first_key + keys, 13 + forward, "forward {forward}: {:?}", read.part.values.shape());
    }
}

/// A dump has fewer keys than the model's window shows: its queries did not see the others.
#[test]
fn keys_that_a_shorter_window_has_left_out_are_hidden() {
    let (graph, original) = (graph_of("mistral"), reference("mistral"));
    let shorter = original.rewritten(|name, values| {
        let (forward, site) = parsed(name, &graph);
        let keys = values.shape()[values.ndim() - 1];
        let cut = forward > 0 && graph[site].has_keys();
        let values = if cut { values.slice_axis(Axis(2), (2..keys).into()).to_owned() } else { values.clone() };
        Some((name.into(), values))
    });
    let (whole, _written) = original.bound(&graph);
    let (dump, _written) = shorter.bound(&graph);
    for (role, hidden) in [(A::Scores, f32::NEG_INFINITY), (A::Probs, 0.0)] {
        let site = at(&graph, 0, role);
        let right = whole.read(1, site, None).expect("read").expect("there").part;
        let read = dump.read(1, site, None).expect("read").expect("there").part;
        assert_eq!((read.first_key, read.values.shape()), (right.first_key, right.values.shape()));
        let unseen = read.values.slice_axis(Axis(2), (0..2).into());
        assert!(unseen.iter().all(|value| *value == hidden), "{unseen}");
        let seen = |part: &RowSubset| part.values.slice_axis(Axis(2), (2..).into()).to_owned();
        assert_eq!(seen(&read), seen(&right));
    }
}

/// A dump of one token, and ids of more: nothing decides, so it is the last, and that is said.
#[test]
fn without_values_the_last_rows_are_taken() {
    let (graph, original) = (graph_of("llama"), prefill("llama"));
    let one = Tensors {
        tensors: vec![("after_layer_1".into(), original.get("model.layers.1").select(Axis(0), &[2, 3]))],
        metadata: original.metadata.clone(),
    };
    let (dump, _written) = one.bound(&graph);
    let read = dump.read(0, at(&graph, 1, A::Block), None).expect("read").expect("there");
    assert_eq!(
        (read.part.rows, read.notes),
        (vec![11, 12], vec!["which 2 of 13 rows it holds is not certain".to_string()])
    );
}
