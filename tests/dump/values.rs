//! Names of one's own: what the tensors are is told by their values, however they are numbered, stacked or joined, and a map
//! of what was told gives the same again.

use std::path::Path;
use std::sync::Arc;

use layerstep::dump::{Dump, Map, Options, find_pads, name_by_values, suggested_map};
use layerstep::engine::Role as A;
use ndarray::{ArrayD, Axis, Slice, concatenate, stack};

use crate::fixture::{Tensors, Written, at, bits, graph_of, model, numbers, parsed, prefill, reference};

/// The activations that a dump of one's own has here, and its name for each; `{}` is the layer from 1.
const OWN: [(&str, &str); 5] = [
    ("model.embed_tokens", "tokvec"),
    ("model.layers.{}", "laag{}"),
    ("model.layers.{}.self_attn.o_proj", "aandacht{}"),
    ("model.norm", "fin"),
    ("lm_head", "vocab"),
];

/// A name in one's own words, with what stands before it.
fn own(name: &str, before: &str) -> Option<String> {
    let in_layers = |(theirs, own): &(&str, &str)| {
        (0..8).find_map(|layer| {
            let is = name == theirs.replace("{}", &layer.to_string());
            is.then(|| format!("{before}{}", own.replace("{}", &(layer + 1).to_string())))
        })
    };
    OWN.iter().find_map(in_layers)
}

fn renamed(original: &Tensors, before: &str) -> Tensors {
    original.rewritten(|name, values| Some((own(name, before)?, values.clone())))
}

/// The residual stream of the original: the embeddings, then each block.
fn states(original: &Tensors) -> Vec<ArrayD<f32>> {
    let names = (0..3).map(|layer| format!("model.layers.{layer}"));
    std::iter::once("model.embed_tokens".to_owned()).chain(names).map(|name| original.get(&name).clone()).collect()
}

/// One tensor of many, beside the logits.
fn stacked(original: &Tensors, name: &str, states: &[ArrayD<f32>], axis: usize) -> Tensors {
    let views: Vec<_> = states.iter().map(|state| state.view()).collect();
    let logits = ("vocab".to_owned(), original.get("lm_head").clone());
    let tensors = vec![(name.to_owned(), stack(Axis(axis), &views).expect("of one shape")), logits];
    Tensors { tensors, metadata: original.metadata.clone() }
}

/// Two or three projections of each layer in one tensor, by `join`, and the blocks.
fn joined(original: &Tensors, join: fn(&[&ArrayD<f32>]) -> ArrayD<f32>) -> Tensors {
    let mut tensors = vec![("emb".to_owned(), original.get("model.embed_tokens").clone())];
    for layer in 0..3 {
        let of = |name: &str| original.get(&format!("model.layers.{layer}{name}"));
        let qkv = [of(".self_attn.q_proj"), of(".self_attn.k_proj"), of(".self_attn.v_proj")];
        tensors.push((format!("dec_{layer}/samen"), join(&qkv)));
        tensors.push((format!("dec_{layer}/gate_up"), join(&[of(".mlp.gate_proj"), of(".mlp.up_proj")])));
        tensors.push((format!("dec_{layer}/y"), of("").clone()));
    }
    Tensors { tensors, metadata: original.metadata.clone() }
}

fn behind_each_other(parts: &[&ArrayD<f32>]) -> ArrayD<f32> {
    let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
    concatenate(Axis(1), &views).expect("of as many rows")
}

/// Of q, k and v those of each head of keys; of two, columns by turns.
fn by_turns(parts: &[&ArrayD<f32>]) -> ArrayD<f32> {
    let heads = if parts.len() == 2 { parts[0].len_of(Axis(1)) } else { 2 };
    let of_head = |head: usize| {
        parts.iter().map(move |part| {
            let width = part.len_of(Axis(1)) / heads;
            part.slice_axis(Axis(1), Slice::from(head * width..(head + 1) * width))
        })
    };
    let views: Vec<_> = (0..heads).flat_map(of_head).collect();
    concatenate(Axis(1), &views).expect("of as many rows")
}

/// Opens a dump and names what has no known name.
fn named(dump: &Tensors) -> (Dump, Written) {
    let (graph, written) = (graph_of("llama"), dump.write());
    let mut dump_of = Dump::open(&written.path, &graph, &Options::default()).expect("a dump");
    name_by_values(&mut dump_of, &Arc::new(model("llama")), &dump.ids(), &dump.steps()).expect("read");
    dump_of.bind(&dump.ids(), &dump.steps()).expect("every shape fits");
    (dump_of, written)
}

/// Whether what was told is there to the bit.
fn has_all(dump: &Dump, original: &Tensors, wanted: &[&str], what: &str) {
    let graph = graph_of("llama");
    assert!(dump.unmatched().is_empty(), "{what}: {:?}", dump.unmatched());
    for name in wanted {
        let (forward, site) = parsed(name, &graph);
        let read = dump.read(forward, site, None).expect("read");
        let read = read.unwrap_or_else(|| panic!("{what}: {name} is there\n{}", dump.plan()));
        assert!(bits(&read.part.values) == bits(original.get(name)), "{what}: {name}");
    }
}

#[test]
fn own_names_are_told_by_values_and_a_map_says_the_same() {
    let original = prefill("llama");
    let all: Vec<&str> = original.tensors.iter().map(|(name, _)| name.as_str()).collect();
    let of_own: Vec<&str> = all.iter().copied().filter(|name| own(name, "").is_some()).collect();
    let blocks = ["model.embed_tokens", "model.layers.0", "model.layers.1", "model.layers.2", "lm_head"];
    let normed = ["model.embed_tokens", "model.layers.0", "model.layers.1", "model.norm", "lm_head"];
    let parts: Vec<&str> = all
        .iter()
        .copied()
        .filter(|name| {
            ["q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"].iter().any(|end| name.ends_with(end))
                && *name != "lm_head"
        })
        .collect();
    let states = states(&original);
    let last_normed = [&states[..3], &[original.get("model.norm").clone()]].concat();
    let cases: Vec<(&str, Tensors, &[&str])> = vec![
        ("without a mark", renamed(&original, ""), &of_own),
        ("a counter of forwards before all names", renamed(&original, "s0_"), &of_own),
        ("another", renamed(&original, "ronde7/"), &of_own),
        ("a word for the first forward", renamed(&original, "prefill_"), &of_own),
        ("all states", stacked(&original, "hidden", &states, 0), &blocks),
        ("all states by token", stacked(&original, "resid", &states, 1), &blocks),
        ("all states, the last after the norm", stacked(&original, "h_all", &last_normed, 0), &normed),
        ("all blocks", stacked(&original, "h_all", &states[1..], 0), &blocks[1..]),
        ("projections behind each other", joined(&original, behind_each_other), &parts),
        ("projections by turns", joined(&original, by_turns), &parts),
    ];
    for (what, dump, wanted) in cases {
        let (found, _found) = named(&dump);
        has_all(&found, &original, wanted, what);
        let text = suggested_map(&found, &Arc::new(model("llama")), &original.ids()).expect("a map");
        if text.contains("no words") {
            continue;
        }
        let map = Map::parse(Path::new("map.toml"), &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let written = dump.write();
        let options = Options { map: Some(map), batch: None };
        let mut mapped = Dump::open(&written.path, &graph_of("llama"), &options).expect("a dump");
        assert!(mapped.unmatched().is_empty(), "{what}: {:?}\n{text}", mapped.unmatched());
        mapped.bind(&original.ids(), &[13]).expect("every shape fits");
        has_all(&mapped, &original, wanted, &format!("{what}, by its map"));
        assert_eq!(mapped.all_planned().len(), found.all_planned().len(), "{what}\n{text}");
    }
}

#[test]
fn a_wrong_stack_tells_no_names_and_a_wrong_end_leaves_the_rest() {
    let original = prefill("llama");
    let mut states = states(&original);
    states[3] = numbers(&[13, 48], 3);
    let (found, _written) = named(&stacked(&original, "hidden", &states, 0));
    let graph = graph_of("llama");
    assert!(found.planned(0, at(&graph, 1, A::Block)).is_some(), "{}", found.plan());
    for state in &mut states {
        *state = numbers(&[13, 48], 5);
    }
    let (found, _written) = named(&stacked(&original, "hidden", &states, 0));
    assert_eq!(found.unmatched().len(), 1, "{}", found.plan());
}

#[test]
fn last_rows_of_forwards_are_told_by_the_layers_in_each() {
    let (graph, original) = (graph_of("llama"), reference("llama"));
    let last = |values: &ArrayD<f32>| {
        let rows = values.len_of(Axis(0));
        values.slice_axis(Axis(0), Slice::from(rows - 1..)).to_owned()
    };
    let rows = original.rewritten(|name, values| {
        let (base, forward) = name.split_once('@').unwrap_or((name, "0"));
        Some((own(base, &format!("r{forward}_"))?, last(values)))
    });
    let (dump, _written) = rows.open(&graph);
    assert!(dump.notes().iter().any(|note| note.contains("the forward stands in the names")), "{:?}", dump.notes());
    let (found, _written) = named(&rows);
    for forward in 0..original.steps().len() {
        for site in [at(&graph, 2, A::Block), at(&graph, 0, A::LmHead)] {
            assert!(found.planned(forward, site).is_some(), "{forward}\n{}", found.plan());
        }
    }
    // Without logits in each, the number may be anything.
    let less = rows.rewritten(|name, values| (!name.ends_with("vocab")).then(|| (name.into(), values.clone())));
    assert!(!less.open(&graph).0.notes().iter().any(|note| note.contains("the forward stands")));
    // What is recognised of one forward is no answer for the others.
    let text = "\"r0_laag{N}\" = \"model.layers.{N-1}\"";
    let map = Map::parse(Path::new("map.toml"), text).expect("a map");
    let written = less.write();
    let mut dump = Dump::open(&written.path, &graph, &Options { map: Some(map), batch: None }).expect("a dump");
    dump.bind(&original.ids()[..13], &[13]).expect("every shape fits");
    let coverage = dump.coverage();
    assert!(coverage.lacks_forwards && coverage.compared == 3, "{coverage:?}");
    assert!(!found.coverage().lacks_forwards);
}

#[test]
fn two_matrices_of_a_block_are_no_forwards() {
    for (name, within) in [("opt", "fc"), ("phi", "mlp.fc")] {
        let (graph, original) = (graph_of(name), prefill(name));
        let inside = original.rewritten(|name, values| {
            let node = &graph[parsed(name, &graph).1];
            let kept = node.layer.is_some() && node.role != Some(A::Block);
            let rows = values.len_of(Axis(node.row_axis()));
            kept.then(|| (name.into(), values.slice_axis(Axis(node.row_axis()), Slice::from(rows - 1..)).to_owned()))
        });
        assert!(inside.tensors.iter().any(|(name, _)| name.contains(within)), "{name}");
        let notes = inside.open(&graph).0.notes().join(", ");
        assert!(!notes.contains("the forward stands"), "{name}: {notes}");
    }
}

#[test]
fn pads_are_found_though_no_name_is_known() {
    let (graph, original) = (graph_of("llama"), prefill("llama"));
    for (before, after) in [(3, 0), (0, 3)] {
        let pad = |ids: Vec<u32>| [vec![7; before], ids, vec![7; after]].concat();
        let padded = renamed(&original, "mijn_").rewritten(|name, values| {
            let width = values.len_of(Axis(1));
            let [first, last] = [before, after].map(|rows| numbers(&[rows, width], 2));
            let rows = concatenate(Axis(0), &[first.view(), values.view(), last.view()]).expect("of one width");
            Some((name.into(), rows))
        });
        let ids = format!("{:?}", pad(original.ids()));
        let metadata = [("input_ids".to_owned(), ids), ("steps".to_owned(), "[16]".to_owned())].into();
        let padded = Tensors { metadata, ..padded };
        let (mut dump, _written) = padded.open(&graph);
        find_pads(&mut dump, &Arc::new(model("llama")), None, |id| id == 7).expect("read");
        let pads = dump.pads().map(|pads| (pads.before, pads.tokens, pads.after));
        assert_eq!(pads, Some((before, 13, after)), "{:?}", dump.notes());
    }
}
