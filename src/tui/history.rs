//! The command lines that were typed, across runs.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// What was typed, the newest last.
#[derive(Debug, Default)]
pub(crate) struct History {
    lines: Vec<String>,
    file: Option<PathBuf>,
}

impl History {
    /// Reads the last lines of earlier runs, and adds to them. A file that cannot be read is no history; one that has
    /// grown to twice as many is cut. Without any, nothing is written.
    pub(crate) fn open(file: &Path, most: usize) -> Self {
        if most == 0 {
            return Self::default();
        }
        let text = fs::read_to_string(file).unwrap_or_default();
        let all: Vec<String> = text.lines().map(str::to_string).collect();
        let lines = all[all.len().saturating_sub(most)..].to_vec();
        if all.len() > most.saturating_mul(2) {
            drop(fs::write(file, lines.join("\n") + "\n"));
        }
        Self { lines, file: Some(file.to_path_buf()) }
    }

    /// Adds a line; the same twice in a row is one.
    pub(crate) fn push(&mut self, line: &str) {
        if self.lines.last().is_some_and(|last| last == line) {
            return;
        }
        self.lines.push(line.to_string());
        let Some(file) = &self.file else { return };
        // A history that cannot be written is no reason to disturb anybody.
        let folder = file.parent().map_or(Ok(()), fs::create_dir_all);
        let opened = folder.and_then(|()| fs::OpenOptions::new().create(true).append(true).open(file));
        drop(opened.and_then(|mut file| writeln!(file, "{line}")));
    }

    /// The line before or after the one recalled now, of those that begin with a text. After the last comes the text.
    pub(crate) fn recall<'a>(
        &'a self,
        begun: &'a str,
        now: Option<usize>,
        back: bool,
    ) -> Option<(Option<usize>, &'a str)> {
        let fits = |index: &usize| self.lines[*index].starts_with(begun);
        if back {
            let index = (0..now.unwrap_or(self.lines.len())).rev().find(fits)?;
            return Some((Some(index), &self.lines[index]));
        }
        let next = (now? + 1..self.lines.len()).find(fits);
        Some(next.map_or((None, begun), |index| (Some(index), &self.lines[index])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_recalled_by_how_they_begin_and_kept_in_a_file() {
        let file = std::env::temp_dir().join(format!("layerstep-history-{}", std::process::id()));
        let mut history = History::open(&file, 1000);
        for line in ["step 2", "break norm", "step 3", "step 3"] {
            history.push(line);
        }
        assert_eq!(history.recall("st", None, true), Some((Some(2), "step 3")));
        assert_eq!(history.recall("st", Some(2), true), Some((Some(0), "step 2")));
        assert_eq!(history.recall("st", Some(0), true), None);
        assert_eq!(history.recall("st", Some(0), false), Some((Some(2), "step 3")));
        assert_eq!(history.recall("st", Some(2), false), Some((None, "st")));
        assert_eq!(history.recall("", None, false), None);
        assert_eq!(History::open(&file, 1000).lines, ["step 2", "break norm", "step 3"]);
        assert_eq!(History::open(&file, 2).lines, ["break norm", "step 3"]);
        assert_eq!(fs::read_to_string(&file).expect("the file").lines().count(), 3, "not yet twice as long");
        assert_eq!(History::open(&file, 1).lines, ["step 3"]);
        assert_eq!(fs::read_to_string(&file).expect("the file"), "step 3\n");
        assert!(History::open(&file, 0).lines.is_empty());
        drop(fs::remove_file(file));
    }
}
