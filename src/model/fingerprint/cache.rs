//! Fingerprints of models seen before: reading all weights of a large model takes a while, and is done once.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::{Fingerprint, digest};
use crate::formats::write_file;
use crate::model::weights::Model;

/// Models remembered; a large one takes 100 kB.
const MODELS: usize = 32;
/// Longest file read, in bytes.
const LONGEST: u64 = 64 << 20;
/// Changes with what a fingerprint is.
const VERSION: u32 = 1;

/// A file of fingerprints. It is believed only for model files of the same length and time of change; one that is
/// damaged is as good as none.
#[derive(Clone, Debug)]
pub struct Cache {
    /// The file.
    pub path: PathBuf,
}

#[derive(Default, Serialize, Deserialize)]
struct Known {
    version: u32,
    /// The one seen last comes first.
    models: Vec<Seen>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    /// Canonical.
    folder: PathBuf,
    files: Vec<Stamp>,
    weights: String,
    fingerprint: Fingerprint,
}

/// A file of weights, as far as can be told without reading it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    name: String,
    bytes: u64,
    seconds: u64,
    nanoseconds: u32,
}

impl Cache {
    /// The fingerprint of a model: the one remembered, or else a new one, as [`Fingerprint::of`] makes it.
    pub fn fingerprint(&self, model: &Model, progress: impl Fn(u64) -> bool + Sync) -> Option<Fingerprint> {
        // Before the weights are read: what changes meanwhile must not look known.
        let Some((folder, files)) = stamps(&model.files) else { return Fingerprint::of(model, progress) };
        let known = self.read();
        let same = |seen: &&Seen| seen.folder == folder && seen.files == files;
        let fingerprint = match known.models.iter().find(same) {
            // Reading config.json again costs nothing.
            Some(seen) => {
                Fingerprint { config: digest(model.config_json.as_bytes()), tensors: seen.fingerprint.tensors.clone() }
            }
            None => Fingerprint::of(model, progress)?,
        };
        let weights = fingerprint.weights();
        self.remember(known, Seen { folder, files, weights, fingerprint: fingerprint.clone() });
        Some(fingerprint)
    }

    /// Where a model with these digests, of config.json and of [all weights](Fingerprint::weights), was seen last, if its
    /// files are still there as they were.
    pub fn folder_of(&self, config: &str, weights: &str) -> Option<PathBuf> {
        let fits = |seen: &Seen| {
            let files: Vec<PathBuf> = seen.files.iter().map(|stamp| seen.folder.join(&stamp.name)).collect();
            seen.fingerprint.config == config
                && seen.weights == weights
                && stamps(&files).is_some_and(|(_, now)| now == seen.files)
        };
        self.read().models.into_iter().find(fits).map(|seen| seen.folder)
    }

    fn read(&self) -> Known {
        let read = || -> Option<Known> {
            if !fs::metadata(&self.path).ok()?.is_file() {
                return None;
            }
            let mut text = String::new();
            fs::File::open(&self.path).ok()?.take(LONGEST).read_to_string(&mut text).ok()?;
            serde_json::from_str(&text).ok().filter(|known: &Known| known.version == VERSION)
        };
        read().unwrap_or_default()
    }

    /// Puts a model in front.
    fn remember(&self, mut known: Known, seen: Seen) {
        if known.models.first() == Some(&seen) {
            return;
        }
        known.version = VERSION;
        known.models.retain(|other| other.folder != seen.folder);
        known.models.insert(0, seen);
        known.models.truncate(MODELS);
        let Ok(text) = serde_json::to_vec(&known) else { return };
        // A cache that cannot be written costs time, no more.
        if self.path.parent().is_none_or(|folder| fs::create_dir_all(folder).is_ok()) {
            let _ = write_file(&self.path, |out| out.write_all(&text));
        }
    }
}

/// The folder of a model's files, and what they look like; `None` if there are none, or they cannot be told apart.
fn stamps(files: &[PathBuf]) -> Option<(PathBuf, Vec<Stamp>)> {
    let folder = files.first()?.parent().map(|folder| if folder == Path::new("") { Path::new(".") } else { folder })?;
    let stamp = |file: &PathBuf| {
        // Through links: in the Hugging Face cache every file is one.
        let about = fs::metadata(file).ok()?;
        let changed = about.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        let name = file.file_name()?.to_str()?.to_owned();
        Some(Stamp { name, bytes: about.len(), seconds: changed.as_secs(), nanoseconds: changed.subsec_nanos() })
    };
    let folder = folder.canonicalize().ok().filter(|folder| folder.to_str().is_some())?;
    Some((folder, files.iter().map(stamp).collect::<Option<_>>()?))
}
