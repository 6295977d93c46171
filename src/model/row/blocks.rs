//! Blocks of one part each, as a family has them.

/// Where it stands which part each block has.
#[derive(Clone, Copy, Debug)]
pub struct BlocksRow {
    /// Keys of a list of words, the first that is there.
    pub lists: &'static [&'static str],
    /// The key of a text with a letter for each block, which is read where there is no list.
    pub pattern: &'static str,
    /// Words and letters, and what they mean.
    pub words: &'static [(&'static str, char, BlockPart)],
    /// The letters where there is neither.
    pub default: &'static str,
}

/// The part of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockPart {
    /// What stands in the place of attention in other families.
    Mixer,
    /// Attention.
    Attention,
    /// An MLP.
    Mlp,
    /// Experts.
    Experts,
}

impl BlocksRow {
    pub(super) fn reads(&self, key: &str) -> bool {
        self.lists.contains(&key) || self.pattern == key
    }
}
