//! What is said to the user: in the line at the bottom, in the log, and above the panes.

use super::pane::Log;

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
