//! What can go wrong with sessions, each case one sentence: which file and line, what was found, what was expected, what to
//! do. Names are escaped.

use std::io;
use std::path::Path;

use crate::formats;

/// Why a session was not read or written.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum Error {
    #[error("{file} cannot be {action}: {cause}")]
    Io { file: String, action: &'static str, cause: io::Error },
    #[error(transparent)]
    Damaged(#[from] super::values::Damaged),
    #[error(transparent)]
    Write(#[from] formats::Error),
    #[error("{file}: {what} is {found} bytes long, and at most {most} are read")]
    TooLarge { file: String, what: &'static str, found: u64, most: u64 },
    #[error("{file}, line {line}: a session is UTF-8 text, and this line has a byte that is not")]
    NotText { file: String, line: usize },
    #[error("{file} is a session of format {found}, this program reads {MAJOR}.x: a newer layerstep opens it")]
    Newer { file: String, found: String },
    #[error("{file} is no session: it begins with {found} where the header with `format = \"{MAJOR}.0\"` was expected")]
    NotASession { file: String, found: String },
    #[error("{file} is cut off: after line {line} the line --- was expected, which ends the header of a session")]
    CutOff { file: String, line: usize },
    #[error("{file}, line {line}: the header of a session is TOML, and here {problem}")]
    Header { file: String, line: usize, problem: String },
    #[error("{file}, line {line}: an answer was found where the command that it answers was expected")]
    Stray { file: String, line: usize },
    #[error("there is no session {path}: neither a file of this name, nor one that ends in .session or .session.zip")]
    None { path: String },
    #[error("{file}: its values should be in \"{found}\", where the name of a file beside it was expected")]
    Reaching { file: String, found: String },
    #[error("{file} has values in {values}, which is not beside it: put it there, or save the session again")]
    NoValues { file: String, values: String },
    #[error("{file} is no packed session that can be used: {problem}")]
    Zip { file: String, problem: String },
}

/// The major version of the format that this program reads and writes.
pub(super) const MAJOR: u32 = 1;

impl Error {
    /// For `map_err`.
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Io { file: shown(path), action, cause }
    }
}

/// A path, harmless in a terminal.
pub(crate) fn shown(path: &Path) -> String {
    formats::escape(&path.to_string_lossy())
}
