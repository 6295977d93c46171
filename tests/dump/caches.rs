//! Key/value caches as engines keep them: with room for more tokens, as rings, keys and values in one array.

use layerstep::engine::{Graph, Role as A};
use ndarray::{ArrayD, Axis, IxDyn, concatenate, stack};

use crate::fixture::{Tensors, at, bits, graph_of, numbers, parsed, permute, prefill, reshape};

/// `[head, token, channel]` of keys or values.
fn per_head(graph: &Graph, original: &Tensors, layer: usize, role: A) -> ArrayD<f32> {
    let values = original.get(graph.name(at(graph, layer, role)));
    if values.ndim() == 3 { values.clone() } else { permute(&reshape(values, &[13, 2, 16]), &[1, 0, 2]) }
}

/// The prefill, its keys and values written by `cache` under a name of its own.
fn with_caches(cache: impl Fn(&ArrayD<f32>) -> ArrayD<f32>, keys: &str, values: &str) -> Tensors {
    let (graph, original) = (graph_of("llama"), prefill("llama"));
    original.rewritten(|name, whole| {
        let (_, site) = parsed(name, &graph);
        let (role, pattern) = match graph[site].role {
            Some(A::KRope) => (A::KRope, keys),
            Some(A::VProj) => (A::VProj, values),
            Some(A::Block) => return Some((name.into(), whole.clone())),
            _ => return None,
        };
        let layer = graph[site].layer.expect("of a layer");
        Some((pattern.replace("{}", &layer.to_string()), cache(&per_head(&graph, &original, layer, role))))
    })
}

/// Reads the keys and values of all layers, and wants the same bits in the last rows.
fn check(written: &Tensors, rows: usize) {
    let (graph, original) = (graph_of("llama"), prefill("llama"));
    let (dump, _written) = written.bound(&graph);
    for layer in 0..3 {
        for role in [A::KRope, A::VProj] {
            let site = at(&graph, layer, role);
            let exact = original.get(graph.name(site));
            let read =
                dump.read(0, site, Some(exact.view())).expect("read").unwrap_or_else(|| panic!("{}", dump.plan()));
            let axis = Axis(graph[site].row_axis());
            assert_eq!(read.part.rows, (13 - rows..13).collect::<Vec<_>>(), "{}", dump.plan());
            assert!(bits(&read.part.values) == bits(&exact.select(axis, &read.part.rows)), "{}", dump.plan());
        }
    }
}

#[test]
fn room_for_more_tokens_is_left_out() {
    let zeros = |values: &ArrayD<f32>| {
        let room = ArrayD::zeros(IxDyn(&[2, 19, 16]));
        concatenate(Axis(1), &[values.view(), room.view()]).expect("alike")
    };
    let rubbish = |values: &ArrayD<f32>| {
        let room = numbers(&[2, 19, 16], 5);
        concatenate(Axis(1), &[values.view(), room.view()]).expect("alike")
    };
    let by_token = |values: &ArrayD<f32>| permute(&zeros(values), &[1, 0, 2]).insert_axis(Axis(0));
    let names = [
        ("past_key_values.{}.key", "past_key_values.{}.value"),
        ("k_cache_{}", "v_cache_{}"),
        ("layers.{}.k_cache", "layers.{}.v_cache"),
        ("present.{}.key", "present.{}.value"),
        ("model.layers.{}.self_attn.k_rope", "model.layers.{}.self_attn.v_proj"),
    ];
    for (keys, values) in names {
        check(&with_caches(zeros, keys, values), 13);
        check(&with_caches(rubbish, keys, values), 13);
        check(&with_caches(by_token, keys, values), 13);
    }
}

/// Position `p` lies at `p` modulo the length.
#[test]
fn a_ring_is_put_in_order() {
    let ring = |values: &ArrayD<f32>| values.select(Axis(1), &[8, 9, 10, 11, 12, 5, 6, 7]);
    check(&with_caches(ring, "past_key_values.{}.key", "past_key_values.{}.value"), 8);
    let in_order = |values: &ArrayD<f32>| values.select(Axis(1), &[5, 6, 7, 8, 9, 10, 11, 12]);
    check(&with_caches(in_order, "past_key_values.{}.key", "past_key_values.{}.value"), 8);
}

#[test]
fn keys_and_values_in_one_array_are_told_apart() {
    let (graph, original) = (graph_of("llama"), prefill("llama"));
    for (pattern, batch) in [("past_key_values.{}", false), ("kv_cache.{}", true), ("layers.{}.kv_cache", true)] {
        let both = |layer: usize| {
            let [keys, values] = [A::KRope, A::VProj].map(|role| per_head(&graph, &original, layer, role));
            let both = stack(Axis(0), &[keys.view(), values.view()]).expect("alike");
            if batch { both.insert_axis(Axis(1)) } else { both }
        };
        let tensors = (0..3).map(|layer| (pattern.replace("{}", &layer.to_string()), both(layer))).collect();
        check(&Tensors { tensors, metadata: original.metadata.clone() }, 13);
    }
}

/// Pages of a cache are no batch where all else is of one sequence: they are not compared, and the rest is.
#[test]
fn what_fits_nothing_is_no_batch() {
    let pages = |values: &ArrayD<f32>| {
        let pages = [values.select(Axis(1), &[0, 1, 2, 3, 4, 5]), values.select(Axis(1), &[6, 7, 8, 9, 10, 11])];
        stack(Axis(0), &pages.each_ref().map(|page| page.view())).expect("alike")
    };
    for names in
        [["past_key_values.{}.key", "past_key_values.{}.value"], ["model.layers.{}.self_attn.k_rope", "v_cache_{}"]]
    {
        let (dump, _written) = with_caches(pages, names[0], names[1]).bound(&graph_of("llama"));
        let notes = dump.notes().join("\n");
        assert!(notes.contains("so it is not compared; 5 more like it") && !notes.contains("batch"), "{notes}");
        assert_eq!(dump.all_planned().len(), 3);
    }
}
