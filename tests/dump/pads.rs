//! Padded batches: where the pads are, and that they are taken away.

use std::sync::Arc;

use layerstep::dump::{Dump, Options, Pads, strip_pads, take_pads, weight_of_pads};
use layerstep::engine::{Graph, Role as A};
use ndarray::{ArrayD, Axis, IxDyn, Slice, concatenate};

use crate::fixture::{Tensors, at, bits, graph_of, parsed, prefill};

/// A batch of the prefill of a tiny model and something else, the one with pads that nobody sees around it.
fn padded(graph: &Graph, before: usize, after: usize) -> Tensors {
    let original = prefill("llama");
    let pad = |values: &ArrayD<f32>, axis: usize, with: f32| {
        let block = |count: usize| {
            let mut shape = values.shape().to_vec();
            shape[axis] = count;
            ArrayD::from_elem(IxDyn(&shape), with)
        };
        concatenate(Axis(axis), &[block(before).view(), values.view(), block(after).view()]).expect("alike")
    };
    original.rewritten(|name, values| {
        let (_, site) = parsed(name, graph);
        let hidden = if graph.is(site, A::Scores) { f32::NEG_INFINITY } else { 0.0 };
        let mut values = pad(values, graph[site].row_axis(), hidden);
        if graph[site].has_keys() {
            values = pad(&values, 2, hidden);
        }
        let other = values.mapv(|value| if value.is_finite() { 0.25 - value } else { value });
        Some((name.into(), ndarray::stack(Axis(0), &[other.view(), values.view()]).expect("alike")))
    })
}

/// How a dump says where its pads are.
type Tells = fn(&mut Tensors, usize, usize);

#[test]
fn pads_are_told_and_taken_away() {
    let tells: [(&str, Tells); 6] = [
        ("mask", |dump, before, after| {
            let one = [vec![0; before], vec![1; 13], vec![0; after]].concat();
            dump.metadata.insert("attention_mask".into(), format!("[{:?}, {one:?}]", vec![1; 13 + before + after]));
        }),
        ("positions", |dump, before, after| {
            let one = [vec![0; before], (0..13).collect(), vec![1; after]].concat();
            let all: Vec<usize> = (0..13 + before + after).collect();
            dump.metadata.insert("positions".into(), format!("[{all:?}, {one:?}]"));
        }),
        ("a tensor", |dump, before, after| {
            let one = [vec![0.0; before], vec![1.0; 13], vec![0.0; after]].concat();
            let all = [vec![1.0; one.len()], one].concat();
            let shape = IxDyn(&[2, 13 + before + after]);
            dump.tensors.push(("attention_mask".into(), ArrayD::from_shape_vec(shape, all).expect("two rows")));
        }),
        ("scores", |_, _, _| {}),
        ("scores alone", |dump, _, _| dump.tensors.retain(|(name, _)| name.ends_with("scores") || name.ends_with('0'))),
        ("ids", |dump, before, after| {
            dump.tensors.retain(|(name, _)| !name.ends_with("scores"));
            let ids = [vec![5; before], prefill("llama").ids(), vec![5; after]].concat();
            dump.metadata.insert("input_ids".into(), format!("[[1, 2], {ids:?}]"));
            dump.metadata.insert("steps".into(), format!("[{}]", ids.len()));
        }),
    ];
    let graph = graph_of("llama");
    let original = prefill("llama");
    for (before, after) in [(3, 0), (0, 2), (2, 3)] {
        for (what, tell) in tells {
            if what == "ids" && before > 0 && after > 0 {
                continue;
            }
            let mut dump = padded(&graph, before, after);
            dump.metadata.clear();
            tell(&mut dump, before, after);
            let written = dump.write();
            let options = Options { batch: Some(1), ..Options::default() };
            let mut opened = Some(Dump::open(&written.path, &graph, &options).expect("a dump"));
            let mut typed = [vec![5; before], original.ids(), vec![5; after]].concat();
            let (alone, _alone) = original.open(&graph);
            let mut alone = Some(alone);
            let other = if what == "ids" { &mut alone } else { &mut None };
            take_pads([&mut opened, other], Some(&typed)).expect("read");
            let pads = Pads { before, tokens: 13, after };
            let case = format!("{what}, {before} before and {after} behind");
            assert_eq!(opened.as_ref().and_then(Dump::pads), Some(pads), "{case}");
            strip_pads([&opened, &None], &mut typed);
            assert_eq!(typed, original.ids(), "{case}");
            read_back(opened.expect("a dump"), &original, &graph, &case);
        }
    }
}

/// Reads what is left of a padded dump.
fn read_back(mut dump: Dump, original: &Tensors, graph: &Arc<Graph>, case: &str) {
    dump.bind(&original.ids(), &[13]).expect("every shape fits");
    let mut read = 0;
    for (name, values) in &original.tensors {
        let (_, site) = parsed(name, graph);
        let Some(aligned) = dump.read(0, site, None).expect("read") else { continue };
        assert!(bits(&aligned.part.values) == bits(values), "{case}: {name}");
        assert_eq!((aligned.part.rows.len(), aligned.part.first_key), (13, 0), "{case}: {name}");
        if graph[site].has_keys() {
            assert_eq!(weight_of_pads(&dump, 0, site).expect("read"), 0.0, "{case}: {name}");
        }
        read += 1;
    }
    assert!(read >= 3, "{case}");
}

#[test]
fn what_is_not_padded_is_left_alone() {
    let graph = graph_of("mistral");
    let original = prefill("mistral");
    let ids = original.ids();
    for (own, other) in [
        // A window hides the first keys from the last rows.
        (ids.clone(), ids.clone()),
        // One token more may be one that only one side was fed.
        (ids.clone(), [&[1], &ids[..]].concat()),
        (ids.clone(), [&ids[..], &[7]].concat()),
        // Tokens that are not all alike.
        (ids.clone(), [&[1, 2], &ids[..]].concat()),
    ] {
        let (dump, _written) = original.open(&graph);
        let mut dump = Some(dump);
        take_pads([&mut dump, &mut None], Some(&other)).expect("read");
        assert_eq!(dump.as_ref().and_then(Dump::pads), None, "{other:?}");
        let mut typed = other.clone();
        strip_pads([&dump, &None], &mut typed);
        assert_eq!((typed, dump.and_then(|dump| dump.ids().map(|ids| ids.ids.clone()))), (other, Some(own)));
    }
}

#[test]
fn pads_that_are_seen_have_weight() {
    let graph = graph_of("llama");
    let mut dump = padded(&graph, 3, 0);
    let one = [vec![0; 3], vec![1; 13]].concat();
    dump.metadata.clear();
    dump.metadata.insert("attention_mask".into(), format!("[{one:?}, {one:?}]"));
    for (name, values) in &mut dump.tensors {
        if name.ends_with("scores") || name.ends_with("probs") {
            values.slice_axis_mut(Axis(3), Slice::from(..3)).fill(0.125);
        }
    }
    let written = dump.write();
    let options = Options { batch: Some(1), ..Options::default() };
    let mut opened = Some(Dump::open(&written.path, &graph, &options).expect("a dump"));
    take_pads([&mut opened, &mut None], None).expect("read");
    let mut opened = opened.expect("a dump");
    opened.bind(&prefill("llama").ids(), &[13]).expect("every shape fits");
    let weight = |role| weight_of_pads(&opened, 0, at(&graph, 0, role)).expect("read");
    assert_eq!((weight(A::Scores), weight(A::Probs), weight(A::Block)), (f32::INFINITY, 0.375, 0.0));
}
