//! Noticing that a dump was written again: by the length and the modification time of its files.

use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, SystemTime};

use super::note;
use super::witness::DumpArgs;

/// How often the files are looked at.
pub(super) const PAUSE: Duration = Duration::from_millis(500);

/// What the files of a dump looked like; of a directory, all of its files. A file that is gone has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamp(Vec<(PathBuf, u64, Option<SystemTime>)>);

impl Stamp {
    /// What they look like now.
    pub(super) fn of(path: &Path) -> Self {
        let mut files = Vec::new();
        let mut add = |path: &Path, found: &Metadata| {
            files.push((path.to_path_buf(), found.len(), found.modified().ok()));
        };
        if let Ok(found) = fs::metadata(path) {
            add(path, &found);
            for entry in fs::read_dir(path).into_iter().flatten().flatten() {
                if let Ok(found) = fs::metadata(entry.path()) {
                    add(&entry.path(), &found);
                }
            }
        }
        files.sort();
        Self(files)
    }
}

/// Files that are looked at now and then.
#[derive(Debug)]
pub(super) struct Watch {
    paths: Vec<PathBuf>,
    /// As they were when they were read.
    read: Vec<Stamp>,
    /// As they were when they were last looked at.
    seen: Vec<Stamp>,
}

impl Watch {
    /// The dumps of the command line, and the map of their names.
    pub(super) fn of(dumps: &DumpArgs) -> Self {
        let paths: Vec<PathBuf> =
            [&dumps.reference, &dumps.candidate, &dumps.map].into_iter().flatten().cloned().collect();
        let stamps: Vec<Stamp> = paths.iter().map(|path| Stamp::of(path)).collect();
        Self { paths, seen: stamps.clone(), read: stamps }
    }

    /// Whether the files are no longer as they were read, and nobody is writing them any more: they were the same the
    /// last time.
    pub(super) fn changed(&mut self) -> bool {
        let now: Vec<Stamp> = self.paths.iter().map(|path| Stamp::of(path)).collect();
        let stable = now == self.seen;
        self.seen = now;
        let changed = stable && self.seen != self.read;
        if changed {
            self.read.clone_from(&self.seen);
        }
        changed
    }

    /// Works each time the files change, for ever: a file that cannot be read is waited for.
    pub(super) fn repeat(mut self, work: impl Fn() -> anyhow::Result<ExitCode>) -> anyhow::Result<ExitCode> {
        loop {
            thread::sleep(PAUSE);
            if !self.changed() {
                continue;
            }
            note("\nthe files have changed");
            if let Err(error) = work() {
                if error.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == ErrorKind::BrokenPipe) {
                    return Err(error);
                }
                note(&format!("error: {error:#}; waiting for the next change"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_noticed_once_it_is_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let dumps = DumpArgs { reference: Some(folder.path().into()), candidate: None, map: None };
        let file = folder.path().join("norm.bin");
        fs::write(&file, "1").expect("a file");
        let mut watch = Watch::of(&dumps);
        let mut looked = |change: &dyn Fn()| {
            change();
            (watch.changed(), watch.changed(), watch.changed())
        };
        assert_eq!(looked(&|| {}), (false, false, false));
        assert_eq!(looked(&|| fs::write(&file, "22").expect("written")), (false, true, false));
        assert_eq!(looked(&|| fs::remove_file(&file).expect("removed")), (false, true, false));
        assert_eq!(looked(&|| fs::write(&file, "22").expect("written")), (false, true, false));
    }
}
