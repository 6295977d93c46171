//! From files to a [`Model`]: every tensor of the checkpoint is accounted for, and every shape is proved.
//!
//! Decisions where versions of transformers differ:
//! - `lm_head.weight` beside a tied embedding table: accepted, with a note, when both hold the same bytes. When they
//!   differ it is an error, because transformers 5 uses the head of the file and transformers 4 the embedding table.
//! - a tied checkpoint that holds only `lm_head.weight` uses it as embedding table, as transformers 5 does.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::model::weights::{Layer, Linear, Model, Storage, Tensor};
use crate::model::{Config, ConfigError};

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
        let (config, notes) = Config::from_json(&text, &shown(&config_file))?;
        Self::assemble(config, text, notes, name_of(dir), Checkpoint::open(dir)?)
    }

    /// A model from the bytes of one safetensors file, for the model that is built into the program.
    pub fn from_bytes(config_json: &str, safetensors: &[u8]) -> Result<Self, LoadError> {
        let (config, notes) = Config::from_json(config_json, "config.json")?;
        let storage = Arc::new(Storage::copied(safetensors));
        let mut checkpoint = Checkpoint::default();
        checkpoint.add("model.safetensors", &storage, safetensors.len())?;
        Self::assemble(config, config_json.to_owned(), notes, "model".to_owned(), checkpoint)
    }

    fn assemble(
        config: Config,
        config_json: String,
        mut notes: Vec<String>,
        name: String,
        checkpoint: Checkpoint,
    ) -> Result<Self, LoadError> {
        let Checkpoint { tensors, files, copied } = checkpoint;
        if copied > 0 {
            notes.push(format!("{copied} tensor(s) of {name} are not aligned in their file and were copied to memory"));
        }
        let mut ledger = Ledger::new(tensors.clone());
        let c = &config;
        let (hidden, wide) = (c.hidden_size, c.intermediate_size);
        let (q, kv) = (c.num_attention_heads * c.head_dim, c.num_key_value_heads * c.head_dim);
        let table = [c.vocab_size, hidden];

        let only_head =
            c.tie_word_embeddings && !ledger.has("model.embed_tokens.weight") && ledger.has("lm_head.weight");
        let embed_tokens = ledger.take(if only_head { "lm_head.weight" } else { "model.embed_tokens.weight" }, &table);
        if only_head {
            notes.push(format!(
                "{name} has no embed_tokens.weight; its lm_head.weight serves as both, as its config.json ties them"
            ));
        }
        let lm_head = if !c.tie_word_embeddings {
            ledger.take("lm_head.weight", &table)
        } else if !only_head && ledger.has("lm_head.weight") {
            let head = ledger.take("lm_head.weight", &table);
            if ledger.is_clean() && (head.dtype != embed_tokens.dtype || head.bytes() != embed_tokens.bytes()) {
                return Err(LoadError::TwoHeads { model: name });
            }
            notes.push(format!("{name} holds lm_head.weight and also ties it to embed_tokens.weight; both are equal"));
            head
        } else {
            embed_tokens.clone()
        };
        let mut layers = Vec::with_capacity(c.num_hidden_layers);
        for layer in 0..c.num_hidden_layers {
            let path = |name: &str| format!("model.layers.{layer}.{name}");
            let mut linear = |name: &str, out: usize, width: usize, bias: bool| Linear {
                weight: ledger.take(&path(&format!("{name}.weight")), &[out, width]),
                bias: bias.then(|| ledger.vector(&path(&format!("{name}.bias")), out)),
            };
            let (q_proj, k_proj, v_proj, o_proj) = (
                linear("self_attn.q_proj", q, hidden, c.qkv_bias),
                linear("self_attn.k_proj", kv, hidden, c.qkv_bias),
                linear("self_attn.v_proj", kv, hidden, c.qkv_bias),
                linear("self_attn.o_proj", hidden, q, c.o_bias),
            );
            let (gate_proj, up_proj, down_proj) = (
                linear("mlp.gate_proj", wide, hidden, c.mlp_bias),
                linear("mlp.up_proj", wide, hidden, c.mlp_bias),
                linear("mlp.down_proj", hidden, wide, c.mlp_bias),
            );
            layers.push(Layer {
                input_layernorm: ledger.vector(&path("input_layernorm.weight"), hidden),
                q_proj,
                k_proj,
                v_proj,
                q_norm: c.qk_norm.then(|| ledger.vector(&path("self_attn.q_norm.weight"), c.head_dim)),
                k_norm: c.qk_norm.then(|| ledger.vector(&path("self_attn.k_norm.weight"), c.head_dim)),
                o_proj,
                post_attention_layernorm: ledger.vector(&path("post_attention_layernorm.weight"), hidden),
                gate_proj,
                up_proj,
                down_proj,
            });
        }
        let norm = ledger.vector("model.norm.weight", hidden);
        let account = ledger.close();
        if let Some(detail) = account.problems {
            let shape = format!("{}, {} layers, hidden_size {hidden}", c.architecture.name(), c.num_hidden_layers);
            return Err(LoadError::Tensors { model: name, shape, detail });
        }
        notes.extend(account.notes);
        Ok(Self {
            config,
            config_json,
            tensors: Arc::new(tensors),
            name,
            dtype_label: account.dtype_label,
            bytes: account.bytes,
            files,
            notes,
            embed_tokens,
            layers,
            norm,
            lm_head,
        })
    }

    /// Every tensor that is a matrix, with the canonical name of the module it belongs to.
    pub fn matrices(&self) -> impl Iterator<Item = &Tensor> {
        let layers = self.layers.iter().flat_map(|layer| layer.linears().map(|linear| &linear.weight));
        std::iter::once(&self.embed_tokens).chain(layers).chain(std::iter::once(&self.lm_head))
    }
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
