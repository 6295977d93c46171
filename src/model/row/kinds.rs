//! What layers of one kind have of their own, and what layers give each other: Gemma 4.

/// What layers without a window have of their own.
#[derive(Clone, Copy, Debug)]
pub struct GlobalRow {
    /// The key of the width of their heads, and its default.
    pub head_dim: (&'static str, usize),
    /// The key that says that their values are their keys before the norm.
    pub values_are_keys: &'static str,
    /// The key of the number of their key heads, where that is so.
    pub key_heads: &'static str,
}

/// Layers that read the keys and values of others.
#[derive(Clone, Copy, Debug)]
pub struct SharingRow {
    /// The key of how many there are: the last.
    pub layers: &'static str,
    /// The key that says that their MLP is twice as wide.
    pub wide: &'static str,
}

/// Inputs of each layer, beside the stream.
#[derive(Clone, Copy, Debug)]
pub struct PerLayerRow {
    /// The key of their width, and its default; 0 is none.
    pub width: (&'static str, usize),
    /// The key of the rows of their table, and its default.
    pub vocab: (&'static str, usize),
}
