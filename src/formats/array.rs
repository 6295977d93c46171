//! An array in memory: the element types found on disk, and the three they are widened to.

use ndarray::ArrayD;

/// The type of an element on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// IEEE double.
    F64,
    /// IEEE single.
    F32,
    /// IEEE half.
    F16,
    /// The upper half of an IEEE single.
    Bf16,
    /// Signed, 64 bits.
    I64,
    /// Signed, 32 bits.
    I32,
    /// Signed, 16 bits.
    I16,
    /// Signed, 8 bits.
    I8,
    /// Unsigned, 64 bits.
    U64,
    /// Unsigned, 32 bits.
    U32,
    /// Unsigned, 16 bits.
    U16,
    /// Unsigned, 8 bits.
    U8,
    /// One byte, zero or not.
    Bool,
}

impl Dtype {
    /// The short name shown to people: "bf16".
    pub fn name(self) -> &'static str {
        match self {
            Dtype::F64 => "f64",
            Dtype::F32 => "f32",
            Dtype::F16 => "f16",
            Dtype::Bf16 => "bf16",
            Dtype::I64 => "i64",
            Dtype::I32 => "i32",
            Dtype::I16 => "i16",
            Dtype::I8 => "i8",
            Dtype::U64 => "u64",
            Dtype::U32 => "u32",
            Dtype::U16 => "u16",
            Dtype::U8 => "u8",
            Dtype::Bool => "bool",
        }
    }

    /// Bytes of one element on disk.
    pub fn size(self) -> usize {
        match self {
            Dtype::F64 | Dtype::I64 | Dtype::U64 => 8,
            Dtype::F32 | Dtype::I32 | Dtype::U32 => 4,
            Dtype::F16 | Dtype::Bf16 | Dtype::I16 | Dtype::U16 => 2,
            Dtype::I8 | Dtype::U8 | Dtype::Bool => 1,
        }
    }

    /// Whether elements are floating point.
    pub fn is_float(self) -> bool {
        matches!(self, Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::Bf16)
    }

    /// Bytes of one element once read.
    pub(super) fn widened_size(self) -> usize {
        if matches!(self, Dtype::F32 | Dtype::F16 | Dtype::Bf16) { 4 } else { 8 }
    }
}

/// One array, read and widened without loss.
#[derive(Debug, Clone, PartialEq)]
pub enum Array {
    /// f32, f16 and bf16 on disk.
    F32(ArrayD<f32>),
    /// f64 on disk.
    F64(ArrayD<f64>),
    /// Integers and bool on disk.
    Int(ArrayD<i64>),
}

impl Array {
    /// Length of every axis.
    pub fn shape(&self) -> &[usize] {
        match self {
            Array::F32(a) => a.shape(),
            Array::F64(a) => a.shape(),
            Array::Int(a) => a.shape(),
        }
    }

    /// The values as f32: f64 and integers are rounded to the nearest.
    pub fn into_f32(self) -> ArrayD<f32> {
        match self {
            Array::F32(a) => a,
            Array::F64(a) => a.mapv(|x| x as f32),
            Array::Int(a) => a.mapv(|x| x as f32),
        }
    }

    /// The values as f64: exact but for integers beyond 2^53.
    pub fn into_f64(self) -> ArrayD<f64> {
        match self {
            Array::F32(a) => a.mapv(f64::from),
            Array::F64(a) => a,
            Array::Int(a) => a.mapv(|x| x as f64),
        }
    }

    /// The integers, when it is an array of integers.
    pub fn as_int(&self) -> Option<&ArrayD<i64>> {
        if let Array::Int(a) = self { Some(a) } else { None }
    }
}
