//! Arrays on disk: bytes to named arrays and back. Knows nothing about models, nor what the names mean.
//!
//! An [`Archive`] is one file, or a directory of files, whose arrays are listed at once and read one at a time when they
//! are asked for. Whatever the bytes are, opening and reading them ends in arrays or in an [`Error`]: nothing in a file
//! is executed, and no size that a file declares is believed before it was checked against the file's own length.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

mod array;
mod error;
mod place;
mod safetensors;
mod source;
mod write;

pub use array::{Array, Dtype};
pub use error::Error;
pub use write::{write_npy, write_npz, write_safetensors, write_safetensors_with};

use place::Slot;
use source::Source;

/// One named array of an archive, not yet read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name, exactly as stored: escape it before it reaches a terminal.
    pub name: String,
    /// The type of its elements on disk.
    pub dtype: Dtype,
    /// Length of every axis.
    pub shape: Vec<usize>,
    /// The file stores no shape (a .bin): `shape` is only its length.
    pub flat: bool,
    /// The file that holds it: of a directory, one of its files.
    pub file: PathBuf,
}

/// The arrays of one dump: a file, or a directory of files. They are read lazily, with positioned reads, never mapped.
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    format: &'static str,
    entries: Vec<Entry>,
    slots: Vec<Slot>,
    index: HashMap<String, usize>,
    metadata: BTreeMap<String, String>,
    notes: Vec<String>,
}

/// What a reader found in one file.
#[derive(Debug)]
struct Contents {
    format: &'static str,
    slots: Vec<Slot>,
    metadata: BTreeMap<String, String>,
    notes: Vec<String>,
}

impl Archive {
    /// Lists the arrays at `path`: a file in one of the formats, told by its content, or a directory of such files.
    pub fn open(path: &Path) -> Result<Archive, Error> {
        let source = Source::open(path)?;
        Archive::new(path, safetensors::open(&source)?)
    }

    /// Lists the arrays of a safetensors file that is part of the program.
    pub fn from_safetensors_bytes(name: &str, bytes: &'static [u8]) -> Result<Archive, Error> {
        Archive::new(Path::new(name), safetensors::open(&Source::embedded(name, bytes))?)
    }

    fn new(path: &Path, contents: Contents) -> Result<Archive, Error> {
        let Contents { format, slots, metadata, notes } = contents;
        if slots.is_empty() {
            let problem = if notes.is_empty() { format!("the {format} file is empty") } else { notes.join("; ") };
            return Err(Error::Empty { path: path.to_owned(), problem });
        }
        let entries: Vec<Entry> = slots.iter().map(|slot| slot.entry.clone()).collect();
        let mut index: HashMap<String, usize> = HashMap::new();
        for (k, entry) in entries.iter().enumerate() {
            if let Some(first) = index.insert(entry.name.clone(), k) {
                let (name, first, second) = (entry.name.clone(), entries[first].file.clone(), entry.file.clone());
                return Err(Error::Duplicate { path: path.to_owned(), name, first, second });
            }
        }
        Ok(Archive { path: path.to_owned(), format, entries, slots, index, metadata, notes })
    }

    /// The file or directory that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it is: "safetensors", "npy", "npz", "pt", "bin" or "directory".
    pub fn format(&self) -> &'static str {
        self.format
    }

    /// Its arrays: a file's in the order of the file, a directory's in the natural order of the file names.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The text stored beside the arrays: `__metadata__` of safetensors, else empty.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// What a user should know about how it was read: what was skipped, what was assumed. Already escaped.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Reads one array.
    pub fn read(&self, name: &str) -> Result<Array, Error> {
        let missing = || Error::Missing { path: self.path.clone(), name: name.to_owned() };
        self.slots[*self.index.get(name).ok_or_else(missing)?].read()
    }
}
