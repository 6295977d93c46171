//! Tensors of a checkpoint, in the dtype that they have on disk.

use std::ops::Range;
use std::sync::Arc;

use half::{bf16, f16};
use memmap2::Mmap;
use ndarray::{Array1, Array2};

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
    /// A vector in memory.
    pub fn of_vector(name: &str, words: &[f32]) -> Self {
        let bytes: &[u8] = bytemuck::cast_slice(words);
        Self {
            name: name.into(),
            shape: vec![words.len()],
            transposed: false,
            dtype: WeightDtype::F32,
            range: 0..bytes.len(),
            storage: Arc::new(Storage::copied(bytes)),
        }
    }

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
