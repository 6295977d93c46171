//! The attention of one layer: one head large, all heads small, and what each of them does.

use super::{Shown, Witness};
use crate::metrics::HeadNumbers;

/// Which numbers of attention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Quantity {
    /// Probabilities: what the softmax gives.
    #[default]
    Probs,
    /// Scores: what it is given.
    Scores,
}

/// What a pane wants to show of a layer's attention.
#[derive(Clone, Debug, PartialEq)]
pub struct AttentionRequest {
    /// The layer.
    pub layer: usize,
    /// Whose values, or which difference.
    pub shown: Shown,
    /// Probabilities or scores.
    pub quantity: Quantity,
    /// The head shown large.
    pub head: usize,
    /// Position of the first row (query) of the large heatmap, and how many.
    pub queries: (usize, usize),
    /// First column (key) of the large heatmap, and how many.
    pub keys: (usize, usize),
    /// Cells of the large heatmap: rows, columns.
    pub heatmap: (usize, usize),
    /// Cells of each small one: rows, columns. None are made without cells.
    pub small: (usize, usize),
    /// Position of the query whose keys are listed.
    pub query: usize,
    /// How many of its keys.
    pub top: usize,
}

impl Default for AttentionRequest {
    /// The first head of the first layer, all of it, in no cells yet.
    fn default() -> Self {
        let all = (0, usize::MAX);
        Self {
            layer: 0,
            shown: Shown::default(),
            quantity: Quantity::default(),
            head: 0,
            queries: all,
            keys: all,
            heatmap: (0, 0),
            small: (0, 0),
            query: 0,
            top: 0,
        }
    }
}

/// The attention of one layer, as far as it has come.
///
/// Rows are queries: the tokens of this forward, and of those before it that are there. Row 0 stands at `first_position`.
/// Columns are keys, all positions so far.
/// In heatmaps -inf means that nothing is there: the mask hides every key of the cell, and nothing is in its place. A cell
/// that the mask hides and that has a number was let through. NaN means that the witness does not have the row, or has a
/// NaN.
#[derive(Clone, Debug)]
pub struct AttentionPage {
    /// `model.layers.2.self_attn.probs`
    pub name: String,
    /// The head shown large: the last one, where the request was for one beyond.
    pub head: usize,
    /// The key and value head that it reads.
    pub kv_head: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Position in the sequence of the first query.
    pub first_position: usize,
    /// Queries: of this forward, and of those before it that are there.
    pub query_count: usize,
    /// Keys: positions so far.
    pub key_count: usize,
    /// Keys further back than this are hidden in this layer.
    pub window: Option<usize>,
    /// First query of the large heatmap, and how many; cut at the edges.
    pub queries: (usize, usize),
    /// First key of the large heatmap, and how many; cut at the edges.
    pub keys: (usize, usize),
    /// The head, pooled: the value of largest magnitude of each cell.
    pub heatmap: Vec<Vec<f32>>,
    /// Queries and keys per cell.
    pub pooled: (usize, usize),
    /// Values that 98 % of what is in the large heatmap's part of the head lies between.
    pub range: (f32, f32),
    /// Every head, pooled.
    pub small: Vec<Vec<Vec<f32>>>,
    /// Queries and keys per cell of the small ones.
    pub small_pooled: (usize, usize),
    /// Values that 98 % of the cells of the small ones lie between.
    pub small_range: (f32, f32),
    /// Every head, in numbers.
    pub lines: Vec<HeadLine>,
    /// The witness that differences are taken from; `None` where no other has this.
    pub against: Option<Witness>,
    /// The row whose keys are listed: the last one, where the request was for one beyond.
    pub query: usize,
    /// Its keys: those of largest probability, or of a difference those whose probabilities lie furthest apart.
    pub top: Vec<KeyLine>,
    /// What was done to a dump's tensor to make it comparable, and what is missing.
    pub notes: Vec<String>,
}

/// One head.
#[derive(Clone, Debug)]
pub struct HeadLine {
    /// What its probabilities say, those of the first witness that is shown; `None` where it does not have them.
    pub numbers: Option<HeadNumbers>,
    /// The largest difference of what is shown from the other witness, with its row and key; `None` where there is none, or
    /// no other witness.
    pub difference: Option<(f64, (usize, usize))>,
}

/// One key of a query.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyLine {
    /// Its position in the sequence.
    pub key: usize,
    /// Its probability.
    pub probability: f64,
    /// Its score, where scores are shown.
    pub score: Option<f64>,
    /// Its probability by the other witness.
    pub against: Option<f64>,
}
