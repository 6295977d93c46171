//! What the axes of an activation count.

/// One axis of an activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Axis {
    /// The name shown beside it.
    pub name: &'static str,
    /// What it counts.
    pub counts: Counts,
}

/// What an axis counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counts {
    /// Rows of the current forward: tokens, or queries.
    Rows,
    /// The sequence, as one row: what pooling gives.
    Sequence,
    /// All positions so far, as keys.
    Keys,
    /// Heads.
    Heads(usize),
    /// Heads side by side.
    Joined {
        /// How many.
        heads: usize,
        /// How wide each is.
        width: usize,
    },
    /// Anything else: channels, token ids, experts.
    Channels(usize),
}

impl Axis {
    /// An axis of rows.
    pub const TOKEN: Self = Self { name: "token", counts: Counts::Rows };
    /// The name of an axis of token ids.
    pub const VOCABULARY: &str = "vocab";
    /// The rows of a pattern.
    pub const QUERY: Self = Self { name: "query", counts: Counts::Rows };
    /// One row for all tokens.
    pub const SEQUENCE: Self = Self { name: "sequence", counts: Counts::Sequence };
    /// The columns of a pattern.
    pub const KEY: Self = Self { name: "key", counts: Counts::Keys };

    /// So many channels.
    pub fn channels(name: &'static str, length: usize) -> Self {
        Self { name, counts: Counts::Channels(length) }
    }

    /// So many heads.
    pub fn heads(name: &'static str, count: usize) -> Self {
        Self { name, counts: Counts::Heads(count) }
    }

    /// So many heads side by side.
    pub fn joined(name: &'static str, heads: usize, width: usize) -> Self {
        Self { name, counts: Counts::Joined { heads, width } }
    }

    /// Whether it counts the rows of a forward, or is the only one.
    pub fn is_row(self) -> bool {
        matches!(self.counts, Counts::Rows | Counts::Sequence)
    }

    /// Its length in a forward of `tokens` rows that sees `keys` positions.
    pub fn length(self, tokens: usize, keys: usize) -> usize {
        match self.counts {
            Counts::Rows => tokens,
            Counts::Sequence => 1,
            Counts::Keys => keys,
            Counts::Heads(length) | Counts::Channels(length) => length,
            Counts::Joined { heads, width } => heads * width,
        }
    }
}
