//! What a run does otherwise than the model says: ops that are altered, values that are patched, and results that are
//! supplied, not computed: a recorded forward pass is gone through without its weights.

use std::sync::Arc;

use ndarray::{ArrayD, ArrayViewD};

use super::Run;
use crate::engine::Value;
use crate::engine::compute::Compute;
use crate::engine::edit::{Alteration, Edit};
use crate::engine::patch::{Feed, Patch};
use crate::engine::step::Step;
use crate::model::graph::{Read, Site};
use crate::ops::Real;

impl<T: Real> Run<T> {
    /// The op computed last, with a change to it: for [`Run::apply`]. `None` where that hits nothing.
    pub fn altered(&self, edit: &Edit) -> Option<Step<'_>> {
        let mut step = self.op(self.last()?);
        edit.apply(&mut step).ok()?;
        Some(step)
    }

    /// What an op gives on what is computed now; `None` where it reads what is not there. The run stays as it is.
    pub fn apply(&self, step: &Step, compute: Compute) -> Option<Value<T>> {
        let operands = self.read(&step.reads, step.site)?;
        Some(step.apply(&operands, compute))
    }

    /// Ops of some sites are computed otherwise from here on. An alteration that reads what is not there (an earlier layer
    /// of the first) leaves the op as it is; one that hits nothing is a mistake of the program, which stops at that op:
    /// [`Edit::check`] tells before.
    pub fn alter(&mut self, alterations: Vec<Alteration>) {
        self.keep_stale();
        let model = Arc::clone(&self.model);
        for site in alterations.iter().flat_map(|alteration| alteration.edit.earlier()) {
            self.cache.keep(site, &model.graph);
        }
        self.alterations = alterations;
    }

    /// Keeps what a layer leaves behind until the next one is left, for [`Read::Stale`].
    pub fn keep_stale(&mut self) {
        self.keeps_stale = true;
    }

    /// Puts what a node has given at every position so far where [`Read::Earlier`] finds it.
    pub fn remember(&mut self, site: Site, value: ArrayViewD<T>) {
        let model = Arc::clone(&self.model);
        self.cache.keep(site, &model.graph);
        self.cache.truncate(site, 0);
        self.cache.append(site, value);
    }

    /// Whether some ops are computed otherwise than the model says.
    pub fn is_altered(&self) -> bool {
        !self.alterations.is_empty()
    }

    /// The patches of the ops that follow, in the order in which they are made; those before are forgotten. What is
    /// computed already stays: to patch it, go back first.
    pub fn patch(&mut self, patches: impl Into<Arc<[Patch]>>) {
        self.patches = patches.into();
    }

    /// The patches of the ops that follow.
    pub fn patches(&self) -> &Arc<[Patch]> {
        &self.patches
    }

    /// The tokens of the current forward, by their places.
    pub fn feed(&self) -> Feed {
        self.fed.feed(self.forward())
    }

    /// What the op at `site` gives, patched.
    pub(super) fn patched(&self, site: Site, mut value: Value<T>) -> Value<T> {
        for patch in self.patches.iter().filter(|patch| patch.site == site) {
            let operand = self.graph()[site].reads.first().and_then(|read| self.operand(*read));
            patch.apply(&mut value, self.graph(), self.feed(), operand);
        }
        value
    }

    /// Puts `value` in the place of what ops read, wherever it is held: of the current forward, or of the cache.
    ///
    /// # Panics
    /// When the cache does not keep the node that is read from it, or keeps other rows.
    pub fn replace(&mut self, read: Read, value: Value<T>) {
        match read {
            Read::Node(site) => drop(self.slots.insert(site, value)),
            Read::Stale(site) => drop(self.stale.insert(site, value)),
            Read::Past(site) => self.cache.replace(site, value.view()),
            Read::Whole(site) => {
                let own = self.get(site).expect("what is read is computed").shape().to_vec();
                let values = if own.len() == 3 { value.permuted_axes([1, 0, 2].as_slice()) } else { value };
                let values = values.as_standard_layout().into_owned().into_shape_with_order(own);
                let values = values.expect("as many values as before").into_shared();
                drop(self.slots.insert(site, values));
            }
            // Of these the dump's own values are kept, as they are.
            Read::Earlier(..) => {}
        }
    }

    /// Takes what the next op gives from elsewhere: patches and alterations have been made there. Where it is not known, the
    /// run holds NaN, and whoever shows values has to ask there. `None` when the forward is complete.
    pub fn supply(&mut self, value: Option<Value<T>>) -> Option<Site> {
        let site = self.next()?;
        self.enter(site);
        let unknown = || {
            let span = self.span();
            let shape = self.graph()[site].shape(span.ids.len(), span.first + span.ids.len());
            ArrayD::from_elem(shape, T::from_f64(f64::NAN)).into_shared()
        };
        self.put(site, value.unwrap_or_else(unknown));
        Some(site)
    }
}
