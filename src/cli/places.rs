//! Where the configuration is read from, and where the program keeps what is not yours to look after: XDG's folders.

use std::env;
use std::path::PathBuf;

/// A folder of the XDG specification: the variable if it is an absolute path, else a folder of the home directory.
fn folder(variable: &str, of_home: &str) -> Option<PathBuf> {
    let given = env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = given.or_else(|| env::home_dir().map(|home| home.join(of_home)))?;
    Some(folder.join("layerstep"))
}

/// The configuration file: `$XDG_CONFIG_HOME/layerstep/config.toml`.
pub(super) fn config() -> Option<PathBuf> {
    Some(folder("XDG_CONFIG_HOME", ".config")?.join("config.toml"))
}

/// The fingerprints of models seen before: `$XDG_CACHE_HOME/layerstep/fingerprints.json`.
pub(super) fn cache() -> Option<PathBuf> {
    Some(folder("XDG_CACHE_HOME", ".cache")?.join("fingerprints.json"))
}

/// The folder of the journals of sessions that run: `$XDG_STATE_HOME/layerstep/journals`.
pub(super) fn journals() -> Option<PathBuf> {
    Some(folder("XDG_STATE_HOME", ".local/state")?.join("journals"))
}

/// The file of command lines that were typed: `$XDG_STATE_HOME/layerstep/history`.
pub(super) fn history() -> Option<PathBuf> {
    Some(folder("XDG_STATE_HOME", ".local/state")?.join("history"))
}
