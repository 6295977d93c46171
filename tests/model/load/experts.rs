//! Experts in checkpoints: a matrix each, or all in one tensor.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use layerstep::model::{Model, Tensor};
use safetensors::tensor::TensorView;

use super::{Raw, Tensors, bytes, load, ramp, save};

/// The tensors of a tiny model, as they lie in its file.
fn tensors_of(name: &str) -> Tensors {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("reference/tiny").join(name).join("model.safetensors");
    let bytes = fs::read(path).expect("a tiny model");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("a safetensors file");
    let raw =
        |view: &TensorView| Raw { dtype: view.dtype(), shape: view.shape().to_vec(), bytes: view.data().to_vec() };
    file.tensors().iter().map(|(name, view)| (name.clone(), raw(view))).collect()
}

/// Experts in one tensor for gate and up and one for down, as transformers 5 writes them.
fn stacked(tensors: Tensors) -> Tensors {
    const PARTS: [(&[&str], &str); 2] =
        [(&["gate_proj", "w1", "up_proj", "w3"], "gate_up_proj"), (&["down_proj", "w2"], "down_proj")];
    let mut found = Tensors::new();
    let mut stacks: BTreeMap<String, BTreeMap<(usize, usize), Raw>> = BTreeMap::new();
    for (name, raw) in tensors {
        let of_expert = name.split_once(".experts.").and_then(|(block, rest)| {
            let (expert, part) = rest.split_once('.')?;
            let part = part.strip_suffix(".weight")?;
            let (place, stack) =
                PARTS.iter().find_map(|(parts, stack)| Some((parts.iter().position(|own| *own == part)?, *stack)))?;
            Some((format!("{block}.experts.{stack}"), (expert.parse().ok()?, place)))
        });
        match of_expert {
            Some((stack, place)) => drop(stacks.entry(stack).or_default().insert(place, raw)),
            None => drop(found.insert(name, raw)),
        }
    }
    for (name, parts) in stacks {
        let experts = parts.keys().map(|(expert, _)| expert).max().expect("one at least") + 1;
        let first = parts.values().next().expect("one at least").clone();
        let shape = vec![experts, first.shape[0] * parts.len() / experts, first.shape[1]];
        let bytes = parts.into_values().flat_map(|raw| raw.bytes).collect();
        found.insert(name, Raw { dtype: first.dtype, shape, bytes });
    }
    found
}

#[test]
fn experts_are_read_one_by_one_and_stacked() {
    let mixtral: &[(&str, &str)] = &[("block_sparse_moe", "mlp")];
    let cases: [(&str, &[(&str, &str)]); 12] = [
        ("mixtral", mixtral),
        ("qwen3_moe", &[]),
        ("olmoe", &[]),
        ("qwen2_moe", &[]),
        (
            "granitemoe",
            &[
                ("input_linear.weight", "experts.gate_up_proj"),
                ("output_linear.weight", "experts.down_proj"),
                ("router.layer", "router"),
            ],
        ),
        ("phimoe", &[("block_sparse_moe.gate", "mlp.router"), ("block_sparse_moe", "mlp")]),
        ("glm4_moe", &[]),
        ("ernie4_5_moe", &[("mlp.moe_statics", "mlp.gate.moe_statics")]),
        ("minimax_m2", mixtral),
        ("hunyuan_v1_moe", &[]),
        ("lfm2_moe", &[]),
        ("qwen3_next", &[]),
    ];
    for (name, renamed) in cases {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("reference/tiny").join(name);
        let published = Model::load(&folder).unwrap_or_else(|error| panic!("{error}"));
        let stacked = load(|dir| {
            fs::copy(folder.join("config.json"), dir.join("config.json")).expect("copied");
            let rename = |name: String| renamed.iter().fold(name, |name, (own, other)| name.replace(own, other));
            let tensors: Tensors =
                stacked(tensors_of(name)).into_iter().map(|(name, raw)| (rename(name), raw)).collect();
            assert!(tensors.keys().any(|name| name.ends_with("experts.gate_up_proj")), "{name}: {:?}", tensors.keys());
            save(dir, "model.safetensors", &bytes(&tensors));
        })
        .unwrap_or_else(|error| panic!("{name}: {error}"));
        for (index, param) in published.graph.params().iter().enumerate() {
            let words = |model: &Model| model.matrices_at(index).iter().map(Tensor::vector).collect::<Vec<_>>();
            assert!(words(&published) == words(&stacked), "{name}: {}", param.name);
        }
    }
}

#[test]
fn layers_that_predict_further_tokens_are_left() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("reference/tiny/glm4_moe");
    let with = |number: usize| {
        load(|dir| {
            fs::copy(folder.join("config.json"), dir.join("config.json")).expect("copied");
            let mut tensors = tensors_of("glm4_moe");
            tensors.insert(format!("model.layers.{number}.eh_proj.weight"), ramp(&[2, 2]));
            save(dir, "model.safetensors", &bytes(&tensors));
        })
    };
    let notes = with(2).expect("loads").notes;
    assert!(notes.iter().any(|note| note.contains("1 tensor(s) of layers behind the last")), "{notes:?}");
    let error = with(1).expect_err("a tensor of a layer that is there");
    assert!(error.contains("1 not used: model.layers.1.eh_proj.weight"), "{error}");
}
