//! Where a suspect is tried: an op, the inputs that the dump has for it, and what the dump has for its output.

use std::sync::Arc;

use ndarray::{Array1, ArrayD, ArrayViewD, Axis, CowArray, IxDyn};

use crate::diagnose::forced::Forced;
use crate::diagnose::gap::Gap;
use crate::diagnose::noise::Terms;
use crate::diagnose::part::Part;
use crate::diagnose::precision::Precision;
use crate::engine::{Graph, Node, Op, Read, Role, Site};
use crate::model::Model;
use crate::model::op::Vector;

/// An op of a dump that is not what its inputs give.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The model.
    pub model: Arc<Model>,
    /// The runs on the dump's own inputs; the op was computed last. None where nothing was dumped.
    pub forced: Option<Forced>,
    /// Which op.
    pub site: Site,
    /// Which forward.
    pub step: usize,
    /// Position of the forward's first token.
    pub first: usize,
    /// How many tokens it has.
    pub tokens: usize,
    /// In the forwards before, it was right up to this position, which is not one of them.
    pub right_until: usize,
    /// What the dump has; none for an op inside a span of which the dump has only the end.
    pub part: Option<Part>,
    /// The ops before, where not all inputs were dumped.
    pub gap: Option<Gap>,
    /// What the dump was computed in.
    pub precision: Precision,
    /// How exact a correct program is.
    pub terms: Terms,
    /// Whether the dump is the reference.
    pub is_reference: bool,
}

impl Scene {
    /// An op without a dump: for suspects that are switched on, not searched for.
    pub fn without_dump(model: &Arc<Model>, site: Site) -> Self {
        let terms = Terms { limit: 0.0, kin: None, least: 0.0, least_element: 0.0 };
        Self {
            model: Arc::clone(model),
            forced: None,
            site,
            step: 0,
            first: 0,
            tokens: 0,
            right_until: 0,
            part: None,
            gap: None,
            precision: Precision::F32,
            terms,
            is_reference: true,
        }
    }

    /// The nodes of the model.
    pub fn graph(&self) -> &Graph {
        &self.model.graph
    }

    /// The node.
    pub fn node(&self) -> &Node {
        &self.graph()[self.site]
    }

    /// What it is for.
    pub fn role(&self) -> Option<Role> {
        self.node().role
    }

    /// What the model computes there.
    pub fn op(&self) -> &Op {
        &self.node().op
    }

    /// The node of the same layer that is for `role`.
    pub fn beside(&self, role: Role) -> Option<Site> {
        self.graph().find(self.node().layer, role)
    }

    /// The node that it reads, by its place among its inputs.
    pub fn read(&self, index: usize) -> Option<(Site, &Node)> {
        let site = self.node().reads.get(index).map(|read: &Read| read.site())?;
        Some((site, &self.graph()[site]))
    }

    /// Channels of its rows.
    pub fn width(&self) -> usize {
        width(self.node())
    }

    /// The numbers of a vector, if there are weights.
    pub fn vector(&self, vector: &Vector) -> Option<Array1<f32>> {
        self.model.has_weights().then(|| self.model.vector(vector).into_owned())
    }

    /// What the dump has, in f64: of some rows, or of all; of all keys.
    pub fn dumped(&self) -> Option<ArrayD<f64>> {
        let part = self.part.as_ref()?;
        (part.values.shape() == self.exact()?.shape()).then(|| part.values.mapv(f64::from))
    }

    /// What the model gives on the dump's inputs, in the rows that the dump has.
    pub fn exact(&self) -> Option<CowArray<'_, f64, IxDyn>> {
        Some(self.in_rows(self.whole()?, self.site))
    }

    /// What the model gives on the dump's inputs.
    pub fn whole(&self) -> Option<ArrayViewD<'_, f64>> {
        Some(self.forced.as_ref()?.exact().view())
    }

    /// What the op reads, by its place among its inputs: in the rows that the dump has, but for what is cached.
    pub fn input(&self, index: usize) -> Option<CowArray<'_, f64, IxDyn>> {
        let value = self.forced.as_ref()?.input(index)?;
        Some(match self.node().reads.get(index)? {
            Read::Node(site) => self.in_rows(value, *site),
            _ => value.into(),
        })
    }

    /// Whether the rows of a node from a position of an earlier forward on are there, as many as the op has.
    pub fn has_earlier(&self, site: Site, start: usize) -> bool {
        let there = |forced: &Forced| forced.has_earlier(site, start);
        start + self.tokens <= self.first && self.tokens > 0 && self.forced.as_ref().is_some_and(there)
    }

    fn in_rows<'a>(&self, value: ArrayViewD<'a, f64>, site: Site) -> CowArray<'a, f64, IxDyn> {
        let axis = Axis(self.graph()[site].row_axis());
        match &self.part {
            Some(part) if part.rows.len() < value.len_of(axis) => value.select(axis, &part.rows).into(),
            _ => value.into(),
        }
    }

    /// The positions of the rows that the dump has.
    pub fn positions(&self) -> Vec<usize> {
        let rows = self.part.as_ref().map_or_else(|| (0..self.tokens).collect(), |part| part.rows.clone());
        rows.into_iter().map(|row| self.first + row).collect()
    }
}

/// Channels of a node's rows; 0 where the last axis counts keys.
pub(super) fn width(node: &Node) -> usize {
    node.axes.last().map_or(0, |axis| axis.length(0, 0))
}
