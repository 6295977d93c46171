//! Where what is debugged lies, and what its bytes are.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use sha2::{Digest, Sha256};

use super::header::{ModelFacts, Source};
use super::relative;
use crate::model::fingerprint::{Cache, hexadecimal};
use crate::model::{Fingerprint, Model};

/// Where the model and the dumps lie.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// The model's folder; none for the built-in one.
    pub model: Option<PathBuf>,
    /// Its repository id, where it lies in the Hugging Face cache.
    pub repository: Option<String>,
    /// The dumps, by their role.
    pub dumps: Vec<(String, PathBuf)>,
    /// The names for their tensors.
    pub map: Option<PathBuf>,
    /// The row of the batch.
    pub batch: Option<usize>,
    /// The mistake that our engine makes from the start.
    pub suspect: Option<String>,
    /// Where digests of models are remembered.
    pub cache: Option<Cache>,
}

impl Places {
    /// A path as a header writes it: relative to the folder of the session; in a journal, which stays on this machine, whole.
    fn written(path: &Path, folder: Option<&Path>) -> String {
        let bare = || path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        match folder {
            Some(folder) => relative(path, folder).unwrap_or_else(bare),
            None => std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string(),
        }
    }

    /// Fills in where the model lies.
    pub(super) fn locate(&self, facts: &mut ModelFacts, folder: Option<&Path>) {
        facts.repository.clone_from(&self.repository);
        let own = |path: &PathBuf| match folder {
            // A bare name would not be found again: the fingerprint will.
            Some(folder) => relative(path, folder),
            None => Some(Self::written(path, None)),
        };
        facts.path = self.model.as_ref().filter(|_| self.repository.is_none() || folder.is_none()).and_then(own);
    }

    /// The digests of a model; `None` when interrupted.
    pub fn fingerprint(&self, model: &Model, interrupt: &AtomicBool) -> Option<Fingerprint> {
        let goes_on = |_| !interrupt.load(Ordering::Relaxed);
        match &self.cache {
            Some(cache) => cache.fingerprint(model, goes_on),
            None => Fingerprint::of(model, goes_on),
        }
    }

    /// The dumps as a header lists them; with the digests of their bytes, which takes its time.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(super) fn sources(&self, folder: Option<&Path>, with_digests: bool) -> io::Result<Vec<Source>> {
        let source = |(role, path): &(String, PathBuf)| {
            Ok(Source {
                role: role.clone(),
                file: Self::written(path, folder),
                sha256: if with_digests { digest(path)? } else { String::new() },
                dtype: String::new(),
                map: self.map.as_deref().map(|map| Self::written(map, folder)),
                batch: self.batch,
            })
        };
        self.dumps.iter().map(source).collect()
    }
}

/// The SHA-256 of a file; of a folder, that of the names and digests of its files.
///
/// # Errors
/// What cannot be read.
pub fn digest(path: &Path) -> io::Result<String> {
    let hex = |hash: Sha256| hexadecimal(&hash.finalize());
    let mut hash = Sha256::new();
    if path.is_dir() {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
        files.sort();
        for file in files.iter().filter(|file| file.is_file()) {
            let name = file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
            hash.update(format!("{name}\n{}\n", digest(file)?));
        }
        return Ok(hex(hash));
    }
    io::copy(&mut File::open(path)?, &mut hash)?;
    Ok(hex(hash))
}
