//! What pages were made of, kept for the next one: a screen asks for the same tensor again with every key.
//!
//! Pages are made from `&self`, so what is kept changes behind a `RefCell`: one thread owns a debugger, and a debugger with
//! a `RefCell` can still be sent to it. Nothing is ever invalidated: a key holds what the value was made from.

use std::cell::RefCell;
use std::sync::Arc;

use super::view::{ComparisonLine, Witness};
use crate::dump::Dump;
use crate::engine::{Site, Value};
use crate::metrics::{Channel, HeadNumbers, Histogram, Softmax, Summary};
use crate::model::Model;

/// What a tensor of a witness is made from. Two are equal when they are the same things, not when they look alike; a key
/// keeps its things alive, so that nothing else can take their place in memory. One that is not settled equals nothing, not
/// even itself.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) forward: usize,
    pub(super) site: Site,
    pub(super) witness: Witness,
    pub(super) dump: Option<Arc<Dump>>,
    /// Our own tensor: the engine's, or the one that decides how a dump's is read.
    pub(super) ours: Option<Value>,
    /// Whether nothing that is read later can decide how it is read.
    pub(super) is_settled: bool,
    /// Whether our engine makes a mistake: masked scores are then looked for everywhere.
    pub(super) switched: bool,
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        let dump = |of: &Self| of.dump.as_ref().map(Arc::as_ptr);
        let ours = |of: &Self| of.ours.as_ref().map(|ours| (ours.as_ptr(), ours.len()));
        let plain = |of: &Self| (of.forward, of.site, of.witness, of.switched);
        let settled = self.is_settled && other.is_settled;
        settled && plain(self) == plain(other) && dump(self) == dump(other) && ours(self) == ours(other)
    }
}

/// An activation of a witness.
#[derive(Clone, Debug)]
pub(super) struct Full {
    /// NaN in the rows that it lacks.
    pub(super) values: Value,
    /// The rows that it has.
    pub(super) rows: Vec<usize>,
    /// What was done to it, and what it lacks.
    pub(super) notes: Vec<String>,
    pub(super) origin: Origin,
}

/// Scores or probabilities `[head, query, key]`, of this forward and of those before it that are there without a gap.
#[derive(Clone, Debug)]
pub(super) struct Queries {
    /// Rows are queries, from the first one on.
    pub(super) full: Full,
    /// The first forward.
    pub(super) from: usize,
    /// What they are made from, a part for each forward.
    pub(super) made_of: Vec<Origin>,
}

/// The last values made, by what they were made from.
#[derive(Debug)]
pub(super) struct Memo<K, V> {
    limit: usize,
    made: RefCell<Vec<(K, V)>>,
}

impl<K: PartialEq, V: Clone> Memo<K, V> {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, made: RefCell::default() }
    }

    /// The value of `key`, if it is kept; it is then the last to be forgotten.
    pub(super) fn get(&self, key: &K) -> Option<V> {
        let mut made = self.made.borrow_mut();
        let place = made.iter().position(|(known, _)| known == key)?;
        let found = made.remove(place);
        let value = found.1.clone();
        made.push(found);
        Some(value)
    }

    /// Keeps a value, unless its key could never be found again.
    #[expect(clippy::eq_op, reason = "keys need not equal themselves")]
    pub(super) fn keep(&self, key: K, value: V) {
        if key != key {
            return;
        }
        let mut made = self.made.borrow_mut();
        made.retain(|(known, _)| *known != key);
        let surplus = (made.len() + 1).saturating_sub(self.limit);
        made.drain(..surplus);
        made.push((key, value));
    }

    /// The value of `key`, made if need be.
    pub(super) fn get_or(&self, key: K, make: impl FnOnce() -> V) -> V {
        self.get(&key).unwrap_or_else(|| {
            let value = make();
            self.keep(key, value.clone());
            value
        })
    }
}

/// The tensor of one witness, or the difference of two.
pub(super) type Pair = (Origin, Option<Origin>);

/// The patterns of one witness, or those of two: a part of each for each forward.
pub(super) type Parts = (Vec<Origin>, Vec<Origin>);

/// Elements per cell, and the cells of each head.
pub(super) type SmallMaps = Arc<((usize, usize), Vec<Vec<Vec<f32>>>)>;

/// The largest difference of each head, and at which query and key.
pub(super) type Differences = Arc<Vec<Option<(f64, (usize, usize))>>>;

/// A histogram, the loudest channels, and the magnitude of the median channel.
pub(super) type Counted = Arc<(Histogram, (Vec<Channel>, f64))>;

/// What the head makes of one row of the residual stream.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) logits: Vec<f32>,
    pub(super) softmax: Softmax,
}

/// Bytes of the logits that are kept.
const LENS_BYTES: usize = 128 << 20;

/// All that is kept.
#[derive(Debug)]
pub(super) struct Memos {
    /// Tensors read from dumps.
    pub(super) tensors: Memo<Origin, Full>,
    /// Of tensor pages.
    pub(super) summaries: Memo<Pair, Summary>,
    /// By the tensors of all witnesses.
    pub(super) comparisons: Memo<Vec<Origin>, Vec<ComparisonLine>>,
    /// Of probabilities, head by head.
    pub(super) heads: Memo<Vec<Origin>, Arc<Vec<HeadNumbers>>>,
    pub(super) differences: Memo<Parts, Differences>,
    pub(super) small_maps: Memo<(Parts, (usize, usize)), SmallMaps>,
    /// Patterns of several forwards.
    pub(super) queries: Memo<Vec<Origin>, Queries>,
    /// Of what was written to the cache.
    pub(super) errors: Memo<Pair, f64>,
    /// By plane, bins and channels.
    pub(super) histograms: Memo<(Pair, Option<usize>, usize, usize), Counted>,
    /// By the token's row.
    pub(super) lens: Memo<(Origin, usize), Arc<Reading>>,
}

impl Memos {
    /// Room for what a model of this size needs: of the lens at least one page with two witnesses.
    pub(super) fn new(model: &Model) -> Self {
        let layers = model.graph.layers();
        let page = 2 * (2 * layers + 2);
        let lens = (LENS_BYTES / (model.spec.vocab.max(1) * size_of::<f32>())).max(page);
        Self {
            errors: Memo::new(4 * layers),
            histograms: Memo::new(8),
            lens: Memo::new(lens),
            tensors: Memo::new(4),
            summaries: Memo::new(8),
            comparisons: Memo::new(8),
            heads: Memo::new(8),
            differences: Memo::new(8),
            small_maps: Memo::new(4),
            queries: Memo::new(4),
        }
    }
}
