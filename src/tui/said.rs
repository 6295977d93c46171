//! What is said to the user: in the line at the bottom, in the log, and above the panes.

/// What is said to the user.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// The bottom line's message, until the next key.
    pub(crate) message: Option<Message>,
    /// What was typed and answered.
    pub(crate) log: Log,
    /// What covers the panes.
    pub(crate) overlay: Option<Overlay>,
}

/// A line for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// What it says; not yet made harmless.
    pub(crate) text: String,
    /// Whether something went wrong.
    pub(crate) error: bool,
}

/// What covers the panes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overlay {
    /// What it shows.
    pub(crate) kind: OverlayKind,
    /// First line on screen.
    pub(crate) scroll: usize,
}

/// What an overlay shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OverlayKind {
    /// Keys and signs.
    Help,
    /// The last answer of several lines.
    Output,
    /// Model, tokens, notes.
    Information,
}

impl Said {
    /// Shows a line for the user.
    pub(crate) fn say(&mut self, text: impl Into<String>) {
        self.answer(text.into(), false);
    }

    /// Shows what went wrong.
    pub(crate) fn complain(&mut self, text: impl Into<String>) {
        self.answer(text.into(), true);
    }

    fn answer(&mut self, text: String, error: bool) {
        self.log.answer(vec![text.clone()], error);
        self.message = Some(Message { text, error });
    }

    /// Says why nothing was done. The log keeps what commands have answered, and this is no answer: it is not recorded.
    pub(crate) fn refuse(&mut self, text: impl Into<String>) {
        self.message = Some(Message { text: text.into(), error: true });
    }

    /// Says something that the log does not keep.
    pub(crate) fn mention(&mut self, text: String) {
        self.message = Some(Message { text, error: false });
    }

    /// Shows a line, or several above everything until they are closed.
    pub(crate) fn tell(&mut self, lines: Vec<String>) {
        if let [line] = &lines[..] {
            return self.say(line.clone());
        }
        self.cover(OverlayKind::Output);
        self.log.answer(lines, false);
    }

    /// Covers the panes.
    pub(crate) fn cover(&mut self, kind: OverlayKind) {
        self.overlay = Some(Overlay { kind, scroll: 0 });
    }
}

/// Lines kept at most.
const LONGEST: usize = 10_000;

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
    /// Each line, not yet made harmless.
    pub(crate) entries: Vec<(Kind, String)>,
    /// Index of the first line of the last answer.
    pub(crate) last: usize,
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
        self.entries.push((kind, text));
        self.scroll = 0;
    }

    /// Scrolls; up by negative rows.
    pub(crate) fn scroll(&mut self, rows: isize, height: usize) {
        let most = self.entries.len().saturating_sub(height);
        self.scroll = self.scroll.saturating_add_signed(rows.saturating_neg()).min(most);
    }
}
