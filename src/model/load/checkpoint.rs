//! The files of a checkpoint: one safetensors file, or the shards an index lists.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use super::{LoadError, header, read_text, shown};
use crate::model::tensor::{Storage, Tensor, WeightDtype};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// All tensors of a checkpoint, by name.
#[derive(Default)]
pub(super) struct Checkpoint {
    pub(super) tensors: BTreeMap<String, Tensor>,
    pub(super) files: Vec<PathBuf>,
    /// Tensors that had to be copied because they are not aligned in the file.
    pub(super) copied: usize,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Checkpoint {
    /// The checkpoint in `dir`. As in transformers, `model.safetensors` wins over an index.
    pub(super) fn open(dir: &Path) -> Result<Self, LoadError> {
        let mut checkpoint = Self::default();
        if dir.join(SINGLE).exists() {
            checkpoint.map(&dir.join(SINGLE), "")?;
            return Ok(checkpoint);
        }
        let index = dir.join(INDEX);
        if !index.exists() {
            return Err(LoadError::NoFile {
                dir: shown(dir),
                expected: "model.safetensors and no model.safetensors.index.json",
                found: beside(dir),
            });
        }
        let wrong = |detail: String| LoadError::Index { file: shown(&index), detail };
        let Index { weight_map } = serde_json::from_str(&read_text(&index)?).map_err(|cause| {
            wrong(format!("an object with a weight_map was expected, {}", cause.to_string().escape_debug()))
        })?;
        let mut shards: Vec<&String> = weight_map.values().collect();
        shards.sort();
        shards.dedup();
        if shards.is_empty() {
            return Err(wrong("its weight_map is empty".to_owned()));
        }
        for shard in shards {
            // A plain file name: what an index lists must not reach outside the folder of the model.
            let plain = Path::new(shard).components().collect::<Vec<_>>();
            let is_plain = matches!(plain.as_slice(), [std::path::Component::Normal(name)] if *name == shard.as_str());
            if !is_plain || shard.contains(['\\', '\0', ':']) || !shard.ends_with(".safetensors") || shard.len() > 255 {
                let name: String = shown(shard).chars().take(100).collect();
                return Err(wrong(format!(
                    "it names the file {name}, where the plain name of a .safetensors file beside it was expected"
                )));
            }
            checkpoint.map(&dir.join(shard), "")?;
        }
        for (tensor, shard) in &weight_map {
            if !checkpoint.tensors.contains_key(tensor) {
                return Err(wrong(format!("it says that {} is in {}, and it is not", shown(tensor), shown(shard))));
            }
        }
        Ok(checkpoint)
    }

    /// Adds the tensors of a module that has a folder of its own, whose name stands before theirs.
    pub(super) fn add_folder(&mut self, dir: &Path, folder: &str) -> Result<(), LoadError> {
        self.map(&dir.join(folder).join(SINGLE), &format!("{folder}."))
    }

    /// Maps one file and adds its tensors; `before` stands before their names.
    fn map(&mut self, file: &Path, before: &str) -> Result<(), LoadError> {
        let error = |cause| LoadError::Read { file: shown(file), cause };
        // Opening a pipe would wait for ever, so the kind of the file is looked at first.
        if !std::fs::metadata(file).map_err(error)?.is_file() {
            return Err(error(std::io::Error::other("it is not a regular file")));
        }
        let handle = File::open(file).map_err(error)?;
        #[expect(
            unsafe_code,
            reason = "the only way to map a file; the alternative is to read gigabytes at every start"
        )]
        // SAFETY: the map is read-only and its bytes are only ever interpreted as numbers, for which every bit pattern
        // is valid. What remains is that another process truncates or rewrites the file while it is mapped: then reads
        // past the new end raise SIGBUS, which ends the program, and changed bytes change the numbers. Weights are
        // treated as immutable for as long as a model is loaded, as by every other program that maps them.
        let map = unsafe { Mmap::map(&handle) }.map_err(error)?;
        let length = map.len();
        self.files.push(file.to_owned());
        self.add_as(&shown(file), &Arc::new(Storage::Mapped(map)), length, before)
    }

    /// Adds the tensors of the safetensors file that is the first `length` bytes of `storage`.
    pub(super) fn add(&mut self, file: &str, storage: &Arc<Storage>, length: usize) -> Result<(), LoadError> {
        self.add_as(file, storage, length, "")
    }

    fn add_as(&mut self, file: &str, storage: &Arc<Storage>, length: usize, before: &str) -> Result<(), LoadError> {
        let bytes = storage.bytes().get(..length).unwrap_or_default();
        header::check(file, bytes)?;
        let wrong = |detail: String| LoadError::Header { file: file.to_owned(), detail };
        let (header, metadata) =
            SafeTensors::read_metadata(bytes).map_err(|cause| wrong(cause.to_string().escape_debug().to_string()))?;
        for (own, info) in metadata.tensors() {
            let name = format!("{before}{own}");
            let dtype = match info.dtype {
                Dtype::F32 => WeightDtype::F32,
                Dtype::F16 => WeightDtype::F16,
                Dtype::BF16 => WeightDtype::Bf16,
                _ if header::is_numbering(&name) => continue,
                other => {
                    let dtype = other.to_string();
                    return Err(LoadError::Dtype { file: file.to_owned(), tensor: shown(&name), dtype, count: 1 });
                }
            };
            let range = 8 + header + info.data_offsets.0..8 + header + info.data_offsets.1;
            let (storage, range) = self.aligned(storage, range, dtype);
            let (shape, transposed) = (info.shape.clone(), false);
            let tensor = Tensor { name: name.clone(), shape, transposed, dtype, storage, range };
            if let Some(other) = self.tensors.insert(name, tensor) {
                return Err(wrong(format!(
                    "the tensor {} is also in another file of the checkpoint",
                    shown(other.name)
                )));
            }
        }
        Ok(())
    }

    /// The same bytes, in memory of our own when the file does not align them to the size of a word.
    fn aligned(
        &mut self,
        storage: &Arc<Storage>,
        range: Range<usize>,
        dtype: WeightDtype,
    ) -> (Arc<Storage>, Range<usize>) {
        if range.start.is_multiple_of(dtype.size()) {
            return (Arc::clone(storage), range);
        }
        self.copied += 1;
        let length = range.len();
        let bytes = storage.bytes().get(range).unwrap_or_default();
        (Arc::new(Storage::copied(bytes)), 0..length)
    }
}

/// What lies in `dir` instead of safetensors weights, and what to do about it.
fn beside(dir: &Path) -> String {
    const OTHERS: [(&str, &str); 6] = [
        (".gguf", "GGUF weights, which must be converted to safetensors first"),
        ("adapter_model.safetensors", "a LoRA adapter, which must be merged into its base model first"),
        (
            "consolidated.safetensors",
            "weights under its makers' own names; the Hugging Face version of the repository is wanted",
        ),
        ("pytorch_model.bin", "PyTorch weights; load them with transformers and save them with save_pretrained"),
        (
            "pytorch_model.bin.index.json",
            "PyTorch weights; load them with transformers and save them with save_pretrained",
        ),
        (
            ".safetensors",
            "a safetensors file of another name; rename it to model.safetensors if it holds the whole model",
        ),
    ];
    let names: Vec<String> = std::fs::read_dir(dir)
        .map(|entries| entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    let found = OTHERS.iter().find_map(|(end, what)| {
        names.iter().find(|name| name.ends_with(end)).map(|name| format!(": there is {}, {what}", shown(name)))
    });
    found.unwrap_or_else(|| ": the weights were expected there".to_owned())
}
