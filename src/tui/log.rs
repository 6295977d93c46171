//! What was typed and what came of it: a line each, the newest last.

/// Lines kept at most.
const LONGEST: usize = 10_000;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// What it says; not yet made harmless.
    pub(crate) text: String,
    /// Whose it is.
    pub(crate) kind: Kind,
}

/// Whose a line of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What was typed.
    Command,
    /// What came of it.
    Answer,
    /// What went wrong.
    Error,
}

/// The log.
#[derive(Debug, Default)]
pub(crate) struct Log {
    entries: Vec<Entry>,
    /// Index of the first line of the last answer.
    last: usize,
    /// Lines scrolled up from the end.
    pub(crate) scroll: usize,
}

impl Log {
    /// Notes a command.
    pub(crate) fn command(&mut self, line: &str) {
        self.push(line.to_string(), Kind::Command);
    }

    /// Notes what came of it.
    pub(crate) fn answer(&mut self, lines: Vec<String>, error: bool) {
        self.last = self.entries.len();
        for line in lines {
            self.push(line, if error { Kind::Error } else { Kind::Answer });
        }
    }

    fn push(&mut self, text: String, kind: Kind) {
        if self.entries.len() >= 2 * LONGEST {
            self.entries.drain(..LONGEST);
            self.last = self.last.saturating_sub(LONGEST);
        }
        self.entries.push(Entry { text, kind });
        self.scroll = 0;
    }

    /// All lines.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The last answer.
    pub(crate) fn last_answer(&self) -> &[Entry] {
        &self.entries[self.last.min(self.entries.len())..]
    }

    /// Scrolls; up by negative rows.
    pub(crate) fn scroll(&mut self, rows: isize, height: usize) {
        let most = self.entries.len().saturating_sub(height);
        self.scroll = self.scroll.saturating_add_signed(rows.saturating_neg()).min(most);
    }
}
