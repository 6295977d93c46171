//! Models of one layer with random weights, as large in one direction as a test wants.

use std::collections::BTreeMap;
use std::sync::Arc;

use layerstep::formats::write_safetensors;
use layerstep::model::Model;
use ndarray::ArrayD;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Channels of the residual stream, and of the MLP.
const HIDDEN: usize = 64;
const INTERMEDIATE: usize = 128;

/// What is large.
pub(crate) struct Shape {
    pub(crate) vocabulary: usize,
    pub(crate) heads: usize,
    pub(crate) head_dim: usize,
}

/// A llama of one layer.
pub(crate) fn model(shape: &Shape) -> Arc<Model> {
    let Shape { vocabulary, heads, head_dim } = shape;
    let width = heads * head_dim;
    let folder = tempfile::tempdir().expect("a folder");
    let config = format!(
        r#"{{"model_type": "llama", "hidden_size": {HIDDEN}, "intermediate_size": {INTERMEDIATE}, "num_hidden_layers": 1,
        "num_attention_heads": {heads}, "num_key_value_heads": {heads}, "head_dim": {head_dim},
        "vocab_size": {vocabulary}, "max_position_embeddings": 4096, "tie_word_embeddings": false}}"#
    );
    std::fs::write(folder.path().join("config.json"), config).expect("written");
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let layer = |name: &str| format!("model.layers.0.{name}.weight");
    let shapes = [
        ("model.embed_tokens.weight".to_string(), vec![*vocabulary, HIDDEN]),
        (layer("input_layernorm"), vec![HIDDEN]),
        (layer("self_attn.q_proj"), vec![width, HIDDEN]),
        (layer("self_attn.k_proj"), vec![width, HIDDEN]),
        (layer("self_attn.v_proj"), vec![width, HIDDEN]),
        (layer("self_attn.o_proj"), vec![HIDDEN, width]),
        (layer("post_attention_layernorm"), vec![HIDDEN]),
        (layer("mlp.gate_proj"), vec![INTERMEDIATE, HIDDEN]),
        (layer("mlp.up_proj"), vec![INTERMEDIATE, HIDDEN]),
        (layer("mlp.down_proj"), vec![HIDDEN, INTERMEDIATE]),
        ("model.norm.weight".to_string(), vec![HIDDEN]),
        ("lm_head.weight".to_string(), vec![*vocabulary, HIDDEN]),
    ];
    let tensors: Vec<(String, ArrayD<f32>)> = shapes
        .into_iter()
        .map(|(name, shape)| {
            let values = ArrayD::from_shape_fn(shape, |_| random.random_range(-0.5f32..0.5));
            (name, values)
        })
        .collect();
    let views: Vec<_> = tensors.iter().map(|(name, values)| (name.clone(), values.view())).collect();
    write_safetensors(&folder.path().join("model.safetensors"), &views, &BTreeMap::new()).expect("written");
    // The file is mapped: it may go once it is open.
    Arc::new(Model::load(folder.path()).expect("a model"))
}
