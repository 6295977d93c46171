//! Commands that only a screen obeys: what is shown, where, and how much of it. Scripts may hold them; without a screen
//! they do nothing.

use super::{Key, Setting};

/// What only a screen does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScreenCommand {
    /// Moves the selection, or scrolls.
    Scroll(Direction, Extent, usize),
    /// Does what the selected line is for.
    Enter,
    /// Gives the keys to the next pane, or the one before.
    Focus(Count),
    /// Gives the keys to this pane.
    FocusOn(Pane),
    /// Moves within a pane that need not have the keys.
    ScrollPane(Pane, Direction, usize),
    /// Shows a pane, or goes to it.
    Pane(Pane),
    /// Arranges the panes; without a name, the next way.
    Layout(Option<Layout>),
    /// Shows one pane alone, or all again.
    Zoom,
    /// Makes the pane that has the keys wider or narrower.
    Resize(isize),
    /// Shows another head.
    Head(Count),
    /// Looks at another layer.
    Layer(Count),
    /// Chooses another token: the query of the attention pane, the position of the lens.
    Token(Count),
    /// Whose values are shown.
    Show(Whose),
    /// Shows a slice of the tensor: where it begins on each axis.
    Slice(Vec<Option<usize>>),
    /// Magnifies the heatmaps so many times.
    Magnify(Count),
    /// The token that the lens follows: an id, or the text of a token; the likeliest one without.
    Follow(Option<String>),
    /// Changes a setting.
    Set(Setting),
    /// Searches the program.
    Search(Option<String>),
    /// Selects an op without going there, or the head of a layer: `layer 2`.
    Select(String),
    /// Opens the command line with a text in it.
    Prompt(String),
    /// Plays the recording, or pauses.
    Play,
    /// Plays it faster or slower.
    Speed(Speed),
    /// Goes to a place of the recording, forwards or backwards.
    Seek(Place),
    /// Leaves the recording: what follows is the user's own.
    Live,
    /// Model, tokens and notes.
    Information,
    /// Closes what is open.
    Escape,
    /// Stops what runs; else leaves.
    Interrupt,
    /// Gives the terminal back until the shell continues us.
    Suspend,
}

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Towards the end.
    Down,
    /// Towards the start.
    Up,
    /// Towards the first column.
    Left,
    /// Towards the last column.
    Right,
}

impl Direction {
    /// So far down and to the right.
    pub fn rows_and_columns(self, by: isize) -> (isize, isize) {
        match self {
            Self::Down => (by, 0),
            Self::Up => (by.saturating_neg(), 0),
            Self::Right => (0, by),
            Self::Left => (0, by.saturating_neg()),
        }
    }
}

/// How far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// A line or column.
    Line,
    /// What fits the pane.
    Page,
    /// To the end.
    End,
}

/// Which of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// This one.
    To(usize),
    /// This many further; back if negative.
    On(isize),
}

impl Count {
    /// The index that is meant, from `now`, of so many; the last at most.
    pub fn of(self, now: usize, count: usize) -> usize {
        let index = match self {
            Self::To(index) => index,
            Self::On(by) => now.saturating_add_signed(by),
        };
        index.min(count.saturating_sub(1))
    }
}

/// A place of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// After so many lines; or so many lines on, or back.
    Line(Count),
    /// After the last one.
    End,
    /// At a mark, by its text or the beginning of it.
    Mark(String),
    /// So many marks on, or back.
    Marks(isize),
}

/// How fast a recording is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speed {
    /// So many hundredths of the usual speed.
    Hundredths(u32),
    /// Twice so many times.
    Doubled(i32),
}

/// Whose values are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Our own.
    Engine,
    /// `PyTorch`'s.
    Reference,
    /// The user's engine's.
    Candidate,
    /// How far one is from the other.
    Difference,
    /// How many times one is the other.
    Ratio,
    /// The next of these, or the one before.
    On(isize),
}

/// A pane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Pane {
    /// The ops, in order.
    #[default]
    Program,
    /// The selected activation.
    Tensor,
    /// How the selected activation is distributed.
    Histogram,
    /// Attention patterns.
    Attention,
    /// Errors over layers and ops.
    Divergence,
    /// What each layer would say next.
    Lens,
    /// Keys and values kept.
    Cache,
    /// Which experts tokens are given.
    Experts,
    /// What is fed.
    Tokens,
    /// Why an op is wrong.
    Diagnosis,
    /// What was typed and answered.
    Log,
    /// Errors over the layers, small.
    Curve,
}

impl Pane {
    /// The panes that have a name.
    pub const NAMED: &[(&'static str, Self)] = &[
        ("program", Self::Program),
        ("tensor", Self::Tensor),
        ("histogram", Self::Histogram),
        ("attention", Self::Attention),
        ("divergence", Self::Divergence),
        ("lens", Self::Lens),
        ("cache", Self::Cache),
        ("experts", Self::Experts),
        ("tokens", Self::Tokens),
        ("diagnosis", Self::Diagnosis),
        ("log", Self::Log),
    ];

    /// Those that a command shows: the diagnosis comes by itself.
    pub(super) const SHOWN: &[&'static str] =
        &["program", "tensor", "histogram", "attention", "divergence", "lens", "cache", "experts", "tokens", "log"];

    /// What help says of them.
    pub(super) const DOC: &str = "Show a pane in the large place, or the tensor again: program, tensor, histogram, attention, divergence, lens, cache, experts, tokens, log.";

    /// Their keys, in the order of the hints.
    #[rustfmt::skip]
    pub(super) const KEYS: &[Key] = &[
        shows("e", "pane divergence", "errors"), shows("a", "pane attention", "attention"), shows("L", "pane lens", "lens"),
        shows("K", "pane cache", ""), shows("H", "pane histogram", ""), shows("o", "pane tokens", ""), shows("m", "pane log", ""), shows("O", "pane experts", ""),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::NAMED.iter().find(|(_, pane)| *pane == self).map_or("curve", |(name, _)| name)
    }
}

const fn shows(key: &'static str, line: &'static str, hint: &'static str) -> Key {
    Key { key, line, hint }
}

/// An arrangement of panes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Layout {
    /// Program and tensor.
    #[default]
    Stepping,
    /// Errors above the tensor.
    Comparing,
    /// Attention patterns, and what each layer would say.
    Attention,
}

impl Layout {
    /// Every one, with its name.
    pub const NAMED: &[(&'static str, Self)] =
        &[("stepping", Self::Stepping), ("comparing", Self::Comparing), ("attention", Self::Attention)];
}
