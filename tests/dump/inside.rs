//! Dumps of some rows of what was fed, which their embedding rows tell.

use std::sync::Arc;

use layerstep::dump::{IdsOrigin, take_rows_of};
use layerstep::engine::Role as A;
use ndarray::Axis;

use crate::fixture::{Tensors, at, graph_of, model, parsed, prefill};

/// The rows of a reference that a dump holds, without its ids.
fn rows_of(name: &str, rows: &[usize]) -> Tensors {
    let (graph, original) = (graph_of(name), prefill(name));
    let mut part = original.rewritten(|name, values| {
        let axis = Axis(graph[parsed(name, &graph).1].row_axis());
        Some((name.into(), values.select(axis, rows)))
    });
    part.metadata.clear();
    part
}

#[test]
fn embedding_rows_inside_the_prompt_are_rows_of_it() {
    for name in ["llama", "qwen3"] {
        let (graph, ids, model) = (graph_of(name), prefill(name).ids(), Arc::new(model(name)));
        for rows in [vec![9, 10, 11, 12], vec![12], vec![0, 4, 8, 12], vec![1, 5, 9], vec![7]] {
            let (mut dump, _written) = rows_of(name, &rows).open(&graph);
            assert!(dump.recover_ids(&model).expect("read"), "{name}: {rows:?}");
            take_rows_of(&mut dump, &model, &ids, &[ids.len()]).expect("read");
            let found = dump.ids().expect("ids");
            assert_eq!((&found.ids, &found.steps, found.origin), (&ids, &vec![13], IdsOrigin::Embeddings), "{rows:?}");
            dump.bind(&ids, &[13]).expect("every shape fits");
            let ours = prefill(name);
            dump.settle(|forward, site| ours.of(&graph, forward, site).cloned()).expect("settled");
            let read = dump.read(0, at(&graph, 1, A::Block), None).expect("read").expect("there");
            assert_eq!(read.part.rows, rows, "{name}");
        }
    }
}

#[test]
fn a_prompt_of_some_of_the_ids_is_another_prompt() {
    let (graph, model) = (graph_of("llama"), Arc::new(model("llama")));
    let original = prefill("llama");
    let own: Vec<u32> = original.ids();
    // The dump is whole; what is said to have been fed has tokens before it, around it, or behind it.
    let longer =
        [[&[3, 4, 5][..], &own].concat(), own.iter().flat_map(|id| [7, *id]).collect(), [&own[..], &[7]].concat()];
    for fed in longer {
        let mut bare = original.clone();
        bare.metadata.clear();
        let (mut dump, _written) = bare.open(&graph);
        assert!(dump.recover_ids(&model).expect("read"));
        take_rows_of(&mut dump, &model, &fed, &[fed.len()]).expect("read");
        assert_eq!(dump.ids().map(|ids| ids.ids.clone()), Some(own.clone()), "{fed:?}");
    }
}
