//! The weights: plain structs of tensors, shape beside each field, in the dtype they have on disk.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use half::{bf16, f16};
use memmap2::Mmap;
use ndarray::Array1;

use crate::model::Config;
use crate::ops::{Matrix, Words};

/// The bytes of one checkpoint file.
#[derive(Debug)]
pub enum Storage {
    /// A file, mapped: pages are read when they are touched, and shared between processes.
    Mapped(Mmap),
    /// A copy in memory (the built-in demo, or a tensor its file does not align), kept in 8-byte words so that it is
    /// aligned.
    Owned(Vec<u64>),
}

impl Storage {
    /// An aligned copy of `bytes`; the last word is padded with zeros.
    pub fn copied(bytes: &[u8]) -> Self {
        let mut words = vec![0u64; bytes.len().div_ceil(8)];
        bytemuck::cast_slice_mut::<u64, u8>(&mut words)[..bytes.len()].copy_from_slice(bytes);
        Self::Owned(words)
    }

    /// All bytes of the file.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned(words) => bytemuck::cast_slice(words),
        }
    }
}

/// The dtypes weights may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightDtype {
    /// 32-bit floats.
    F32,
    /// IEEE half precision.
    F16,
    /// bfloat16.
    Bf16,
}

impl WeightDtype {
    /// Bytes of one word.
    pub fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// Its short name: `f32`, `f16`, `bf16`.
    pub fn label(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }
}

/// One weight matrix or vector of the checkpoint. The loader proves length, bounds and alignment.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// The name in the checkpoint.
    pub name: String,
    /// `[out, in]`, or `[n]`.
    pub shape: Vec<usize>,
    /// The dtype on disk.
    pub dtype: WeightDtype,
    /// The file it lies in.
    pub storage: Arc<Storage>,
    /// Where in the file.
    pub range: Range<usize>,
}

impl Tensor {
    /// A matrix in memory.
    pub fn of_rows(name: &str, rows: &ndarray::ArrayView2<f32>) -> Self {
        let words: Vec<f32> = rows.iter().copied().collect();
        let bytes: &[u8] = bytemuck::cast_slice(&words);
        Self {
            name: name.into(),
            shape: rows.shape().to_vec(),
            dtype: WeightDtype::F32,
            range: 0..bytes.len(),
            storage: Arc::new(Storage::copied(bytes)),
        }
    }

    /// The bytes, as they lie on disk.
    pub fn bytes(&self) -> &[u8] {
        &self.storage.bytes()[self.range.clone()]
    }

    /// The words, as they lie on disk.
    pub fn words(&self) -> Words<'_> {
        let bytes = self.bytes();
        match self.dtype {
            WeightDtype::F32 => Words::F32(bytemuck::cast_slice::<u8, f32>(bytes)),
            WeightDtype::F16 => Words::F16(bytemuck::cast_slice::<u8, f16>(bytes)),
            WeightDtype::Bf16 => Words::Bf16(bytemuck::cast_slice::<u8, bf16>(bytes)),
        }
    }

    /// A two-dimensional tensor as a matrix.
    pub fn matrix(&self) -> Matrix<'_> {
        Matrix::new(self.shape[0], self.shape[1], self.words())
    }

    /// All values, widened to f32.
    pub fn vector(&self) -> Array1<f32> {
        match self.words() {
            Words::F32(words) => words.iter().copied().collect(),
            Words::F16(words) => words.iter().map(|w| w.to_f32()).collect(),
            Words::Bf16(words) => words.iter().map(|w| w.to_f32()).collect(),
        }
    }
}

/// `y = x Wᵀ + b`.
#[derive(Clone, Debug)]
pub struct Linear {
    /// `[out, in]`
    pub weight: Tensor,
    /// `[out]`
    pub bias: Option<Array1<f32>>,
}

/// One decoder block.
#[derive(Clone, Debug)]
pub struct Layer {
    /// `[hidden]`
    pub input_layernorm: Array1<f32>,
    /// `[heads * head_dim, hidden]`
    pub q_proj: Linear,
    /// `[kv_heads * head_dim, hidden]`
    pub k_proj: Linear,
    /// `[kv_heads * head_dim, hidden]`
    pub v_proj: Linear,
    /// `[head_dim]`, Qwen3
    pub q_norm: Option<Array1<f32>>,
    /// `[head_dim]`, Qwen3
    pub k_norm: Option<Array1<f32>>,
    /// `[hidden, heads * head_dim]`
    pub o_proj: Linear,
    /// `[hidden]`
    pub post_attention_layernorm: Array1<f32>,
    /// `[intermediate, hidden]`
    pub gate_proj: Linear,
    /// `[intermediate, hidden]`
    pub up_proj: Linear,
    /// `[hidden, intermediate]`
    pub down_proj: Linear,
}

impl Layer {
    /// All of its linear maps, in the order of the forward pass.
    pub fn linears(&self) -> [&Linear; 7] {
        [&self.q_proj, &self.k_proj, &self.v_proj, &self.o_proj, &self.gate_proj, &self.up_proj, &self.down_proj]
    }
}

/// A checkpoint, ready to run.
#[derive(Clone, Debug)]
pub struct Model {
    /// The numbers of config.json.
    pub config: Config,
    /// config.json itself.
    pub config_json: String,
    /// The repository id when the model lies in the Hugging Face cache, else the name of its folder.
    pub name: String,
    /// The dtype of the weights, `bf16`; when there are several, the one with most bytes first, `bf16 and f32`.
    pub dtype_label: String,
    /// Bytes of all weights.
    pub bytes: u64,
    /// The files the weights lie in; none for the built-in model.
    pub files: Vec<PathBuf>,
    /// Every tensor of the checkpoint by its name there, also those that are kept widened below, and those that are not
    /// used: none is copied.
    pub tensors: Arc<BTreeMap<String, Tensor>>,
    /// What was found in the files and has no influence on the forward pass.
    pub notes: Vec<String>,
    /// `[vocab, hidden]`
    pub embed_tokens: Tensor,
    /// The blocks, in order.
    pub layers: Vec<Layer>,
    /// `[hidden]`
    pub norm: Array1<f32>,
    /// `[vocab, hidden]`; the embedding table when tied.
    pub lm_head: Tensor,
}
