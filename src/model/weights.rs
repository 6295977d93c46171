//! The weights, in the dtype they have on disk, and the model: a graph with its weights.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use half::{bf16, f16};
use memmap2::Mmap;
use ndarray::{Array1, Array2, CowArray, Ix1};

use super::graph::Graph;
use super::op::{Param, Vector, Weight};
use super::spec::Spec;
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
    /// Whether the words of the file are those of `[in, out]`: GPT-2's Conv1D.
    pub transposed: bool,
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
            transposed: false,
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
        let (rows, columns) = (self.shape[0], self.shape[1]);
        if self.transposed {
            return Matrix::transposed(rows, columns, self.words());
        }
        Matrix::new(rows, columns, self.words())
    }

    /// A two-dimensional tensor, widened to f32.
    ///
    /// # Panics
    /// When it has not two axes: shapes are proved when a model is loaded.
    pub fn rows(&self) -> Array2<f32> {
        let (rows, columns) = (self.shape[0], self.shape[1]);
        let words = self.vector();
        if self.transposed {
            let stored = words.into_shape_with_order((columns, rows)).expect("a matrix of its shape");
            return stored.reversed_axes().as_standard_layout().into_owned();
        }
        words.into_shape_with_order((rows, columns)).expect("a matrix of its shape")
    }

    /// All values in the order of the file, widened to f32.
    pub fn vector(&self) -> Array1<f32> {
        match self.words() {
            Words::F32(words) => words.iter().copied().collect(),
            Words::F16(words) => words.iter().map(|w| w.to_f32()).collect(),
            Words::Bf16(words) => words.iter().map(|w| w.to_f32()).collect(),
        }
    }
}

/// A weight of the model.
#[derive(Clone, Debug)]
pub struct Held {
    /// The matrix, table or vector; of experts one each.
    pub tensors: Vec<Tensor>,
    /// A vector, widened; empty for others.
    pub vector: Array1<f32>,
}

/// A model, ready to run: the graph of its forward pass, and the weights that this needs.
#[derive(Clone, Debug)]
pub struct Model {
    /// What it computes.
    pub spec: Spec,
    /// The same as nodes and edges.
    pub graph: Arc<Graph>,
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
    /// Every tensor of the checkpoint by its name there, also those that are not used: none is copied.
    pub tensors: Arc<BTreeMap<String, Tensor>>,
    /// What was found in the files and has no influence on the forward pass.
    pub notes: Vec<String>,
    /// In the order of the graph's parameters; none for a model without weights.
    pub(super) held: Vec<Held>,
}

impl Model {
    /// Whether its weights are there.
    pub fn has_weights(&self) -> bool {
        !self.held.is_empty()
    }

    /// The matrix that an op multiplies with, or the table that it takes rows of.
    pub fn matrix<'a>(&'a self, weight: &'a Weight) -> &'a Tensor {
        match weight {
            Weight::Param(param) => &self.held(*param).tensors[0],
            Weight::Other(tensor) => tensor,
            Weight::Each(tensors) => &tensors[0],
        }
    }

    /// The matrices of experts.
    pub fn matrices_of<'a>(&'a self, weight: &'a Weight) -> &'a [Tensor] {
        match weight {
            Weight::Param(param) => &self.held(*param).tensors,
            Weight::Other(tensor) => std::slice::from_ref(tensor),
            Weight::Each(tensors) => tensors,
        }
    }

    /// A vector of numbers.
    pub fn vector<'a>(&'a self, vector: &'a Vector) -> CowArray<'a, f32, Ix1> {
        match vector {
            Vector::Param(param) => self.held(*param).vector.view().into(),
            Vector::Other(vector) => vector.view().into(),
        }
    }

    fn held(&self, param: Param) -> &Held {
        &self.held[param.index()]
    }

    /// Every tensor that is a matrix, each with its canonical name.
    pub fn matrices(&self) -> impl Iterator<Item = &Tensor> {
        self.held.iter().flat_map(|held| &held.tensors).filter(|tensor| tensor.shape.len() == 2)
    }
}
