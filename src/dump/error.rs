//! Why a dump cannot be used, each case one sentence: the file, the tensor, what was expected, what was found, what to do.

use std::path::{Path, PathBuf};

use crate::formats;

pub(super) use crate::formats::escape as shown;

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
    /// The shape of a tensor fits no reading of what its name says.
    #[error("{}: tensor \"{}\" {problem}", path(file), shown(name))]
    Shape {
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
    /// The arrays are the weights of a model.
    #[error(
        "{}: holds the weights of a model ({}), not activations; give the model as --model, and as a dump what it computed: \
         `layerstep capture`, or capture.py of reference/, writes one; `layerstep diff --weights A B` compares two checkpoints",
        path(file),
        shown(name)
    )]
    Weights {
        /// The file or folder.
        file: PathBuf,
        /// One of them.
        name: String,
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
    #[error("{}: cannot read the map: {reason}", path(file))]
    MapFile {
        /// The map file.
        file: PathBuf,
        /// The system's reason.
        reason: std::io::Error,
    },
    /// A tensor was asked for before the ids were known.
    #[error("{}: the ids of this dump are not known, so its rows cannot be told; give --ids or --prompt", path(file))]
    Unbound {
        /// The file.
        file: PathBuf,
    },
}

/// Refuses arrays most of which are named as weights are, and not as anything that is computed.
pub(super) fn no_weights(archive: &formats::Archive) -> Result<(), Error> {
    let (mut floats, mut weights) = (0, Vec::new());
    for entry in archive.entries().iter().filter(|entry| entry.dtype.is_float()) {
        floats += 1;
        weights.extend(matches!(entry.name.rsplit('.').next(), Some("weight" | "bias")).then_some(&entry.name));
    }
    let all = 2 * weights.len() > floats;
    let first = weights.first().filter(|_| all);
    first.map_or(Ok(()), |name| Err(Error::Weights { file: archive.path().to_owned(), name: (*name).clone() }))
}

pub(super) fn path(path: &Path) -> String {
    shown(&path.to_string_lossy())
}
