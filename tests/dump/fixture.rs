//! The tiny dumps, and how they are rewritten and checked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use layerstep::dump::{Dump, Options};
use layerstep::engine::{Graph, Role, Site};
use layerstep::formats::{Archive, write_safetensors};
use layerstep::model::lower::lower;
use layerstep::model::{Model, Spec};
use ndarray::{ArrayBase, ArrayD, Data, IxDyn};

/// A dump in memory: tensors by name, metadata by key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tensors {
    pub(crate) tensors: Vec<(String, ArrayD<f32>)>,
    pub(crate) metadata: BTreeMap<String, String>,
}

/// A dump on disk; the folder lives as long as this.
pub(crate) struct Written {
    pub(crate) path: PathBuf,
    _folder: tempfile::TempDir,
}

/// Models of one block: the same names, in all of them.
pub(crate) const TINY: &[&str] = &["llama", "llama_bias", "mistral", "qwen2", "qwen3"];

/// Models of other blocks, and of scaled RoPE: of each kind of block one.
#[rustfmt::skip]
pub(crate) const OTHERS: &[&str] = &[
    "gemma2", "gpt2", "mixtral", "qwen3_moe", "qwen3_moe_plain", "llama_yarn", "llama_dynamic", "llama_longrope",
    "cohere", "gpt_neox", "opt", "bloom", "falcon", "phi3",
];

pub(crate) fn tiny(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("reference/tiny").join(name)
}

pub(crate) fn graph_of(name: &str) -> Arc<Graph> {
    let text = std::fs::read_to_string(tiny(name).join("config.json")).expect("config.json");
    Arc::new(lower(&Spec::from_json(&text, "config.json").expect("a tiny config").0))
}

/// The node that plays a role, in this layer if layers have one.
pub(crate) fn at(graph: &Graph, layer: usize, role: Role) -> Site {
    graph.whole(role).or_else(|| graph.in_layer(layer, role)).unwrap_or_else(|| panic!("{layer}.{}", role.short()))
}

/// Width of a head.
pub(crate) fn head_dim(graph: &Graph) -> usize {
    graph[at(graph, 0, Role::QProj)].heads().expect("queries have heads").1
}

pub(crate) fn model(name: &str) -> Model {
    Model::load(&tiny(name)).expect("a tiny model")
}

/// The reference dump of a tiny model.
pub(crate) fn reference(name: &str) -> Tensors {
    let archive = Archive::open(&tiny(name).join("reference.safetensors")).expect("reference.safetensors");
    let read = |entry: &layerstep::formats::Entry| {
        (entry.name.clone(), archive.read(&entry.name).expect("a tensor").into_f32())
    };
    Tensors { tensors: archive.entries().iter().map(read).collect(), metadata: archive.metadata().clone() }
}

/// The tensors of its first forward only.
pub(crate) fn prefill(name: &str) -> Tensors {
    let mut all = reference(name);
    all.tensors.retain(|(name, _)| !name.contains('@'));
    let ids = all.ids().into_iter().take(all.steps()[0]).collect::<Vec<u32>>();
    let json = |list: &dyn std::fmt::Debug| format!("{list:?}");
    all.metadata = BTreeMap::from([("input_ids".into(), json(&ids)), ("steps".into(), json(&[ids.len()]))]);
    all
}

impl Tensors {
    pub(crate) fn ids(&self) -> Vec<u32> {
        serde_json::from_str(&self.metadata["input_ids"]).expect("ids")
    }

    pub(crate) fn steps(&self) -> Vec<usize> {
        serde_json::from_str(&self.metadata["steps"]).expect("steps")
    }

    pub(crate) fn get(&self, name: &str) -> &ArrayD<f32> {
        &self.tensors.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("{name} is there")).1
    }

    pub(crate) fn of(&self, graph: &Graph, forward: usize, site: Site) -> Option<&ArrayD<f32>> {
        let name = graph.key(site, forward);
        self.tensors.iter().find(|(known, _)| *known == name).map(|(_, values)| values)
    }

    /// Every tensor under another name or in another shape; `None` drops it.
    pub(crate) fn rewritten(&self, rewrite: impl Fn(&str, &ArrayD<f32>) -> Option<(String, ArrayD<f32>)>) -> Tensors {
        let tensors = self.tensors.iter().filter_map(|(name, values)| rewrite(name, values)).collect();
        Tensors { tensors, metadata: self.metadata.clone() }
    }

    pub(crate) fn write(&self) -> Written {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("dump.safetensors");
        let tensors: Vec<_> = self.tensors.iter().map(|(name, values)| (name.clone(), values.view())).collect();
        write_safetensors(&path, &tensors, &self.metadata).expect("written");
        Written { path, _folder: folder }
    }

    pub(crate) fn open(&self, graph: &Arc<Graph>) -> (Dump, Written) {
        let written = self.write();
        (Dump::open(&written.path, graph, &Options::default()).expect("a dump"), written)
    }

    /// Opened, and bound to the ids of its metadata.
    pub(crate) fn bound(&self, graph: &Arc<Graph>) -> (Dump, Written) {
        let (mut dump, written) = self.open(graph);
        dump.bind(&self.ids(), &self.steps()).expect("every shape fits");
        (dump, written)
    }
}

/// Splits `model.norm@2` into site and forward.
pub(crate) fn parsed(name: &str, graph: &Graph) -> (usize, Site) {
    let (base, forward) = name.split_once('@').map_or((name, 0), |(base, k)| (base, k.parse().expect("a number")));
    (forward, graph.parse(base).unwrap_or_else(|| panic!("{name} is canonical")))
}

pub(crate) fn bits<S: Data<Elem = f32>>(values: &ArrayBase<S, IxDyn>) -> (Vec<usize>, Vec<u32>) {
    (values.shape().to_vec(), values.iter().map(|v| v.to_bits()).collect())
}

/// Reads every activation of `original` out of `rewritten`, and wants the same bits; `except` may be missing.
pub(crate) fn check(original: &Tensors, rewritten: &Tensors, graph: &Arc<Graph>, except: &[Role]) -> Dump {
    let (dump, _written) = rewritten.bound(graph);
    for (name, values) in &original.tensors {
        let (forward, site) = parsed(name, graph);
        if graph[site].role.is_some_and(|role| except.contains(&role)) {
            continue;
        }
        let read = dump.read(forward, site, None).expect(name).unwrap_or_else(|| panic!("{name} was recognised"));
        assert!(bits(&read.part.values) == bits(values), "{name}\n{}", dump.plan());
        assert_eq!(read.part.rows, (0..original.steps()[forward]).collect::<Vec<_>>(), "{name}");
        assert!(read.notes.is_empty(), "{name}: {:?}", read.notes);
    }
    dump
}

pub(crate) fn reshape(values: &ArrayD<f32>, shape: &[usize]) -> ArrayD<f32> {
    values.as_standard_layout().into_owned().into_shape_with_order(IxDyn(shape)).expect("the same number of values")
}

pub(crate) fn permute(values: &ArrayD<f32>, axes: &[usize]) -> ArrayD<f32> {
    values.clone().permuted_axes(IxDyn(axes)).as_standard_layout().into_owned()
}

/// Numbers that are all different, and no multiple of each other.
pub(crate) fn numbers(shape: &[usize], seed: usize) -> ArrayD<f32> {
    let mut state = (seed as u32).wrapping_mul(2_654_435_761).wrapping_add(1);
    ArrayD::from_shape_simple_fn(IxDyn(shape), || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    })
}

/// A dump of made-up numbers: every activation of a prefill of `ids`, in the table's layout.
pub(crate) fn made_up(graph: &Arc<Graph>, ids: &[u32]) -> Tensors {
    let tensors = graph
        .nodes()
        .iter()
        .enumerate()
        .map(|(seed, node)| (node.name.clone(), numbers(&node.shape(ids.len(), ids.len()), seed)));
    let metadata =
        BTreeMap::from([("input_ids".into(), format!("{ids:?}")), ("steps".into(), format!("[{}]", ids.len()))]);
    Tensors { tensors: tensors.collect(), metadata }
}

/// `[head, token, dim]` or `[token, head * dim]` → `[1, token, head, dim]`.
pub(crate) fn by_token(values: &ArrayD<f32>, graph: &Graph) -> ArrayD<f32> {
    let values = if values.ndim() == 3 { permute(values, &[1, 0, 2]) } else { values.clone() };
    let (tokens, width) = (values.shape()[0], head_dim(graph));
    let heads = values.len() / tokens / width;
    reshape(&values, &[1, tokens, heads, width])
}
