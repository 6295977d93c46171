//! A run: where we are, and what has been computed. A run is a value: it can be cloned, kept, and rewound.

mod rewind;

use std::collections::HashMap;
use std::sync::Arc;

use ndarray::{ArrayViewD, Axis, Slice};

use super::Value;
use super::activation::Activation;
use super::cache::KvCache;
use super::compute::Compute;
use super::evaluate::{Input, Span, inputs};
use super::name::Site;
use super::op::{Alteration, Step};
use super::patch::Patch;
use super::program::Program;
use super::supply::Supply;
use crate::model::Model;
use crate::ops::Real;

/// For which rows logits are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogitRows {
    /// Every token of the forward, as PyTorch's `forward` does.
    All,
    /// The last token only: all that generation needs.
    Last,
}

/// One forward after another over a growing sequence: the first is the prefill, the others are decode steps.
/// It computes in f32; `Run<f64>` is the oracle.
#[derive(Clone, Debug)]
pub struct Run<T = f32> {
    model: Arc<Model>,
    program: Arc<Program>,
    logit_rows: LogitRows,
    compute: Compute,
    ids: Vec<u32>,
    /// Where each forward starts in `ids`; the last one is current.
    starts: Vec<usize>,
    /// The next op of the current forward.
    counter: usize,
    /// What is computed and not stale: the activations of the current layer, and those that no layer owns.
    slots: HashMap<Activation, Value<T>>,
    /// Those of the layer before, where they are kept: alterations may read them.
    stale: HashMap<Activation, Value<T>>,
    pub(super) keeps_stale: bool,
    /// Ops that are computed otherwise than the model says.
    pub(super) alterations: Vec<Alteration>,
    /// What is changed in the results of ops.
    pub(super) patches: Arc<[Patch]>,
    /// The residual stream at each block's entry in the current forward, and at the end: where a rewind starts.
    checkpoints: Vec<Value<T>>,
    cache: KvCache<T>,
    /// Where results come from, if they are not computed.
    pub(super) supply: Option<Arc<dyn Supply<T>>>,
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
        let c = &model.config;
        let cache = KvCache::new(c.num_hidden_layers, c.num_key_value_heads, c.head_dim);
        let program = Arc::new(Program::new(c));
        let mut run = Self {
            model,
            program,
            logit_rows,
            compute,
            ids: Vec::new(),
            starts: Vec::new(),
            counter: 0,
            slots: HashMap::new(),
            stale: HashMap::new(),
            keeps_stale: false,
            alterations: Vec::new(),
            patches: Arc::default(),
            checkpoints: Vec::new(),
            cache,
            supply: None,
        };
        run.enter_forward(ids);
        run
    }

    fn enter_forward(&mut self, ids: &[u32]) {
        let vocab = self.model.config.vocab_size;
        assert!(!ids.is_empty() && ids.iter().all(|id| (*id as usize) < vocab), "ids are checked at the door");
        self.starts.push(self.ids.len());
        self.ids.extend_from_slice(ids);
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
        match self.supplied(site) {
            Some(value) => self.put(site, value),
            None => self.leave(site, self.evaluate(site, self.compute)),
        }
        Some(site)
    }

    /// What has to happen before the op at `site`, the next one, is computed.
    pub(super) fn enter(&mut self, site: Site) {
        if site.activation == Activation::InputNorm {
            // On entering a layer the slots of the one before it are stale: only its output goes on.
            let residual = self.residual(site.layer).clone();
            let left = std::mem::take(&mut self.slots);
            if self.keeps_stale {
                // Attention patterns are large, and no port was seen to leave them behind.
                let is_kept = |activation: &Activation| !activation.row().axes.contains(&super::Axis::Key);
                self.stale = left.into_iter().filter(|(activation, _)| is_kept(activation)).collect();
            }
            self.checkpoints.push(residual);
        } else if site.activation == Activation::FinalNorm {
            self.checkpoints.push(self.slots[&Activation::Block].clone());
        }
        // The cache takes keys and values in the op that reads them, so that a patch made while stopped reaches the model.
        match site.activation {
            Activation::Scores => {
                let keys = &self.slots[&Activation::KRope];
                self.cache.append_keys(site.layer, keys.view().into_dimensionality().expect("k_rope has three axes"));
            }
            Activation::Context => {
                let values = &self.slots[&Activation::VProj];
                self.cache.append_values(site.layer, values.view().into_dimensionality().expect("v_proj has two axes"));
            }
            _ => {}
        }
    }

    /// The op at `site`, the next one, gives `value`.
    pub(super) fn leave(&mut self, site: Site, value: Value<T>) {
        self.put(site, self.patched(site, value));
    }

    fn put(&mut self, site: Site, value: Value<T>) {
        self.slots.insert(site.activation, value);
        self.counter += 1;
    }

    /// The op at `site` on what is computed now.
    pub(super) fn evaluate(&self, site: Site, compute: Compute) -> Value<T> {
        let mut step = self.op(site);
        for alteration in self.alterations.iter().filter(|alteration| alteration.sites.contains(&site)) {
            (alteration.edit)(&mut step);
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
        let first = self.first_position();
        Span { ids: &self.ids[first..], first }
    }

    /// What the op at `site` reads.
    pub(super) fn operands(&self, site: Site) -> Vec<ArrayViewD<'_, T>> {
        let read = self.read(&inputs(site, &self.model.config), site);
        read.expect("what models read is computed when it is read")
    }

    /// What an op at `site` reads that has these inputs; `None` where one is not there.
    pub(super) fn read(&self, inputs: &[Input], site: Site) -> Option<Vec<ArrayViewD<'_, T>>> {
        let mut operands = inputs.iter().map(|input| self.operand(*input)).collect::<Option<Vec<_>>>()?;
        if site.activation == Activation::LmHead && self.logit_rows == LogitRows::Last {
            operands[0].slice_axis_inplace(Axis(0), Slice::from(-1..));
        }
        Some(operands)
    }

    /// What the op computed last gives when it is computed as `compute` says; the run stays as it is.
    pub fn again(&self, compute: Compute) -> Option<Value<T>> {
        Some(self.evaluate(self.last()?, compute))
    }

    /// An input, if it is computed and still held.
    pub fn operand(&self, input: Input) -> Option<ArrayViewD<'_, T>> {
        match input {
            Input::Keys(layer) => Some(self.cache.keys(layer).into_dyn()),
            Input::Values(layer) => Some(self.cache.values(layer).into_dyn()),
            Input::Stale(site) => self.stale.get(&site.activation).map(|value| value.view()),
            Input::Site(site) => match site.activation {
                Activation::EmbedTokens => self.checkpoints.first().map(|value| value.view()),
                Activation::Block => self.checkpoints.get(site.layer + 1).map(|value| value.view()),
                activation => self.slots.get(&activation).map(|value| value.view()),
            },
        }
    }

    /// The residual stream that enters `layer`, at the moment of entering it.
    fn residual(&self, layer: usize) -> &Value<T> {
        &self.slots[&if layer == 0 { Activation::EmbedTokens } else { Activation::Block }]
    }

    /// Runs the current forward to its end.
    pub fn finish_forward(&mut self) {
        while self.step().is_some() {}
    }

    /// Forgets the activations of the current layer, but for the residual stream.
    pub fn leave_layer(&mut self) {
        self.slots.retain(|activation, _| !activation.row().per_layer || *activation == Activation::Block);
        self.stale.clear();
    }

    /// The op that `step` computes next.
    pub fn next(&self) -> Option<Site> {
        self.program.sites().get(self.counter).copied()
    }

    /// The op computed last.
    pub fn last(&self) -> Option<Site> {
        self.counter.checked_sub(1).map(|last| self.program.sites()[last])
    }

    /// Number of ops of the current forward that have been computed.
    pub fn counter(&self) -> usize {
        self.counter
    }

    /// Whether the current forward has reached its end.
    pub fn is_complete(&self) -> bool {
        self.counter == self.program.sites().len()
    }

    /// An activation of the current forward, if it is computed and still held: those of the layer being computed,
    /// those that no layer owns, and the residual stream at every block's entry.
    pub fn get(&self, site: Site) -> Option<&Value<T>> {
        self.slot(site).or_else(|| match site.activation {
            Activation::EmbedTokens => self.checkpoints.first(),
            Activation::Block => self.checkpoints.get(site.layer + 1),
            _ => None,
        })
    }

    /// The slot of `site`, unless it is stale.
    fn slot(&self, site: Site) -> Option<&Value<T>> {
        let current = self.last().and_then(Site::in_layer).or_else(|| self.layer_before_the_end());
        self.slots.get(&site.activation).filter(|_| site.in_layer().is_none() || site.in_layer() == current)
    }

    fn layer_before_the_end(&self) -> Option<usize> {
        (self.counter > 1).then(|| self.program.layers() - 1)
    }

    /// Puts `value` in the place of a computed activation: the ops that follow read it. Returns false, and changes
    /// nothing, when the activation is not computed, when its layer has been left, or when it has another shape.
    #[must_use]
    pub fn set(&mut self, site: Site, value: Value<T>) -> bool {
        match self.slot(site) {
            Some(old) if old.shape() == value.shape() => {
                self.slots.insert(site.activation, value);
                true
            }
            _ => false,
        }
    }

    /// The logits of the last token, once the forward is complete.
    pub fn last_logits(&self) -> Option<ndarray::ArrayView1<'_, T>> {
        let logits = self.slots.get(&Activation::LmHead)?;
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

    /// The program of each forward.
    pub fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// Every id fed so far, those of the current forward included.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// The ids fed to the current forward.
    pub fn forward_ids(&self) -> &[u32] {
        &self.ids[self.first_position()..]
    }

    /// Index of the current forward: 0 is the prefill.
    pub fn forward(&self) -> usize {
        self.starts.len() - 1
    }

    /// Position of the current forward's first token.
    pub fn first_position(&self) -> usize {
        self.starts[self.starts.len() - 1]
    }

    /// Puts the channels of the keys that a layer keeps in another order, of each head alike.
    pub fn reorder_cached_keys(&mut self, layer: usize, order: &[usize]) {
        self.cache.reorder_keys(layer, order);
    }

    /// The keys and values kept so far.
    pub fn cache(&self) -> &KvCache<T> {
        &self.cache
    }
}
