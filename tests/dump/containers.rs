//! How a dump is packed: a file for each tensor with a counter before its name, folders for each forward or layer, what
//! `generate` of transformers returns, arrays that are a stack of many.

use layerstep::dump::{Dump, Options};
use layerstep::engine::Role as A;
use layerstep::formats::write_npy;
use ndarray::{ArrayD, Axis, stack};

use crate::fixture::{Tensors, at, bits, check, graph_of, parsed, prefill, reference};

/// The name of the tensor of this number.
type Count = fn(usize, &str) -> String;

/// The name of a state of a forward.
type State = fn(usize, usize) -> String;

/// Where a tensor of a forward lies.
type Place = fn(usize, &str) -> String;

/// The tensors of a reference, forward by forward.
fn in_order(name: &str) -> Tensors {
    let (graph, mut all) = (graph_of(name), reference(name));
    all.tensors.sort_by_key(|(name, _)| parsed(name, &graph));
    all
}

#[test]
fn counters_before_names_are_passed_over() {
    let (graph, original) = (graph_of("llama"), in_order("llama"));
    let counts: [(&str, Count); 8] = [
        ("__", |at, name| format!("{at:05}__{name}")),
        ("_", |at, name| format!("{at}_{name}")),
        ("-", |at, name| format!("{at:03}-{name}")),
        (".", |at, name| format!("{at:02}.{name}")),
        ("aliases", |at, name| format!("{at:05}_{}", name.replace("model.layers.", "layer_").replace('.', "_"))),
        ("the layer first", |at, name| format!("{at:05}.{}", name.trim_start_matches("model.layers."))),
        // The hooks know nothing of forwards: the counter goes on.
        ("no forwards", |at, name| format!("{at:05}__{}", name.split('@').next().unwrap_or(name))),
        (
            "all but the head",
            |at, name| {
                if name.starts_with("lm_head") { name.into() } else { format!("{at:05}__{name}") }
            },
        ),
    ];
    for (what, count) in counts {
        let mut counted = original.clone();
        for (at, (name, _)) in counted.tensors.iter_mut().enumerate() {
            *name = count(at, name);
        }
        let dump = check(&original, &counted, &graph, &[]);
        assert!(dump.unmatched().is_empty(), "{what}: {:?}", dump.unmatched());
        let said = dump.notes().iter().any(|note| note == "the names begin with a counter, which was passed over");
        assert!(said, "{what}: {:?}", dump.notes());
    }
}

/// Hugging Face's `hidden_states` of every forward, as `generate` returns them, and the logits of the last row.
fn generated(name: &str, state: fn(usize, usize) -> String) -> (Tensors, Tensors) {
    let (graph, original) = (graph_of(name), in_order(name));
    let (mut states, mut wanted) = (original.rewritten(|_, _| None), original.rewritten(|_, _| None));
    for forward in 0..original.steps().len() {
        for layer in 0..=graph.layers() {
            let last = (layer == graph.layers()).then(|| at(&graph, 0, A::FinalNorm));
            let site = last.or_else(|| graph.entering(layer)).expect("a stream");
            let values = original.of(&graph, forward, site).expect("there");
            wanted.tensors.push((graph.key(site, forward), values.clone()));
            states.tensors.push((state(forward, layer), values.clone().insert_axis(Axis(0))));
        }
    }
    (wanted, states)
}

#[test]
fn what_generate_returns_is_read() {
    let states: [State; 3] = [
        |forward, layer| format!("{forward}.{layer}"),
        |forward, layer| format!("hidden_states.{forward}.{layer}"),
        |forward, layer| format!("outputs.hidden_states.{forward}.{layer}"),
    ];
    for state in states {
        let graph = graph_of("llama");
        let (wanted, states) = generated("llama", state);
        let dump = check(&wanted, &states, &graph, &[]);
        assert!(dump.unmatched().is_empty(), "{:?}", dump.unmatched());
    }
    let (graph, original) = (graph_of("llama"), in_order("llama"));
    let (_, mut states) = generated("llama", states[1]);
    let ids: Vec<f32> = original.ids().into_iter().chain([7]).map(|id| id as f32).collect();
    states.metadata.clear();
    states.tensors.push(("sequences".into(), ArrayD::from_shape_vec(vec![1, ids.len()], ids).expect("a row")));
    for forward in 0..original.steps().len() {
        let logits = original.of(&graph, forward, at(&graph, 0, A::LmHead)).expect("there");
        let last = logits.select(Axis(0), &[logits.shape()[0] - 1]);
        states.tensors.push((format!("scores.{forward}"), &last * 2.0));
        states.tensors.push((format!("logits.{forward}"), last));
    }
    let (dump, _written) = states.open(&graph);
    let told = dump.ids().map(|ids| (ids.ids.clone(), ids.steps.clone()));
    assert_eq!(told, Some((original.ids(), original.steps())), "the last of the sequence was not fed");
    let logits = dump.planned(1, at(&graph, 0, A::LmHead)).expect("logits");
    assert_eq!(logits.name, "logits.1");
    assert!(dump.unmatched().is_empty(), "{:?}", dump.unmatched());
}

#[test]
fn a_stack_is_read_one_by_one() {
    let (graph, original) = (graph_of("llama"), prefill("llama"));
    let (mut wanted, _) = generated("llama", |forward, layer| format!("{forward}.{layer}"));
    wanted.tensors.retain(|(name, _)| !name.contains('@'));
    wanted.metadata = original.metadata.clone();
    let all: Vec<_> = wanted.tensors.iter().map(|(_, values)| values.view()).collect();
    let states = stack(Axis(0), &all).expect("alike");
    let batch = states.clone().insert_axis(Axis(1));
    for (name, states) in [("hidden_states", &states), ("hidden_states", &batch), ("outputs.hidden_states", &batch)] {
        let stacked = Tensors { tensors: vec![(name.into(), states.clone())], metadata: original.metadata.clone() };
        let dump = check(&wanted, &stacked, &graph, &[]);
        let plan = dump.plan().to_string();
        assert!(plan.contains("hidden_states[1] f32 ["), "{plan}");
    }
    let probs: Vec<_> = (0..3).map(|layer| original.get(&format!("model.layers.{layer}.self_attn.probs"))).collect();
    let probs: Vec<_> = probs.iter().map(|values| values.view()).collect();
    let attentions = stack(Axis(0), &probs).expect("alike");
    let stacked = Tensors { tensors: vec![("attentions".into(), attentions)], metadata: original.metadata.clone() };
    let wanted = original.rewritten(|name, values| name.ends_with("probs").then(|| (name.into(), values.clone())));
    check(&wanted, &stacked, &graph, &[]);
    // One array too few is not guessed at.
    let short = Tensors {
        tensors: vec![("hidden_states".into(), states.select(Axis(0), &[0, 1, 2]))],
        metadata: original.metadata.clone(),
    };
    assert_eq!(short.open(&graph).0.unmatched().len(), 1);
}

/// The forward in the names of one file.
#[test]
fn forwards_that_stand_in_names_are_read() {
    let places: [Place; 11] = [
        |forward, name| format!("step{forward}/{name}"),
        |forward, name| format!("{name}_step{forward}"),
        |forward, name| format!("{name}.step_{}", forward + 1),
        |forward, name| format!("{name}.t{forward}"),
        |forward, name| format!("fwd{forward}.{name}"),
        |forward, name| format!("tick{forward:03}/{name}"),
        |forward, name| if forward == 0 { format!("prefill.{name}") } else { format!("decode.{}.{name}", forward - 1) },
        |forward, name| if forward == 0 { name.into() } else { format!("{name}_decode_step_{forward}") },
        |forward, name| if forward == 0 { name.into() } else { format!("{name}[step{forward}]") },
        |forward, name| {
            name.replacen("model.layers", &format!("model.call_{forward}.layers"), 1)
                + &if name.contains("layers") { String::new() } else { format!(".call_{forward}") }
        },
        // The layer's number lies directly behind.
        |forward, name| {
            if forward == 0 {
                format!("prefill.{}", name.trim_start_matches("model.layers."))
            } else {
                format!("decode{forward}.{}", name.trim_start_matches("model.layers."))
            }
        },
    ];
    for place in places {
        let (graph, original) = (graph_of("llama"), in_order("llama"));
        let rename = |name: &str, values: &ArrayD<f32>| {
            let (forward, site) = parsed(name, &graph);
            Some((place(forward, graph.name(site)), values.clone()))
        };
        let dump = check(&original, &original.rewritten(rename), &graph, &[]);
        assert!(dump.unmatched().is_empty(), "{}: {:?}", place(1, "model.norm"), dump.unmatched());
    }
}

/// A prompt that is fed in parts: the rows of one part follow those of the part before.
#[test]
fn parts_of_a_prompt_follow_each_other() {
    let places: [Place; 4] = [
        |part, name| format!("chunk{part}/{name}"),
        |part, name| format!("{name}.chunk_{}", part + 1),
        |part, name| format!("prefill_chunk_{part}.{name}"),
        |part, name| if part == 2 { format!("decode0/{name}") } else { format!("chunk{part}/{name}") },
    ];
    for place in places {
        let (graph, original) = (graph_of("llama"), prefill("llama"));
        let (mut parts, mut wanted) = (original.rewritten(|_, _| None), original.rewritten(|_, _| None));
        for (part, rows) in [(0, 0..6), (1, 6..12), (2, 12..13)] {
            for (name, values) in &original.tensors {
                let node = &graph[parsed(name, &graph).1];
                let mut values = values.slice_axis(Axis(node.row_axis()), (rows.start..rows.end).into());
                if node.has_keys() {
                    values.slice_axis_inplace(Axis(2), (0..rows.end).into());
                }
                let values = values.as_standard_layout().into_owned();
                parts.tensors.push((place(part, name), values.clone()));
                wanted.tensors.push((if part > 0 { format!("{name}@{part}") } else { name.clone() }, values));
            }
        }
        for of in [&mut parts, &mut wanted] {
            of.metadata.insert("steps".into(), "[6, 6, 1]".into());
        }
        let dump = check(&wanted, &parts, &graph, &[]);
        assert!(dump.unmatched().is_empty(), "{}: {:?}", place(1, "model.norm"), dump.unmatched());
    }
}

/// Numbers that count something else stay in the names.
#[test]
fn other_numbers_are_no_forwards() {
    let (graph, original) = (graph_of("llama"), prefill("llama"));
    let names: [fn(&str) -> String; 4] = [
        |name| name.replace("model.layers.", "t"),
        |name| name.replace("model.layers.", "step_"),
        |name| name.replace("model.layers.", "stage"),
        |name| format!("{name}.call1").replace("lm_head.call1", "lm_head"),
    ];
    for name in names {
        let renamed = original.rewritten(|own, values| Some((name(own), values.clone())));
        let (dump, _written) = renamed.open(&graph);
        let stored: Vec<&str> = dump.archive().entries().iter().map(|entry| entry.name.as_str()).collect();
        assert!(renamed.tensors.iter().all(|(name, _)| stored.contains(&name.as_str())), "{:?}", dump.notes());
    }
}

#[test]
fn folders_of_forwards_and_layers_are_read() {
    let places: [Place; 7] = [
        |forward, name| format!("step{forward}/{name}"),
        |forward, name| format!("step_{}/{name}", forward + 1),
        |forward, name| format!("forward_{forward}/00001__{name}"),
        |forward, name| if forward == 0 { format!("prefill/{name}") } else { format!("decode_{forward}/{name}") },
        |forward, name| if forward == 0 { format!("prefill/{name}") } else { format!("decode-{}/{name}", forward - 1) },
        |forward, name| if forward == 0 { name.to_string() } else { format!("Step{forward}/{name}") },
        |forward, name| format!("pass{forward:05}/{}", name.replace('.', "/")),
    ];
    for place in places {
        let (graph, original) = (graph_of("llama"), in_order("llama"));
        let folder = tempfile::tempdir().expect("a folder");
        for (name, values) in &original.tensors {
            let (forward, site) = parsed(name, &graph);
            let path = folder.path().join(place(forward, graph.name(site)) + ".npy");
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            write_npy(&path, &values.view()).expect("written");
        }
        let mut dump = Dump::open(folder.path(), &graph, &Options::default()).expect("a dump");
        let example = place(1, "model.norm");
        assert!(dump.unmatched().is_empty(), "{example}: {:?}", dump.unmatched());
        let steps = dump.steps_for(original.ids().len());
        assert_eq!(steps, original.steps(), "{example}");
        dump.bind(&original.ids(), &steps).expect("every shape fits");
        for (name, values) in &original.tensors {
            let (forward, site) = parsed(name, &graph);
            let read = dump.read(forward, site, None).expect("read").unwrap_or_else(|| panic!("{example}: {name}"));
            assert!(bits(&read.part.values) == bits(values), "{example}: {name}");
        }
    }
}
