//! Why a dump cannot be used, each case one sentence: the file, the tensor, what was expected, what was found, what to do.

use std::path::{Path, PathBuf};

use crate::formats;

/// Why a dump, or a map of names, was not understood.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be read.
    #[error(transparent)]
    Formats(#[from] formats::Error),
    /// A tensor cannot be what its name, or a map file, says.
    #[error("{}: tensor \"{}\" {problem}", path(file), shown(name))]
    Tensor {
        /// The file.
        file: PathBuf,
        /// The tensor.
        name: String,
        /// What was expected, what was found, what to do.
        problem: String,
    },
    /// The ids in the dump, or those given for it, cannot be.
    #[error("{}: {problem}", path(file))]
    Ids {
        /// The file.
        file: PathBuf,
        /// What was expected and what was found.
        problem: String,
    },
    /// A map file is not as it should be.
    #[error("{}: line {line}: {problem}", path(file))]
    Map {
        /// The map file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and what is allowed.
        problem: String,
    },
    /// A map file could not be read.
    #[error("{}: cannot read the map: {source}", path(file))]
    MapFile {
        /// The map file.
        file: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A tensor was asked for before the ids were known.
    #[error("{}: the ids of this dump are not known, so its rows cannot be told; give --ids or --prompt", path(file))]
    Unbound {
        /// The file.
        file: PathBuf,
    },
}

/// Longest untrusted text that is repeated.
const LONGEST: usize = 160;

/// Untrusted text with everything that is not plain and printable escaped, and cut to a readable length.
pub(super) fn shown(text: &str) -> String {
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

pub(super) fn path(path: &Path) -> String {
    shown(&path.to_string_lossy())
}
