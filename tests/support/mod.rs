//! What several tests need: the tiny models of `reference/tiny`, and PyTorch's dumps of them.
#![allow(dead_code, unreachable_pub, reason = "every test file uses its own part of this")]

pub mod sessions;

use std::path::PathBuf;
use std::sync::Arc;

use layerstep::engine::{Graph, Keyed, Read, Site};
use layerstep::formats::{Archive, Array};
use layerstep::model::Model;
use ndarray::{ArrayD, Axis, IxDyn, Slice};

/// Every model of `reference/tiny`, each made to be awkward in its own way.
#[rustfmt::skip]
pub const TINY: &[&str] = &[
    "llama", "llama_bias", "mistral", "qwen2", "qwen3", "gemma2", "gpt2", "mixtral", "qwen3_moe", "qwen3_moe_plain",
    "llama_yarn", "llama_dynamic", "llama_longrope",
    "gemma", "granite", "olmo", "olmo_clip", "olmo2", "starcoder2", "seed_oss", "arcee", "opt", "opt_post", "bloom", "cohere", "cohere2", "gpt_neox",
    "gpt_neox_sequential", "phi", "gptj", "falcon", "falcon_groups", "stablelm", "nemotron", "helium", "phi3", "glm", "glm4",
    "smollm3", "olmo3", "exaone4", "gemma3", "olmoe", "qwen2_moe", "granitemoe", "phimoe", "dbrx",
    "gpt_oss", "glm4_moe", "ernie4_5_moe", "minimax_m2", "hunyuan_v1_moe", "ministral", "ministral3", "hunyuan", "ernie4_5",
    "smollm3_window", "apertus", "mistral3", "gemma4", "gemma4_keys", "gemma4_moe", "gemma4_shared", "gemma3_wrapped", "qwen2_vl", "qwen2_5_vl", "qwen3_vl",
    "deepseek_v2", "deepseek_v3", "glm4_moe_lite", "llama4", "youtu",
    "lfm2", "lfm2_moe", "qwen3_next", "qwen3_5", "qwen3_5_moe",
    "granitemoehybrid", "granitemoehybrid_dense", "bamba", "falcon_h1", "falcon_h1_norm", "nemotron_h",
];

/// Those of them without a head: encoders and embedders. Of these PyTorch's dumps hold one forward.
pub const HEADLESS: &[&str] = &["bert", "roberta", "modernbert", "qwen3_embedding", "gemma_embedding"];

/// Of each kind of block one or two, for tests that take long.
#[rustfmt::skip]
pub const SOME: &[&str] = &[
    "llama", "llama_bias", "mistral", "qwen2", "qwen3", "gemma2", "gpt2", "mixtral", "qwen3_moe", "qwen3_moe_plain",
    "llama_yarn", "granite", "olmo2", "cohere", "gpt_neox", "opt", "bloom", "falcon_groups", "phi3",
    "hunyuan", "apertus", "gemma4", "qwen2_vl",
];

/// A file of the repository.
pub fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A tiny model.
pub fn tiny(name: &str) -> Arc<Model> {
    let directory = repository("reference/tiny").join(name);
    Arc::new(Model::load(&directory).unwrap_or_else(|error| panic!("{name}: {error}")))
}

/// PyTorch's dump of a session, every activation of every forward.
pub struct Reference {
    archive: Archive,
    /// Every id fed.
    pub ids: Vec<u32>,
    /// Tokens per forward.
    pub steps: Vec<usize>,
}

impl Reference {
    /// The dump of a tiny model.
    pub fn tiny(name: &str) -> Self {
        Self::open(&repository("reference/tiny").join(name).join("reference.safetensors"))
    }

    /// A dump written by `reference/capture.py`.
    pub fn open(path: &std::path::Path) -> Self {
        let archive = Archive::open(path).expect("a dump of capture.py");
        let list = |key: &str| serde_json::from_str(&archive.metadata()[key]).expect("a JSON list");
        let ids: Vec<u32> = serde_json::from_value(list("input_ids")).expect("ids");
        let steps: Vec<usize> = serde_json::from_value(list("steps")).expect("steps");
        Self { archive, ids, steps }
    }

    /// Position of the first token of a forward.
    pub fn first(&self, forward: usize) -> usize {
        self.steps[..forward].iter().sum()
    }

    /// An activation in the layout of the graph; the key axis is filled up on the left with what a masked key has.
    pub fn read(&self, site: Site, forward: usize, graph: &Graph) -> ArrayD<f32> {
        let name = graph.key(site, forward);
        let Array::F32(mut values) = self.archive.read(&name).unwrap_or_else(|error| panic!("{error}")) else {
            panic!("{name} is not f32");
        };
        let tokens = self.steps[forward];
        let keys = self.first(forward) + tokens;
        let shape = graph[site].shape(tokens, keys);
        if graph[site].has_keys() {
            let masked = if graph[site].op.facts().keyed == Keyed::Scores { f32::MIN } else { 0.0 };
            let mut full = ArrayD::from_elem(IxDyn(&shape), masked);
            let have = values.shape()[2];
            full.slice_axis_mut(Axis(2), Slice::from(keys - have..)).assign(&values);
            values = full;
        }
        assert_eq!(values.shape(), shape, "{name}");
        values
    }

    /// What the op at `site` reads, taken from the dump.
    pub fn inputs(&self, site: Site, forward: usize, graph: &Graph) -> Vec<ArrayD<f32>> {
        let past = |kept: Site| {
            let axis = graph[kept].row_axis();
            let all: Vec<_> = (0..=forward).map(|forward| self.read(kept, forward, graph)).collect();
            let views: Vec<_> = all.iter().map(|part| part.view()).collect();
            let rows = ndarray::concatenate(Axis(axis), &views).expect("parts differ only along the token axis");
            let positions = rows.shape()[axis];
            let (heads, width) = graph[kept].heads().unwrap_or((1, rows.len() / positions));
            match axis {
                0 => rows.into_shape_with_order(IxDyn(&[positions, heads, width])).expect("a whole number of heads"),
                _ => rows.permuted_axes(IxDyn(&[1, 0, 2])),
            }
        };
        let read = |read: &Read| match *read {
            Read::Whole(site) => past(site),
            Read::Node(site) | Read::Stale(site) | Read::Earlier(site, _) => self.read(site, forward, graph),
            Read::Past(kept) => past(kept),
        };
        graph[site].reads.iter().map(read).collect()
    }

    /// Names of everything in the dump.
    pub fn names(&self) -> Vec<String> {
        self.archive.entries().iter().map(|entry| entry.name.clone()).collect()
    }
}
