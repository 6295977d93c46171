//! `config.json`, reduced to what the mathematics needs. Field names are those of the file.

use crate::ops::{self, Frequencies};

/// A family of models. All of them are one program with different lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Llama 2 and 3, SmolLM2.
    Llama,
    /// Mistral, with its sliding window.
    Mistral,
    /// Qwen2 and Qwen2.5: biases on q, k and v.
    Qwen2,
    /// Qwen3: q and k are normalised per head.
    Qwen3,
}

/// The numbers that define a model.
#[derive(Clone, Debug)]
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
    /// Rotation speeds, scaling applied.
    pub frequencies: Frequencies,
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
