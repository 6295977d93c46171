//! `config.json`, reduced to what the mathematics needs. Field names are those of the file.
//!
//! A missing key has the default of transformers' configuration class for the same `model_type`. Every key of the file
//! stands in one table (`config/keys.rs`): used, harmless, or refused when its value changes the mathematics.

use crate::ops::{self, Frequencies};

mod keys;
pub(super) mod read;
mod rope;
mod window;

use read::Reader;

/// A family of models. All of them are one program with different lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Llama 2 and 3, `SmolLM2`.
    Llama,
    /// Mistral, with its sliding window.
    Mistral,
    /// Qwen2 and Qwen2.5: biases on q, k and v.
    Qwen2,
    /// Qwen3: q and k are normalised per head.
    Qwen3,
}

impl Architecture {
    /// Every architecture there is.
    pub const ALL: [Self; 4] = [Self::Llama, Self::Mistral, Self::Qwen2, Self::Qwen3];

    /// Its `model_type` in config.json.
    pub fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Mistral => "mistral",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
        }
    }

    /// The architecture whose `model_type` is `name`.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|architecture| architecture.name() == name)
    }
}

/// The numbers that define a model.
#[expect(clippy::struct_excessive_bools, reason = "they are independent facts, named as in the file")]
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The `model_type` of the file.
    pub architecture: Architecture,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the MLP.
    pub intermediate_size: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; a divisor of the query heads.
    pub num_key_value_heads: usize,
    /// Width of one head; read from the file when it is there, since it need not be `hidden_size / heads`.
    pub head_dim: usize,
    /// Rows of the embedding table.
    pub vocab_size: usize,
    /// Added to the mean square under the root.
    pub rms_norm_eps: f32,
    /// The function applied to the gate.
    pub hidden_act: ops::Activation,
    /// Base of the rotation speeds, before scaling.
    pub rope_theta: f64,
    /// How the rotation speeds are scaled: `default`, `linear` or `llama3`.
    pub rope_type: &'static str,
    /// Rotation speeds, scaling applied.
    pub frequencies: Frequencies,
    /// How they follow from theta.
    pub(crate) rope: rope::Rope,
    /// Longest sequence the model was trained for; a longer one is legal, with a note.
    pub max_position_embeddings: usize,
    /// For each layer, how many positions a query sees, itself counted; `None` sees all.
    pub sliding_window: Vec<Option<usize>>,
    /// Whether q, k and v have biases.
    pub qkv_bias: bool,
    /// Whether the output projection has a bias.
    pub o_bias: bool,
    /// Whether the three matrices of the MLP have biases.
    pub mlp_bias: bool,
    /// Whether q and k are normalised per head before the rotation.
    pub qk_norm: bool,
    /// Whether the head is the embedding table.
    pub tie_word_embeddings: bool,
}

/// Why a config.json cannot be used. `file` is the path as the user gave it.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum ConfigError {
    #[error("{file} is not a JSON object: {detail}")]
    Json { file: String, detail: String },
    #[error("{file} has no `model_type`, which says which of llama, mistral, qwen2 and qwen3 the model is")]
    NoModelType { file: String },
    #[error("{file} has model_type `{found}`; layerstep runs llama, mistral, qwen2 and qwen3 (dense models only)")]
    Architecture { file: String, found: String },
    #[error("{file} has `{key}`: {found} where {expected} was expected")]
    Value { file: String, key: String, found: String, expected: String },
    #[error("{file} has `{key}`: {found}, which changes the mathematics and which layerstep does not implement{hint}")]
    Unsupported { file: String, key: String, found: String, hint: String },
    #[error("{file} contradicts itself: {detail}")]
    Contradiction { file: String, detail: String },
}

/// The defaults that differ between transformers' configuration classes.
struct Defaults {
    vocab_size: usize,
    intermediate_size: usize,
    /// `None`: as many as query heads.
    num_key_value_heads: Option<usize>,
    /// `None`: `hidden_size / num_attention_heads`.
    head_dim: Option<usize>,
    max_position_embeddings: usize,
}

impl Architecture {
    /// `LlamaConfig`, `MistralConfig`, `Qwen2Config` and `Qwen3Config` of transformers 5.
    fn defaults(self) -> Defaults {
        let (vocab_size, intermediate_size, num_key_value_heads, head_dim, max_position_embeddings) = match self {
            Self::Llama => (32_000, 11_008, None, None, 2048),
            Self::Mistral => (32_000, 14_336, Some(8), None, 131_072),
            Self::Qwen2 => (151_936, 22_016, Some(32), None, 32_768),
            Self::Qwen3 => (151_936, 22_016, Some(32), Some(128), 32_768),
        };
        Defaults { vocab_size, intermediate_size, num_key_value_heads, head_dim, max_position_embeddings }
    }
}

/// Sizes above these are typing errors or attacks; below them no product of two sizes overflows.
const MOST_WIDE: usize = 1 << 24;
const MOST_LAYERS: usize = 1 << 12;
const MOST_POSITIONS: usize = 1 << 40;

impl Config {
    /// Reads the text of a config.json; `file` is its name in messages. Also returns notes: what was found in the file
    /// and has no influence on the mathematics.
    pub fn from_json(text: &str, file: &str) -> Result<(Self, Vec<String>), ConfigError> {
        let reader = Reader::new(text, file)?;
        let architecture = reader.architecture()?;
        let notes = keys::check(&reader, architecture)?;
        let defaults = architecture.defaults();

        let hidden_size = reader.size("hidden_size", 4096, MOST_WIDE)?;
        let num_hidden_layers = reader.size("num_hidden_layers", 32, MOST_LAYERS)?;
        let num_attention_heads = reader.size("num_attention_heads", 32, MOST_WIDE)?;
        let num_key_value_heads = match reader.nullable_size("num_key_value_heads", MOST_WIDE)? {
            Some(heads) => heads,
            None if reader.has("num_key_value_heads") => num_attention_heads,
            None => defaults.num_key_value_heads.unwrap_or(num_attention_heads),
        };
        if num_attention_heads % num_key_value_heads != 0 {
            return Err(reader.contradiction(format!(
                "num_attention_heads ({num_attention_heads}) is not a multiple of num_key_value_heads \
                 ({num_key_value_heads}), so query heads cannot share key heads evenly"
            )));
        }
        let head_dim = match reader.nullable_size("head_dim", MOST_WIDE)? {
            Some(width) => width,
            None if reader.has("head_dim") => hidden_size / num_attention_heads,
            None => defaults.head_dim.unwrap_or(hidden_size / num_attention_heads),
        };
        if architecture == Architecture::Llama && !hidden_size.is_multiple_of(num_attention_heads) {
            return Err(reader.contradiction(format!(
                "hidden_size ({hidden_size}) is not a multiple of num_attention_heads ({num_attention_heads})"
            )));
        }
        if head_dim == 0 || !head_dim.is_multiple_of(2) || num_attention_heads.saturating_mul(head_dim) > MOST_WIDE {
            return Err(reader.contradiction(format!(
                "the width of a head (head_dim, else hidden_size / num_attention_heads) is {head_dim}, and RoPE needs \
                 an even width whose product with num_attention_heads ({num_attention_heads}) is at most {MOST_WIDE}"
            )));
        }
        let max_position_embeddings =
            reader.size("max_position_embeddings", defaults.max_position_embeddings, MOST_POSITIONS)?;
        let layer_types = window::layer_types(&reader, architecture, num_hidden_layers)?;
        let rope = rope::read(&reader, architecture, layer_types.as_deref(), max_position_embeddings)?;
        let attention_bias = matches!(architecture, Architecture::Llama | Architecture::Qwen3)
            && reader.flag("attention_bias", false)?;

        let config = Self {
            architecture,
            hidden_size,
            intermediate_size: reader.size("intermediate_size", defaults.intermediate_size, MOST_WIDE)?,
            num_hidden_layers,
            num_attention_heads,
            num_key_value_heads,
            head_dim,
            vocab_size: reader.size("vocab_size", defaults.vocab_size, MOST_WIDE)?,
            rms_norm_eps: reader.number("rms_norm_eps", 1e-6, 0.0)? as f32,
            hidden_act: reader.activation()?,
            rope_theta: rope.theta,
            rope_type: rope.scaling.name(),
            frequencies: rope.frequencies(head_dim),
            rope,
            max_position_embeddings,
            sliding_window: window::per_layer(&reader, architecture, num_hidden_layers, layer_types.as_deref())?,
            qkv_bias: attention_bias || architecture == Architecture::Qwen2,
            o_bias: attention_bias,
            mlp_bias: architecture == Architecture::Llama && reader.flag("mlp_bias", false)?,
            qk_norm: architecture == Architecture::Qwen3,
            tie_word_embeddings: reader.flag("tie_word_embeddings", false)?,
        };
        Ok((config, notes))
    }

    /// The rotation speeds that another theta would have, scaling applied.
    pub fn frequencies_of_theta(&self, theta: f64) -> Frequencies {
        rope::Rope { theta, ..self.rope }.frequencies(self.head_dim)
    }
}
