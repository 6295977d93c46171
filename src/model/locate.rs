//! The MODEL argument: a folder, or the id of a repository in the local Hugging Face cache. Nothing is fetched.
//!
//! The cache is laid out as `models--ORG--NAME/{refs/REVISION, snapshots/COMMIT/}`, where a ref holds the name of a
//! commit (huggingface.co/docs/huggingface_hub/guides/manage-cache).

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use super::load::shown;

/// Why a MODEL argument leads nowhere.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum LocateError {
    #[error("{path} is {what}; a folder with config.json, model.safetensors and tokenizer.json was expected")]
    NotAFolder { path: String, what: &'static str },
    #[error(
        "{dir} has no config.json; a folder with config.json, model.safetensors and tokenizer.json was expected, and {found}"
    )]
    NoConfig { dir: String, found: String },
    #[error("there is no folder {path}")]
    NoFolder { path: String },
    #[error(
        "there is no folder {id}, and no repository {id} in the Hugging Face cache {cache}; fetch it with `{command}`"
    )]
    NotCached { id: String, cache: String, command: String },
    #[error("the Hugging Face cache has {id}, but {found}; fetch it with `{command}`")]
    NoRevision { id: String, found: String, command: String },
}

/// Where the Hugging Face cache lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubCache {
    /// The folder that holds `models--ORG--NAME`; `None` when the environment names no home.
    pub folder: Option<PathBuf>,
}

impl HubCache {
    /// As `huggingface_hub` finds it: `HF_HUB_CACHE`, else `HUGGINGFACE_HUB_CACHE`, else `hub` in `HF_HOME`, else in
    /// `huggingface` in `XDG_CACHE_HOME` or `~/.cache`. `variable` reads the environment.
    pub fn find(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let home = variable("HOME").or_else(|| variable("USERPROFILE")).map(PathBuf::from);
        let path = |name: &str| -> Option<PathBuf> {
            let path = PathBuf::from(variable(name).filter(|value| !value.is_empty())?);
            match (path.strip_prefix("~"), &home) {
                (Ok(rest), Some(home)) => Some(home.join(rest)),
                _ => Some(path),
            }
        };
        let default = || path("XDG_CACHE_HOME").or_else(|| Some(home.clone()?.join(".cache")));
        let folder = path("HF_HUB_CACHE").or_else(|| path("HUGGINGFACE_HUB_CACHE")).or_else(|| {
            let home = path("HF_HOME").or_else(|| Some(default()?.join("huggingface")))?;
            Some(home.join("hub"))
        });
        Self { folder }
    }

    /// Of this process.
    pub fn of_environment() -> Self {
        Self::find(|name| std::env::var_os(name))
    }
}

/// The folder that `argument` means: a folder, or `ORG/NAME[@REVISION]` in the cache.
pub fn locate(argument: &str, cache: &HubCache) -> Result<PathBuf, LocateError> {
    let path = Path::new(argument);
    if path.is_dir() {
        // The repository's folder in the cache, which holds one folder per commit.
        let repository = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix("models--"));
        return match repository {
            Some(id) if path.join("snapshots").is_dir() => snapshot(path, &id.replacen("--", "/", 1), None),
            _ => checked(path.to_owned()),
        };
    }
    if path.exists() {
        let what = match path.extension().and_then(|extension| extension.to_str()) {
            Some("gguf") => "a GGUF file, which must be converted to a Hugging Face folder first",
            Some("safetensors") => "one file of a model; give the folder it lies in",
            Some("json") => "a JSON file; give the folder it lies in",
            _ => "no folder",
        };
        return Err(LocateError::NotAFolder { path: shown(path), what });
    }
    let (id, revision) = match argument.split_once('@') {
        Some((id, revision)) => (id, Some(revision)),
        None => (argument, None),
    };
    if !is_repository_id(id) || revision.is_some_and(|revision| !is_revision(revision)) {
        return Err(LocateError::NoFolder { path: shown(path) });
    }
    let folder = cache.folder.as_ref().map(|cache| cache.join(format!("models--{}", id.replace('/', "--"))));
    match folder.filter(|folder| folder.is_dir()) {
        Some(folder) => snapshot(&folder, id, revision),
        None => Err(LocateError::NotCached {
            id: shown(id),
            cache: cache.folder.as_ref().map_or_else(|| "(HOME is not set)".to_owned(), shown),
            command: command(id, revision),
        }),
    }
}

/// The snapshot of `revision` in a repository's folder.
fn snapshot(folder: &Path, id: &str, revision: Option<&str>) -> Result<PathBuf, LocateError> {
    let snapshots = folder.join("snapshots");
    let name = revision.unwrap_or("main");
    let commit = std::fs::read_to_string(folder.join("refs").join(name)).ok();
    let commit = commit.as_deref().map(str::trim).filter(|commit| is_revision(commit) && !commit.contains('/'));
    // A revision is a branch or a tag with a ref, or the name of a commit.
    let mut found = [commit.unwrap_or(name)].map(|name| snapshots.join(name)).into_iter().find(|path| path.is_dir());
    let present = names(&snapshots);
    if let (None, None, [only]) = (&found, revision, present.as_slice()) {
        // Fetched by the name of a commit, so there is no ref; being alone, it is the one that is meant.
        found = Some(snapshots.join(only));
    }
    let Some(found) = found else {
        let found = if present.is_empty() {
            "no files of it".to_owned()
        } else {
            format!("no revision {} of it (it has {})", shown(name), present.join(", "))
        };
        return Err(LocateError::NoRevision { id: shown(id), found, command: command(id, revision) });
    };
    if !found.join("config.json").is_file() {
        let found = format!("without its config.json in {}", shown(&found));
        return Err(LocateError::NoRevision { id: shown(id), found, command: command(id, revision) });
    }
    Ok(found)
}

fn checked(dir: PathBuf) -> Result<PathBuf, LocateError> {
    if dir.join("config.json").is_file() {
        return Ok(dir);
    }
    let present = names(&dir);
    let found = match present.as_slice() {
        [] => "the folder is empty".to_owned(),
        [..] if present.iter().any(|name| Path::new(name).extension().is_some_and(|end| end == "gguf")) => {
            "it holds GGUF weights, which must be converted to a Hugging Face folder first".to_owned()
        }
        _ => {
            let more = if present.len() > 8 { " and more" } else { "" };
            format!("it holds {}{more}", present[..present.len().min(8)].join(", "))
        }
    };
    Err(LocateError::NoConfig { dir: shown(dir), found })
}

/// The names in a folder, sorted and safe to print.
fn names(dir: &Path) -> Vec<String> {
    let entries =
        std::fs::read_dir(dir).map(|entries| entries.flatten().map(|entry| shown(entry.file_name())).collect());
    let mut names: Vec<String> = entries.unwrap_or_default();
    names.sort();
    names
}

fn command(id: &str, revision: Option<&str>) -> String {
    let revision = revision.map(|revision| format!(" --revision {}", shown(revision))).unwrap_or_default();
    format!("hf download {}{revision}", shown(id))
}

/// `NAME` or `ORG/NAME`, of the characters Hugging Face allows.
fn is_repository_id(id: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['.', '-'])
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
            && !part.contains("..")
    };
    id.split('/').count() <= 2 && id.split('/').all(plain)
}

/// A branch, a tag, `refs/pr/1` or a commit: a relative path that stays where it is.
fn is_revision(revision: &str) -> bool {
    !revision.is_empty()
        && revision.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c))
        && Path::new(revision).components().all(|part| matches!(part, Component::Normal(_)))
}
