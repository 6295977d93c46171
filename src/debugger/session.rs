//! What a debug session is about: loaded before it begins, and only read from then on.

use std::fmt;
use std::sync::Arc;

use super::view::Witness;
use crate::diagnose::Witnesses;
use crate::dump::{Dump, Error};
use crate::engine::Sequence;
use crate::model::{Model, Tokenizer};

/// What a debug session is about.
#[derive(Debug)]
pub struct Session {
    /// The model.
    pub model: Arc<Model>,
    /// The tokens that it begins with: the first forward is the prefill.
    pub fed: Sequence,
    /// Texts of tokens; none without a tokenizer.
    pub tokenizer: Option<Arc<Tokenizer>>,
    /// The ids that end a text.
    pub eos: Vec<u32>,
    /// What it is compared with.
    pub dumps: Witnesses,
    /// What the user should know.
    pub notes: Vec<String>,
    /// Reads the dumps again; none where they have no files.
    pub opener: Option<Box<dyn Opener>>,
}

impl Session {
    /// Tokens, and what to compare with; nothing else is known.
    ///
    /// # Panics
    /// When `ids` and `steps` do not fit each other: they are checked when arguments are read.
    pub fn new(model: Arc<Model>, ids: Vec<u32>, steps: &[usize], dumps: Witnesses) -> Self {
        let fed = Sequence::new(ids, steps);
        Self { model, fed, tokenizer: None, eos: Vec::new(), dumps, notes: Vec::new(), opener: None }
    }

    /// The dump of a witness; the engine has none.
    pub(super) fn dump(&self, witness: Witness) -> Option<&Arc<Dump>> {
        match witness {
            Witness::Engine => None,
            Witness::Reference => self.dumps.reference.as_ref(),
            Witness::Candidate => self.dumps.candidate.as_ref(),
        }
    }

    /// Why a dump cannot be read, and what helps where its file is no longer the one that was opened.
    pub(super) fn unreadable(&self, error: &Error) -> String {
        let stale = self.opener.as_ref().is_some_and(|opener| !opener.changed().is_empty());
        if stale { format!("the dump was written again, reload reads it: {error}") } else { error.to_string() }
    }
}

/// Opens a session's dumps again.
pub trait Opener: fmt::Debug + Send {
    /// The witnesses whose files are no longer what was opened.
    fn changed(&self) -> Vec<Witness>;

    /// The session as the files are now, with an opener of its own.
    ///
    /// # Errors
    /// One sentence for the user: a file is gone or half-written, or no longer fits the model or the others.
    fn open(&self) -> Result<Session, String>;
}
