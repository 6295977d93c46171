//! A recorded session, as a front end plays it.

/// One line of a recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// A command of the debugger or of the screen, as it was typed; or a comment, which begins with `#`.
    pub line: String,
    /// What was answered.
    pub answers: Vec<String>,
    /// Whether the answer says that something went wrong.
    pub error: bool,
}

/// A recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// Its name.
    pub title: String,
    /// Where its values come from: `recorded values: the weights are not here`.
    pub source: String,
    /// Columns and rows of the screen it was made on.
    pub size: Option<(u16, u16)>,
    /// Its lines, in order.
    pub lines: Vec<Recorded>,
}
