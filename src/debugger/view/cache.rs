//! The KV cache: what it holds, and what of it is new.

use std::ops::Range;

use super::Witness;

/// Which half of the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Half {
    /// Rotated keys: `k_rope`.
    #[default]
    Keys,
    /// Values: `v_proj`.
    Values,
}

/// What a pane wants to show of the cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheRequest {
    /// Keys or values.
    pub half: Half,
    /// Cells of the grid, layers by positions.
    pub cells: (usize, usize),
    /// A layer and one of its key and value heads, to see channel by channel.
    pub head: Option<(usize, usize)>,
    /// Cells of that, positions by channels.
    pub head_cells: (usize, usize),
}

/// The cache as it stands in the current forward. In grids -inf means that nothing is written there yet.
#[derive(Clone, Debug)]
pub struct CachePage {
    /// Positions that it has room for: those of earlier forwards, and the tokens of this one.
    pub positions: usize,
    /// The positions that this forward writes.
    pub new: Range<usize>,
    /// How many layers have written them, from layer 0 on.
    pub filled: usize,
    /// Key and value heads of each layer.
    pub kv_heads: usize,
    /// Channels of each head.
    pub head_dim: usize,
    /// Bytes held now, keys and values of all layers, in f32.
    pub bytes: usize,
    /// The L2 norm, over the heads and channels, of what each layer (row) holds for each position (column); pooled to the
    /// largest of each cell.
    pub grid: Vec<Vec<f32>>,
    /// Layers and positions per cell.
    pub pooled: (usize, usize),
    /// Norms that 98 % of the cells lie between.
    pub range: (f32, f32),
    /// Every layer.
    pub layers: Vec<CacheLayer>,
    /// The dump that what is new is compared with; `None` without a dump.
    pub against: Option<Witness>,
    /// The head asked for; `None` where there is no such layer.
    pub head: Option<CacheHead>,
}

/// The cache of one layer.
#[derive(Clone, Debug, PartialEq)]
pub struct CacheLayer {
    /// Positions that it holds.
    pub positions: usize,
    /// Keys further back than this are hidden in this layer.
    pub window: Option<usize>,
    /// Relative L2 error of what this forward has written, against the dump; `None` where nothing is written yet, or the
    /// dump does not have it.
    pub error: Option<f64>,
}

/// One head of the cache.
#[derive(Clone, Debug)]
pub struct CacheHead {
    /// Its layer.
    pub layer: usize,
    /// Which: the last one, where the request was for one beyond.
    pub kv_head: usize,
    /// The query heads that read it.
    pub readers: Range<usize>,
    /// Positions by channels, pooled to the value of largest magnitude of each cell.
    pub grid: Vec<Vec<f32>>,
    /// Positions and channels per cell.
    pub pooled: (usize, usize),
    /// Values that 98 % of the head's lie between.
    pub range: (f32, f32),
}
