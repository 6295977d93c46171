//! The globals that a pickle of tensors names, and the element types among them.

use crate::formats::Dtype;

/// How a storage's bytes are to be taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Elements {
    Known(Dtype),
    /// Untyped: bytes, of which the tensor knows the type.
    Bytes,
    /// Complex, quantised, 8-bit floats: no numbers we read, of so many bytes (0 where no one knows).
    Unread(usize),
}

/// What a recognised call makes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Call {
    /// `_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks, metadata)`, and v1 which ends at stride.
    Tensor,
    /// `_rebuild_tensor_v3`: the same with the type before the metadata, over an untyped storage.
    TypedTensor,
    /// `_rebuild_parameter(tensor, requires_grad, hooks)`.
    Parameter,
    /// `OrderedDict()`, and what a model or `generate` of transformers returns: dictionaries with attributes.
    Dict,
    /// `torch.Size((1, 2))`, `torch.device("cpu")`: no tensors. A cache of transformers: none that others do not hold.
    Other,
}

/// Whether this global is known to be harmless.
pub(super) fn is_known(module: &str, name: &str) -> bool {
    call(module, name).is_some() || storage(module, name).is_some() || dtype(module, name).is_some()
}

pub(super) fn call(module: &str, name: &str) -> Option<Call> {
    match (module, name) {
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Some(Call::Tensor),
        ("torch._utils", "_rebuild_tensor_v3") => Some(Call::TypedTensor),
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Some(Call::Parameter),
        ("collections", "OrderedDict") => Some(Call::Dict),
        ("transformers.modeling_outputs" | "transformers.generation.utils", name) if name.contains("Output") => {
            Some(Call::Dict)
        }
        ("torch", "Size" | "device") | ("transformers.cache_utils", _) => Some(Call::Other),
        _ => None,
    }
}

/// The storage classes, `torch.FloatStorage` and its siblings.
pub(super) fn storage(module: &str, name: &str) -> Option<Elements> {
    let kind = name.strip_suffix("Storage").filter(|_| matches!(module, "torch" | "torch.cuda" | "torch.storage"))?;
    Some(match kind {
        "Double" => Elements::Known(Dtype::F64),
        "Float" => Elements::Known(Dtype::F32),
        "Half" => Elements::Known(Dtype::F16),
        "BFloat16" => Elements::Known(Dtype::Bf16),
        "Long" => Elements::Known(Dtype::I64),
        "Int" => Elements::Known(Dtype::I32),
        "Short" => Elements::Known(Dtype::I16),
        "Char" => Elements::Known(Dtype::I8),
        "Byte" => Elements::Known(Dtype::U8),
        "Bool" => Elements::Known(Dtype::Bool),
        "Untyped" => Elements::Bytes,
        "ComplexDouble" => Elements::Unread(16),
        "ComplexFloat" => Elements::Unread(8),
        "QInt32" => Elements::Unread(4),
        "QInt8" | "QUInt8" | "QUInt4x2" | "QUInt2x4" => Elements::Unread(1),
        _ => return None,
    })
}

/// The types themselves, `torch.float32` and its siblings.
pub(super) fn dtype(module: &str, name: &str) -> Option<Elements> {
    let known = match name {
        _ if module != "torch" => return None,
        "float64" | "double" => Dtype::F64,
        "float32" | "float" => Dtype::F32,
        "float16" | "half" => Dtype::F16,
        "bfloat16" => Dtype::Bf16,
        "int64" | "long" => Dtype::I64,
        "int32" | "int" => Dtype::I32,
        "int16" | "short" => Dtype::I16,
        "int8" => Dtype::I8,
        "uint64" => Dtype::U64,
        "uint32" => Dtype::U32,
        "uint16" => Dtype::U16,
        "uint8" => Dtype::U8,
        "bool" => Dtype::Bool,
        _ if ["float8_", "float4_", "complex", "qint", "quint", "bits", "int", "uint"]
            .iter()
            .any(|p| name.starts_with(p)) =>
        {
            return Some(Elements::Unread(0));
        }
        _ => return None,
    };
    Some(Elements::Known(known))
}
