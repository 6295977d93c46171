//! Arrays on disk: bytes to named arrays and back. Knows nothing about models, nor what the names mean.
//!
//! An [`Archive`] is one file, or a directory of files, whose arrays are listed at once and read one at a time when they
//! are asked for. Whatever the bytes are, opening and reading them ends in arrays or in an [`Error`]: nothing in a file
//! is executed, and no size that a file declares is believed before it was checked against the file's own length.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

mod array;
mod directory;
mod error;
mod folder;
mod marks;
mod members;
mod npy;
mod pickle;
mod place;
mod raw;
mod safetensors;
mod source;
mod torch;
mod write;

pub use array::{Array, Dtype};
pub use error::Error;
pub(crate) use error::escape;
pub use marks::Whole;
pub use write::{check_writable, write_file, write_npy, write_npz, write_safetensors, write_safetensors_with};

use members::Members;
use place::Slot;
use source::Source;

/// One named array of an archive, not yet read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name, as stored but for the forward, see [`Archive::by_forwards`]: escape it before it reaches a terminal.
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
#[derive(Debug, Default)]
struct Contents {
    format: &'static str,
    slots: Vec<Slot>,
    metadata: BTreeMap<String, String>,
    notes: Vec<String>,
}

impl Archive {
    /// Lists the arrays at `path`: a file in one of the formats, told by its content, or a directory of such files.
    pub fn open(path: &Path) -> Result<Archive, Error> {
        let found = fs::metadata(path).map_err(Error::io(path, "open"))?;
        let contents = if found.is_dir() { directory::open(path)? } else { contents(&Source::open(path)?)? };
        Archive::new(path, contents)
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

    /// The arrays by their forwards, where their names tell them: `step1/NAME` is `NAME@1`, as it is from a folder `step1`.
    /// `whole` is what one forward has of their model, if that is known.
    #[must_use]
    pub fn by_forwards(mut self, whole: Option<Whole>) -> Archive {
        if let Some((names, said)) = marks::numbered(&self.entries, whole) {
            self.index = names.iter().cloned().zip(0..).collect();
            self.entries.iter_mut().zip(names).for_each(|(entry, name)| entry.name = name);
            self.notes.push(said);
        }
        self
    }

    /// The name of an array as its file has it.
    pub fn stored_name(&self, name: &str) -> Option<&str> {
        self.index.get(name).and_then(|at| self.slots.get(*at)).map(|slot| slot.entry.name.as_str())
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

    /// Reads one of the arrays that lie along the first axis of an array, and no more where it lies in one piece.
    pub fn read_part(&self, name: &str, part: usize) -> Result<Array, Error> {
        let missing = || Error::Missing { path: self.path.clone(), name: format!("{name}[{part}]") };
        let slot = &self.slots[*self.index.get(name).ok_or_else(missing)?];
        slot.part(part).ok_or_else(missing)?.read()
    }
}

/// Reads the list of arrays of one file. The content decides; the extension only where the content cannot.
fn contents(source: &Arc<Source>) -> Result<Contents, Error> {
    let head = source.read_up_to(0, 64)?;
    let extension = extension(&source.path);
    let name = || stem(&source.path);
    let bin = extension == "bin";
    if bin && raw::counted(&head, source.len) {
        raw::open(source, name())
    } else if head.starts_with(npy::MAGIC) {
        npy::open(source, name())
    } else if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        let format = if bin || extension.starts_with("pt") { "pt" } else { "npz" };
        let members = Members::open(source, format)?;
        match torch::root(&members) {
            Some(pickle) => torch::open(source, &members, pickle, name()),
            None => npy::open_npz(source, &members),
        }
    } else if torch::is_legacy(&head) {
        torch::open_legacy(source, name())
    } else if bin {
        raw::open(source, name())
    } else if (extension == "safetensors" && !is_text(&head)) || safetensors::resembles(&head, source.len) {
        safetensors::open(source)
    } else {
        Err(Error::Unknown { path: source.path.clone(), found: describe(&head) })
    }
}

/// What the first bytes of a file that is no dump look like.
fn describe(head: &[u8]) -> String {
    match head {
        [] => "it is empty".into(),
        [b'G', b'G', b'U', b'F', ..] => "it is a GGUF model".into(),
        [0x80, 2..=5, ..] => "it is a Python pickle that torch.save did not write".into(),
        _ if is_text(head) => {
            format!("it is text, \"{}\"", escape(&String::from_utf8_lossy(&head[..head.len().min(24)])))
        }
        _ => format!("it starts with the bytes {:02x?}", &head[..head.len().min(8)]),
    }
}

/// Whether the first bytes of a file are text; nothing is, too.
fn is_text(head: &[u8]) -> bool {
    head.iter().all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace())
}

/// The lower-case extension, without its dot.
fn extension(path: &Path) -> String {
    path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default()
}

/// The file name without its extension: what an array is called that has no other name.
fn stem(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}
