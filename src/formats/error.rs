//! What can go wrong with arrays on disk, each case one sentence: which file and tensor, what was found, what was
//! expected, what to do. Names and paths come from strangers, so they are escaped before they reach a terminal.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Why a file of arrays was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused, or the file changed while it was open.
    #[error("{}: cannot {action}: {reason}", shown(path))]
    Io {
        /// The file.
        path: PathBuf,
        /// What was attempted: "open", "read", "write".
        action: &'static str,
        /// The system's reason.
        reason: io::Error,
    },
    /// The content is none of the formats read here.
    #[error(
        "{}: not a dump: {found}; expected .safetensors, .npy, .npz, .pt (torch.save), .bin (f32), or a directory of these",
        shown(path)
    )]
    Unknown {
        /// The file.
        path: PathBuf,
        /// What its first bytes look like.
        found: String,
    },
    /// The file is damaged, or hostile, or uses a part of its format that is not read here.
    #[error("{}: not a readable {format} file: {problem}", shown(path))]
    Format {
        /// The file.
        path: PathBuf,
        /// The format it was read as.
        format: &'static str,
        /// What was expected and what was found.
        problem: String,
    },
    /// One tensor of an otherwise readable file.
    #[error("{}: tensor \"{}\": {problem}", shown(path), escape(name))]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What was expected and what was found.
        problem: String,
    },
    /// A pickle wants Python objects other than tensors and plain containers.
    #[error(
        "{}: unknown global {}: pickle code is never run here, so save plain tensors, for example torch.save({{\"name\": tensor}}, path)",
        shown(path),
        listed(globals)
    )]
    Global {
        /// The file.
        path: PathBuf,
        /// The names it asked for, as `module.name`.
        globals: Vec<String>,
    },
    /// No array has this name.
    #[error("{}: no array is named \"{}\"", shown(path), escape(name))]
    Missing {
        /// The archive.
        path: PathBuf,
        /// The name asked for.
        name: String,
    },
    /// The archive opens but holds no array.
    #[error("{}: no arrays here: {problem}", shown(path))]
    Empty {
        /// The file or directory.
        path: PathBuf,
        /// What was expected, and what was there instead.
        problem: String,
    },
    /// Two arrays of one archive have the same name.
    #[error(
        "{}: two arrays are named \"{}\": in {} and in {}; keep one of them",
        shown(path),
        escape(name),
        shown(first),
        shown(second)
    )]
    Duplicate {
        /// The archive.
        path: PathBuf,
        /// The name.
        name: String,
        /// The file of the first.
        first: PathBuf,
        /// The file of the second.
        second: PathBuf,
    },
}

impl Error {
    pub(super) fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |reason| Error::Io { path: path.to_owned(), action, reason }
    }

    pub(super) fn format(path: &Path, format: &'static str, problem: impl Into<String>) -> Error {
        Error::Format { path: path.to_owned(), format, problem: problem.into() }
    }

    pub(super) fn tensor(path: &Path, name: &str, problem: impl Into<String>) -> Error {
        Error::Tensor { path: path.to_owned(), name: name.to_owned(), problem: problem.into() }
    }
}

/// Longest untrusted name that an error repeats.
const LONGEST: usize = 160;

/// Untrusted text with everything that is not plain and printable escaped, cut to a readable length.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::new();
    for (at, c) in text.chars().enumerate() {
        match c {
            _ if at == LONGEST => return out + "...",
            '\'' | '"' => out.push(c),
            _ => out.extend(c.escape_debug()),
        }
    }
    out
}

fn shown(path: &Path) -> String {
    escape(&path.to_string_lossy())
}

fn listed(names: &[String]) -> String {
    names.iter().map(|name| escape(name)).collect::<Vec<_>>().join(", ")
}
