//! A run: where we are, and what has been computed. A run is a value: it can be cloned, kept, and rewound.

mod change;
mod rewind;

use std::collections::BTreeMap;
use std::sync::Arc;

use ndarray::{ArrayViewD, Axis, IxDyn, Slice};

use super::Value;
use super::cache::Cache;
use super::compute::Compute;
use super::edit::{Alteration, Edit};
use super::patch::Patch;
use super::sequence::Sequence;
use super::step::{Span, Step};
use crate::model::Model;
use crate::model::graph::{Graph, Node, Read, Site};
use crate::ops::Real;

/// For which rows logits are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogitRows {
    /// Every token of the forward, as PyTorch's `forward` does.
    All,
    /// The last token only: all that generation needs.
    Last,
}

/// What goes on from one layer to the next: where a rewind starts.
#[derive(Clone, Debug)]
struct Checkpoint<T> {
    /// Ops that were computed.
    counter: usize,
    /// What was computed before and is read behind it: of most models, the residual stream.
    live: Vec<(Site, Value<T>)>,
}

/// One forward after another over a growing sequence: the first is the prefill, the others are decode steps.
/// It computes in f32; `Run<f64>` is the oracle.
#[derive(Clone, Debug)]
pub struct Run<T = f32> {
    model: Arc<Model>,
    logit_rows: LogitRows,
    compute: Compute,
    /// What was fed; the last forward is current.
    fed: Sequence,
    /// The next op of the current forward.
    counter: usize,
    /// What is computed and not stale: the activations of the current layer, and those that no layer owns.
    slots: BTreeMap<Site, Value<T>>,
    /// Those of the layer before, where they are kept: alterations may read them.
    stale: BTreeMap<Site, Value<T>>,
    pub(super) keeps_stale: bool,
    /// Ops that are computed otherwise than the model says.
    pub(super) alterations: Vec<Alteration>,
    /// What is changed in the results of ops.
    pub(super) patches: Arc<[Patch]>,
    /// One at each block's entry in the current forward, and one at the end of the last.
    checkpoints: Vec<Checkpoint<T>>,
    cache: Cache<T>,
}

/// `[position, head, channel]` of what a node with heads gives.
fn by_position<'a, T>(node: &Node, values: ArrayViewD<'a, T>) -> Option<ArrayViewD<'a, T>> {
    let (heads, width) = node.heads()?;
    match values.ndim() {
        2 => {
            let tokens = values.len_of(Axis(0));
            values.into_shape_with_order(IxDyn(&[tokens, heads, width])).ok()
        }
        _ => Some(values.permuted_axes(IxDyn(&[1, 0, 2]))),
    }
}

impl Run {
    /// A run in f32 that stands before the first op of the prefill of `ids`.
    ///
    /// # Panics
    /// When `ids` is empty or holds an id outside the vocabulary: callers check what users type.
    pub fn new(model: Arc<Model>, ids: &[u32], logit_rows: LogitRows) -> Self {
        Self::with_compute(model, ids, logit_rows, Compute::default())
    }
}

impl<T: Real> Run<T> {
    /// A run in `T` that computes as `compute` says and stands before the first op of the prefill of `ids`.
    ///
    /// # Panics
    /// As [`Run::new`].
    pub fn with_compute(model: Arc<Model>, ids: &[u32], logit_rows: LogitRows, compute: Compute) -> Self {
        let cache = Cache::new(&model.graph);
        let mut run = Self {
            model,
            logit_rows,
            compute,
            fed: Sequence::default(),
            counter: 0,
            slots: BTreeMap::new(),
            stale: BTreeMap::new(),
            keeps_stale: false,
            alterations: Vec::new(),
            patches: Arc::default(),
            checkpoints: Vec::new(),
            cache,
        };
        run.enter_forward(ids);
        run
    }

    fn enter_forward(&mut self, ids: &[u32]) {
        let vocab = self.model.spec.vocab;
        assert!(!ids.is_empty() && ids.iter().all(|id| (*id as usize) < vocab), "ids are checked at the door");
        self.fed.push(ids);
        self.restart_forward();
    }

    fn restart_forward(&mut self) {
        self.counter = 0;
        self.slots.clear();
        self.stale.clear();
        self.checkpoints.clear();
    }

    /// Begins a decode step that feeds `ids` (usually one). The current forward must be complete.
    ///
    /// # Panics
    /// When the current forward is not complete, or an id lies outside the vocabulary.
    pub fn begin_forward(&mut self, ids: &[u32]) {
        assert!(self.is_complete(), "a forward begins when the one before it is complete");
        self.enter_forward(ids);
    }

    /// Computes the next activation of the current forward; `None` when it is complete.
    pub fn step(&mut self) -> Option<Site> {
        let site = self.next()?;
        self.enter(site);
        self.leave(site, self.evaluate(site, self.compute));
        Some(site)
    }

    /// What has to happen before the op at `site`, the next one, is computed.
    pub(super) fn enter(&mut self, site: Site) {
        let model = Arc::clone(&self.model);
        let (graph, index) = (&model.graph, site.index());
        let starts = graph.starts_layer(index).is_some();
        if starts || graph.tail() == Some(index) {
            let live = graph.live(index).filter_map(|live| Some((live, self.get(live)?.clone())));
            self.checkpoints.push(Checkpoint { counter: index, live: live.collect() });
        }
        if starts {
            // On entering a layer the slots of the one before it are stale: only what is read behind them goes on.
            let left = std::mem::take(&mut self.slots);
            if self.keeps_stale {
                // Attention patterns are large, and no port was seen to leave them behind.
                self.stale = left.into_iter().filter(|(left, _)| !graph[*left].has_keys()).collect();
            }
        }
        // The cache takes keys and values in the op that reads them, so that a patch made while stopped reaches the model.
        for read in &graph[site].reads {
            if let Read::Past(kept) = *read
                && graph.first_past_reader(kept) == Some(index)
            {
                let value = self.get(kept).expect("what the cache keeps is computed when it is first read").clone();
                self.cache.append(kept, value.view());
            }
        }
    }

    /// The op at `site`, the next one, gives `value`.
    pub(super) fn leave(&mut self, site: Site, value: Value<T>) {
        self.put(site, self.patched(site, value));
    }

    fn put(&mut self, site: Site, value: Value<T>) {
        if self.cache.beside().contains(&site) {
            self.cache.append(site, value.view());
        }
        self.slots.insert(site, value);
        self.counter += 1;
    }

    /// The op at `site` on what is computed now.
    pub(super) fn evaluate(&self, site: Site, compute: Compute) -> Value<T> {
        let mut step = self.op(site);
        let here = |alteration: &&Alteration| alteration.sites.contains(&site);
        let edits: Vec<&Edit> = self.alterations.iter().filter(here).map(|alteration| &alteration.edit).collect();
        for (index, edit) in edits.iter().enumerate().filter(|(index, edit)| !edits[..*index].contains(edit)) {
            let before = (index > 0).then(|| step.clone());
            if let Err(missed) = edit.apply(&mut step) {
                // The edits before it may have left nothing of what it changes.
                let alone = edit.check(&self.model, site);
                assert!(alone.is_ok(), "an alteration is checked before it is switched on: {missed}");
                step = before.unwrap_or_else(|| self.op(site));
            }
        }
        let value = self.apply(&step, compute).or_else(|| self.apply(&self.op(site), compute));
        value.expect("what models read is computed when it is read")
    }

    /// The op at `site` as the model says.
    pub(super) fn op(&self, site: Site) -> Step<'_> {
        Step::of(&self.model, site, self.span())
    }

    /// The tokens of the current forward.
    pub(super) fn span(&self) -> Span<'_> {
        self.fed.span(self.forward())
    }

    /// What the op at `site` reads.
    pub(super) fn operands(&self, site: Site) -> Vec<ArrayViewD<'_, T>> {
        let read = self.read(&self.graph()[site].reads, site);
        read.expect("what models read is computed when it is read")
    }

    /// What an op at `site` reads that has these inputs; `None` where one is not there.
    pub(super) fn read(&self, reads: &[Read], site: Site) -> Option<Vec<ArrayViewD<'_, T>>> {
        let mut operands = reads.iter().map(|read| self.operand(*read)).collect::<Option<Vec<_>>>()?;
        if self.logit_rows == LogitRows::Last && self.graph().is_head(site) {
            operands[0].slice_axis_inplace(Axis(0), Slice::from(-1..));
        }
        Some(operands)
    }

    /// What the op computed last gives when it is computed as `compute` says; the run stays as it is.
    pub fn again(&self, compute: Compute) -> Option<Value<T>> {
        Some(self.evaluate(self.last()?, compute))
    }

    /// What an op reads, if it is computed and still held.
    pub fn operand(&self, read: Read) -> Option<ArrayViewD<'_, T>> {
        match read {
            Read::Past(site) => self.cache.rows(site).map(ndarray::ArrayBase::into_dyn),
            Read::Whole(site) => by_position(&self.graph()[site], self.get(site)?.view()),
            Read::Stale(site) => self.stale.get(&site).map(|value| value.view()),
            Read::Earlier(site, from) => self.earlier(site, from),
            Read::Node(site) => self.get(site).map(|value| value.view()),
        }
    }

    /// The rows that a node has given from a position on, as many as the forward has, in the shape of its own.
    fn earlier(&self, site: Site, from: usize) -> Option<ArrayViewD<'_, T>> {
        let (kept, tokens) = (self.cache.rows(site)?, self.span().ids.len());
        if from + tokens > kept.len_of(Axis(0)) {
            return None;
        }
        let rows = kept.slice_axis_move(Axis(0), Slice::from(from..from + tokens));
        let node = &self.graph()[site];
        match node.axes.len() {
            2 => Some(rows.into_shape_with_order((tokens, node.axes[1].length(0, 0))).ok()?.into_dyn()),
            3 if node.row_axis() == 1 => Some(rows.permuted_axes([1, 0, 2]).into_dyn()),
            _ => None,
        }
    }

    /// Runs the current forward to its end.
    pub fn finish_forward(&mut self) {
        while self.step().is_some() {}
    }

    /// Forgets the activations of the current layer, but for what is read behind it.
    pub fn leave_layer(&mut self) {
        let model = Arc::clone(&self.model);
        let live: Vec<Site> = model.graph.live(self.counter).collect();
        self.slots.retain(|site, _| model.graph[*site].layer.is_none() || live.contains(site));
        self.stale.clear();
    }

    /// Forgets what has a row for each key: such activations are large.
    pub fn leave_patterns(&mut self) {
        let model = Arc::clone(&self.model);
        self.slots.retain(|site, _| !model.graph[*site].has_keys());
        self.stale.clear();
    }

    /// The op that `step` computes next.
    pub fn next(&self) -> Option<Site> {
        self.graph().site(self.counter)
    }

    /// The op computed last.
    pub fn last(&self) -> Option<Site> {
        self.counter.checked_sub(1).and_then(|last| self.graph().site(last))
    }

    /// Number of ops of the current forward that have been computed.
    pub fn counter(&self) -> usize {
        self.counter
    }

    /// Whether the current forward has reached its end.
    pub fn is_complete(&self) -> bool {
        self.counter == self.graph().len()
    }

    /// An activation of the current forward, if it is computed and still held: those of the layer being computed,
    /// those that no layer owns, and what goes on from one layer to the next.
    pub fn get(&self, site: Site) -> Option<&Value<T>> {
        let live = |checkpoint: &Checkpoint<T>| checkpoint.live.iter().position(|(live, _)| *live == site);
        self.slots
            .get(&site)
            .or_else(|| self.checkpoints.iter().find_map(|checkpoint| Some(&checkpoint.live[live(checkpoint)?].1)))
    }

    /// Puts `value` in the place of a computed activation: the ops that follow read it. Returns false, and changes
    /// nothing, when the activation is not computed, when its layer has been left, or when it has another shape.
    #[must_use]
    pub fn set(&mut self, site: Site, value: Value<T>) -> bool {
        match self.slots.get_mut(&site) {
            Some(old) if old.shape() == value.shape() => {
                *old = value;
                true
            }
            _ => false,
        }
    }

    /// The logits of the last token, once the forward is complete; `None` of a model without a head.
    pub fn last_logits(&self) -> Option<ndarray::ArrayView1<'_, T>> {
        let logits = self.slots.get(&self.graph().logits()?)?;
        let rows = logits.view().into_dimensionality::<ndarray::Ix2>().expect("logits have two axes");
        Some(rows.index_axis_move(Axis(0), logits.len_of(Axis(0)) - 1))
    }

    /// For which rows the logits that follow are computed.
    pub fn set_logit_rows(&mut self, rows: LogitRows) {
        self.logit_rows = rows;
    }

    /// How the ops that follow are computed.
    pub fn set_compute(&mut self, compute: Compute) {
        self.compute = compute;
    }

    /// How the ops that follow are computed.
    pub fn compute(&self) -> Compute {
        self.compute
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The ops of each forward.
    pub fn graph(&self) -> &Graph {
        &self.model.graph
    }

    /// Every id fed so far, those of the current forward included.
    pub fn ids(&self) -> &[u32] {
        self.fed.ids()
    }

    /// The ids fed to the current forward.
    pub fn forward_ids(&self) -> &[u32] {
        self.span().ids
    }

    /// Index of the current forward: 0 is the prefill.
    pub fn forward(&self) -> usize {
        self.fed.forwards() - 1
    }

    /// Position of the current forward's first token.
    pub fn first_position(&self) -> usize {
        self.span().first
    }

    /// Puts the channels of what the cache keeps of a node in another order, of each head alike.
    pub fn reorder_cached(&mut self, site: Site, order: &[usize]) {
        self.cache.reorder(site, order);
    }

    /// What is kept of the forwards so far.
    pub fn cache(&self) -> &Cache<T> {
        &self.cache
    }
}
