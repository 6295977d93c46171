//! The weights: plain structs of tensors, shape beside each field, in the dtype they have on disk.

use std::ops::Range;
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
    /// Bytes of the program itself (the built-in demo), kept in 8-byte words so that they are aligned.
    Owned(Vec<u64>),
}

impl Storage {
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
    /// The words, as they lie on disk.
    pub fn words(&self) -> Words<'_> {
        let bytes = &self.storage.bytes()[self.range.clone()];
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

/// A checkpoint, ready to run.
#[derive(Clone, Debug)]
pub struct Model {
    /// The numbers of config.json.
    pub config: Config,
    /// `[vocab, hidden]`
    pub embed_tokens: Tensor,
    /// The blocks, in order.
    pub layers: Vec<Layer>,
    /// `[hidden]`
    pub norm: Array1<f32>,
    /// `[vocab, hidden]`; the embedding table when tied.
    pub lm_head: Tensor,
}
