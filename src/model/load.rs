//! From files to a [`Model`]: every tensor of the checkpoint is accounted for, and every shape is proved.
//!
//! Decisions where versions of transformers differ:
//! - `lm_head.weight` beside a tied embedding table: accepted, with a note, when both hold the same bytes. When they
//!   differ it is an error, because transformers 5 uses the head of the file and transformers 4 the embedding table.
//! - a tied checkpoint that holds only `lm_head.weight` uses it as embedding table, as transformers 5 does.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::families::{Family, View, Wrapped};
use super::graph::{Graph, Parameter};
use super::lower::lower;
use super::spec::{Spec, Stage};
use super::tensor::Storage;
use super::weights::{Held, Model};
use crate::model::ConfigError;

mod account;
mod bare;
mod checkpoint;
mod header;

use account::Ledger;
use checkpoint::Checkpoint;

/// Why a model could not be loaded. Every message is one sentence that says what was expected, what was found, and
/// where. Names from files are escaped.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum LoadError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("cannot read {file}: {cause}")]
    Read { file: String, cause: std::io::Error },
    #[error("{dir} has no {expected}{found}")]
    NoFile { dir: String, expected: &'static str, found: String },
    #[error("{file} is not a safetensors file: {detail}")]
    Header { file: String, detail: String },
    #[error(
        "{file} is {actual} bytes long but its header describes {expected}: the file {}; fetch it again",
        if actual < expected { "is cut off" } else { "has bytes behind its end" }
    )]
    Length { file: String, actual: u64, expected: u64 },
    #[error(
        "{file} holds {count} tensor(s) of a dtype other than F32, F16 and BF16, the first is {tensor} of dtype {dtype}; \
             quantised weights must be converted back first"
    )]
    Dtype { file: String, tensor: String, dtype: String, count: usize },
    #[error("{file} is not an index of safetensors files: {detail}")]
    Index { file: String, detail: String },
    #[error("the weights of {model} do not fit its config.json ({shape}): {detail}")]
    Tensors { model: String, shape: String, detail: String },
    #[error(
        "{model} has `tie_word_embeddings`: true and also an lm_head.weight that differs from embed_tokens.weight: \
         transformers 4 used the embedding table and transformers 5 uses lm_head.weight, so set `tie_word_embeddings` \
         to false in its config.json to use the head, or remove the head"
    )]
    TwoHeads { model: String },
}

/// A path or name from outside, with nothing that could disturb a terminal.
pub(crate) fn shown(text: impl AsRef<Path>) -> String {
    text.as_ref()
        .to_string_lossy()
        .chars()
        .flat_map(|c| if "'\"\\".contains(c) { vec![c] } else { c.escape_debug().collect() })
        .collect()
}

impl Model {
    /// Loads the model in `dir`: config.json and `model.safetensors`, or the shards that
    /// `model.safetensors.index.json` lists. Weights are mapped, so that this reads little more than headers and norms.
    pub fn load(dir: &Path) -> Result<Self, LoadError> {
        let config_file = dir.join("config.json");
        let text = read_text(&config_file)?;
        let (spec, notes) = Spec::from_json(&text, &shown(&config_file))?;
        let spec = spec.as_published(dir)?;
        let mut checkpoint = Checkpoint::open(dir)?;
        for stage in &spec.embedding {
            if let Stage::Dense(dense) = stage {
                checkpoint.add_folder(dir, &dense.folder)?;
            }
        }
        Self::assemble(spec, text, notes, name_of(dir), checkpoint)
    }

    /// A model from the bytes of one safetensors file, for the model that is built into the program.
    pub fn from_bytes(config_json: &str, safetensors: &[u8]) -> Result<Self, LoadError> {
        let (spec, notes) = Spec::from_json(config_json, "config.json")?;
        let storage = Arc::new(Storage::copied(safetensors));
        let mut checkpoint = Checkpoint::default();
        checkpoint.add("model.safetensors", &storage, safetensors.len())?;
        Self::assemble(spec, config_json.to_owned(), notes, "model".to_owned(), checkpoint)
    }

    fn assemble(
        mut spec: Spec,
        config_json: String,
        mut notes: Vec<String>,
        name: String,
        checkpoint: Checkpoint,
    ) -> Result<Self, LoadError> {
        let Checkpoint { tensors, files, copied } = checkpoint;
        if copied > 0 {
            notes.push(format!("{copied} tensor(s) of {name} are not aligned in their file and were copied to memory"));
        }
        // As transformers 5: a model of several parts has the head of its file where that is another than the table.
        if let Some(head) = spec.head.as_mut().filter(|head| spec.is_wrapped && head.tied) {
            let ledger = Ledger::new(tensors.clone(), "", &[], true);
            head.tied = !ledger.differ("lm_head.weight", &format!("{}embed_tokens.weight", Wrapped::ROOT));
        }
        let graph = lower(&spec);
        let family = Family::named(spec.family).expect("a description is made from a family's row");
        let mut ledger = Ledger::new(tensors.clone(), family.base, family.roots, spec.is_wrapped);
        if family.predicts_further {
            ledger.leave_layers_from(family.names.layers, graph.layers());
        }
        if spec.head.is_none() {
            ledger.leave_heads();
        }
        let mut held: Vec<Held> = Vec::with_capacity(graph.params().len());
        for param in graph.params() {
            let found = match param.tied {
                Some(other) => {
                    let table = graph.params()[other.index()].name.trim_start_matches(family.base);
                    tied(&mut ledger, param, (table, &held[other.index()]), &name, &mut notes)?
                }
                None => take(&mut ledger, family, param, tied_to(&graph, held.len())),
            };
            held.push(found);
        }
        let account = ledger.close();
        if let Some(detail) = account.problems {
            let (hidden, layers) = (spec.hidden, spec.layers.len());
            let shape = format!("{}, {layers} layers, {} {hidden}", spec.family, family.keys.hidden_size);
            return Err(LoadError::Tensors { model: name, shape, detail });
        }
        notes.extend(account.notes);
        Ok(Self {
            spec,
            graph: Arc::new(graph),
            config_json,
            tensors: Arc::new(tensors),
            name,
            dtype_label: account.dtype_label,
            bytes: account.bytes,
            files,
            notes,
            held,
        })
    }
}

/// The name of the parameter that is tied to the one at `index`.
fn tied_to(graph: &Graph, index: usize) -> Option<&str> {
    graph.params().iter().find(|param| param.tied.is_some_and(|of| of.index() == index)).map(|param| &param.name[..])
}

/// A weight: where the family's row says, else under its module's name, else under that of the one that is tied to it.
fn take(ledger: &mut Ledger, family: &Family, param: &Parameter, tied: Option<&str>) -> Held {
    let stored = family.stored.iter().find(|stored| param.name.ends_with(stored.of));
    let tensors = match (stored, param.experts) {
        (Some(stored), Some(count)) => {
            let prefix = param.name.strip_suffix(stored.of).unwrap_or_default();
            let names: Vec<String> = stored.at.iter().map(|at| format!("{prefix}{at}")).collect();
            if let Some(stack) = names.iter().find(|name| !name.contains("{}") && ledger.has(name)) {
                ledger.stacked(stack, count, &param.shape, stored.view)
            } else if let Some(each) = names.iter().find(|name| name.contains("{}")) {
                let of = |expert: usize| each.replacen("{}", &expert.to_string(), 1);
                (0..count).map(|expert| ledger.take(&of(expert), &param.shape)).collect()
            } else {
                ledger.stacked(&names[0], count, &param.shape, stored.view)
            }
        }
        (Some(stored), None) => {
            let prefix = param.name.strip_suffix(stored.of).unwrap_or_default();
            let names = || stored.at.iter().map(|at| format!("{prefix}{at}"));
            let is_there = |name: &String| ledger.has(&name.replacen("{}", "0", 1));
            let name = names().find(is_there).or_else(|| names().next()).unwrap_or_default();
            vec![match stored.view {
                View::Transposed => ledger.transposed(&name, &param.shape),
                View::Flat => ledger.flat(&name, &param.shape),
                View::Joined => ledger.joined(&name, &param.shape),
                View::Filters => ledger.filters(&name, &param.shape),
                View::Whole | View::Stacked { .. } | View::StackedTransposed | View::Below { .. } => {
                    ledger.take(&name, &param.shape)
                }
            }]
        }
        _ => {
            let other = tied.filter(|other| !ledger.has(&param.name) && ledger.has(other));
            vec![ledger.take(other.unwrap_or(&param.name), &param.shape)]
        }
    };
    let vector = if param.shape.len() == 1 { tensors[0].vector() } else { ndarray::Array1::zeros(0) };
    Held { tensors, vector }
}

/// A weight that is another one, unless the checkpoint holds it, too: then both have to be equal.
fn tied(
    ledger: &mut Ledger,
    param: &Parameter,
    (name, other): (&str, &Held),
    model: &str,
    notes: &mut Vec<String>,
) -> Result<Held, LoadError> {
    let (own, table) = (&param.name, &other.tensors[0]);
    if ledger.has(own) {
        let head = ledger.take(own, &param.shape);
        if ledger.is_clean() && (head.dtype != table.dtype || head.bytes() != table.bytes()) {
            return Err(LoadError::TwoHeads { model: model.to_owned() });
        }
        notes.push(format!("{model} holds {own} and also ties it to {name}; both are equal"));
        return Ok(Held { tensors: vec![head], ..other.clone() });
    }
    if table.name == *own {
        notes.push(format!("{model} has no {name}; its {own} serves as both, as its config.json ties them"));
    }
    Ok(other.clone())
}

/// The text of a small file.
pub(crate) fn read_text(file: &Path) -> Result<String, LoadError> {
    const MOST: u64 = 256 << 20;
    let error = |cause| LoadError::Read { file: shown(file), cause };
    let about = std::fs::metadata(file).map_err(error)?;
    if !about.is_file() || about.len() > MOST {
        return Err(error(std::io::Error::other(format!("a file of at most {MOST} bytes was expected"))));
    }
    std::fs::read_to_string(file).map_err(error)
}

/// What to call the model in `dir`: the repository id when it lies in the Hugging Face cache, else its folder's name.
fn name_of(dir: &Path) -> String {
    let path: PathBuf = std::fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    let parts: Vec<String> = path.iter().map(shown).collect();
    match parts.as_slice() {
        [.., repository, snapshots, _] if snapshots == "snapshots" && repository.starts_with("models--") => {
            repository.trim_start_matches("models--").replacen("--", "/", 1)
        }
        [.., name] => name.clone(),
        [] => shown(dir),
    }
}
