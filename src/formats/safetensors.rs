//! Safetensors: a length, a JSON header, then the elements. The header is read alone, and bounded: the format's own
//! limit of 100 MB lets a small machine run out of memory on tensor names.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::Arc,
};

use safetensors::{
    SafeTensorError,
    tensor::{Metadata, TensorInfo},
};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IntoDeserializer, MapAccess, Visitor, value},
};

use super::{
    Contents, Dtype, Entry, Error,
    error::escape,
    place::{AXES, Place, Slot},
    source::Source,
};

/// Longest header read, in bytes.
const HEADER: u64 = 16 << 20;
/// Most tensors in one file.
const TENSORS: usize = 100_000;

const FORMAT: &str = "safetensors";

/// Whether a file that starts with `head` looks like one: a plausible length and the start of an object.
pub(super) fn resembles(head: &[u8], len: u64) -> bool {
    let length = head.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    head.get(8) == Some(&b'{') && length.is_some_and(|length| length <= len)
}

pub(super) fn open(source: &Arc<Source>) -> Result<Contents, Error> {
    let fail = |problem: String| Error::format(&source.path, FORMAT, problem);
    let prefix = source.read_up_to(0, 8)?;
    let length = <[u8; 8]>::try_from(prefix).map(u64::from_le_bytes);
    let length = length.map_err(|_| fail(format!("it ends after {} bytes, before its header", source.len)))?;
    if length > source.len - 8 {
        return Err(fail(format!("its header should be {length} bytes long, and only {} follow", source.len - 8)));
    }
    if length > HEADER {
        return Err(fail(format!("its header is {length} bytes long, more than the {HEADER} allowed")));
    }
    let header = source.read_up_to(8, length as usize)?;
    let header: Header =
        serde_json::from_slice(&header).map_err(|e| fail(escape(&format!("its header is wrong: {e}"))))?;
    let data = source.len - 8 - length;
    let (mut slots, mut notes) = (Vec::new(), Vec::new());
    let Header { metadata, mut tensors } = header;
    let order: Vec<String> = tensors.iter().map(|(name, _)| name.clone()).collect();
    tensors.sort_by_key(|(_, info)| info.data_offsets);
    let layout = Metadata::new(None, tensors).map_err(|e| fail(explain(&e)))?;
    if layout.data_len() as u64 != data {
        return Err(fail(format!("its tensors cover {} bytes, and {data} follow the header", layout.data_len())));
    }
    for name in order {
        let Some(info) = layout.info(&name) else { continue };
        let Some(dtype) = known(info.dtype) else {
            notes.push(format!("skipped {}: its type {} is not read here", escape(&name), info.dtype));
            continue;
        };
        let (start, end) = (8 + length + info.data_offsets.0 as u64, 8 + length + info.data_offsets.1 as u64);
        let entry = Entry { name, dtype, shape: info.shape.clone(), flat: false, file: source.path.clone() };
        slots.push(Slot::new(entry, Place::Range { source: source.clone(), start, end }));
    }
    Ok(Contents { format: FORMAT, slots, metadata, notes })
}

fn known(dtype: safetensors::Dtype) -> Option<Dtype> {
    use safetensors::Dtype as On;
    Some(match dtype {
        On::F64 => Dtype::F64,
        On::F32 => Dtype::F32,
        On::F16 => Dtype::F16,
        On::BF16 => Dtype::Bf16,
        On::I64 => Dtype::I64,
        On::I32 => Dtype::I32,
        On::I16 => Dtype::I16,
        On::I8 => Dtype::I8,
        On::U64 => Dtype::U64,
        On::U32 => Dtype::U32,
        On::U16 => Dtype::U16,
        On::U8 => Dtype::U8,
        On::BOOL => Dtype::Bool,
        _ => return None,
    })
}

fn explain(error: &SafeTensorError) -> String {
    match error {
        SafeTensorError::InvalidOffset(name) => {
            format!("tensor \"{}\" does not start where the one before it ends", escape(name))
        }
        SafeTensorError::TensorInvalidInfo => "a tensor's shape and type do not fill its data_offsets".into(),
        SafeTensorError::ValidationOverflow => "a tensor's shape is too large for any file".into(),
        other => escape(&format!("{other:?}")),
    }
}

/// The header as it stands: unlike a map, it notices a name that comes twice.
struct Header {
    metadata: BTreeMap<String, String>,
    tensors: Vec<(String, TensorInfo)>,
}

/// One tensor of the header; its type is still text, so that an unknown one can be named.
#[derive(Deserialize)]
struct Info {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let (mut seen, mut header) =
                    (HashSet::new(), Header { metadata: BTreeMap::new(), tensors: Vec::new() });
                while let Some(name) = map.next_key::<String>()? {
                    if !seen.insert(name.clone()) {
                        return Err(A::Error::custom(format!("\"{name}\" comes twice")));
                    }
                    if name == "__metadata__" {
                        header.metadata = map.next_value()?;
                    } else if header.tensors.len() == TENSORS {
                        return Err(A::Error::custom(format!("more than {TENSORS} tensors")));
                    } else {
                        let info = map.next_value::<Info>()?.checked(&name).map_err(A::Error::custom)?;
                        header.tensors.push((name, info));
                    }
                }
                Ok(header)
            }
        }
        from.deserialize_map(Reader)
    }
}

impl Info {
    fn checked(self, name: &str) -> Result<TensorInfo, String> {
        let Info { dtype, shape, data_offsets } = self;
        let text: value::StrDeserializer<value::Error> = dtype.as_str().into_deserializer();
        let known = safetensors::Dtype::deserialize(text);
        let dtype = known.map_err(|_| format!("tensor \"{name}\" has the unknown type {dtype}"))?;
        if shape.len() > AXES {
            return Err(format!("tensor \"{name}\" has {} axes, more than {AXES}", shape.len()));
        }
        Ok(TensorInfo { dtype, shape, data_offsets })
    }
}
