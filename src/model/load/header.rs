//! What the safetensors crate does not say of a header: the length the file should have, names that occur twice, and
//! which tensor has a dtype that nobody knows.

use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use super::LoadError;

/// No real checkpoint comes near these; a hostile header of 100 MB costs a gigabyte to parse.
const LONGEST: u64 = 16 << 20;
const MOST_TENSORS: usize = 100_000;

/// The facts of a header.
#[derive(Debug, Default)]
pub(super) struct Scan {
    names: HashSet<String>,
    /// Where the data ends, counted from the end of the header.
    end: u64,
    twice: Option<String>,
    /// Tensors whose dtype is not one of ours.
    foreign: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    data_offsets: (u64, u64),
}

impl<'de> Deserialize<'de> for Scan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tensors;
        impl<'de> Visitor<'de> for Tensors {
            type Value = Scan;
            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("an object of tensors")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scan, A::Error> {
                let mut scan = Scan::default();
                while let Some(name) = map.next_key::<String>()? {
                    if scan.names.len() > MOST_TENSORS {
                        return Err(serde::de::Error::custom(format!("more than {MOST_TENSORS} tensors")));
                    }
                    if name == "__metadata__" {
                        map.next_value::<IgnoredAny>()?;
                    } else {
                        let entry: Entry = map.next_value()?;
                        scan.end = scan.end.max(entry.data_offsets.1);
                        let is_ours = matches!(entry.dtype.as_str(), "F32" | "F16" | "BF16");
                        if !is_ours && !is_numbering(&name) {
                            scan.foreign.push((name.clone(), entry.dtype));
                        }
                    }
                    if !scan.names.insert(name.clone()) {
                        scan.twice = Some(name);
                    }
                }
                Ok(scan)
            }
        }
        deserializer.deserialize_map(Tensors)
    }
}

/// Whether a tensor holds the integers from 0 on, which old versions of transformers saved as BERT's positions.
pub(super) fn is_numbering(name: &str) -> bool {
    name.ends_with("embeddings.position_ids")
}

/// Checks the header of `file`, whose bytes are `bytes`, as far as the safetensors crate does not.
pub(super) fn check(file: &str, bytes: &[u8]) -> Result<(), LoadError> {
    let wrong = |detail: String| LoadError::Header { file: file.to_owned(), detail };
    if bytes.starts_with(b"version https://git-lfs") {
        return Err(wrong("it is a Git LFS pointer; run `git lfs pull` in its repository".to_owned()));
    }
    if bytes.starts_with(b"GGUF") {
        return Err(wrong("it is a GGUF file under another name".to_owned()));
    }
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(wrong(format!(
            "it has {} bytes, fewer than the 8 that give the length of the header",
            bytes.len()
        )));
    };
    let length = u64::from_le_bytes(*length);
    if length > LONGEST {
        return Err(wrong(format!("its header would be {length} bytes long, and the limit is {LONGEST}")));
    }
    let Some(header) = rest.get(..length as usize) else {
        return Err(LoadError::Length { file: file.to_owned(), actual: bytes.len() as u64, expected: 8 + length });
    };
    let scan: Scan = serde_json::from_slice(header)
        .map_err(|cause| wrong(format!("its header does not parse: {}", cause.to_string().escape_debug())))?;
    if let Some(name) = scan.twice {
        return Err(wrong(format!("its header has the tensor {} twice", super::shown(name))));
    }
    if let Some((tensor, dtype)) = scan.foreign.first() {
        return Err(LoadError::Dtype {
            file: file.to_owned(),
            tensor: super::shown(tensor),
            dtype: super::shown(dtype),
            count: scan.foreign.len(),
        });
    }
    let expected = scan.end.saturating_add(8 + length);
    if expected != bytes.len() as u64 {
        return Err(LoadError::Length { file: file.to_owned(), actual: bytes.len() as u64, expected });
    }
    Ok(())
}
