//! Our own run of the forward pass: where it stands, what it has given so far, and what is fed to it.

use std::sync::Arc;

use super::tape::Recorded;
use super::trace::Trace;
use super::view::Stop;
use crate::engine::{Alteration, Feed, LogitRows, Patch, Role, Run, Sequence, Site, Value};
use crate::model::Model;

/// Our own run.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    pub(super) run: Run,
    pub(super) trace: Trace,
    /// All that is to be fed: at its end, what was generated.
    pub(super) fed: Sequence,
    /// Where its results come from, if they are not computed.
    pub(super) recorded: Option<Recorded>,
}

impl Pass {
    /// One that stands before the first op of the prefill.
    pub(super) fn new(model: &Arc<Model>, fed: Sequence) -> Self {
        let run = Run::new(Arc::clone(model), fed.span(0).ids, LogitRows::All);
        let mut trace = Trace::default();
        trace.begin_forward();
        Self { run, trace, fed, recorded: None }
    }

    /// Goes back before the first op, to be computed with these mistakes and patches.
    pub(super) fn begin_again(&mut self, alterations: Vec<Alteration>, patches: Vec<Patch>) {
        self.run = Run::new(Arc::clone(self.run.model()), self.fed.span(0).ids, LogitRows::All);
        self.run.alter(alterations);
        self.run.patch(patches);
        self.trace.clear();
        self.trace.begin_forward();
    }

    /// Takes the next op, entering the next forward when there is one.
    pub(super) fn next(&mut self) -> Option<Site> {
        if self.run.is_complete() {
            let forward = self.run.forward() + 1;
            if forward == self.fed.forwards() {
                return None;
            }
            self.run.begin_forward(self.fed.span(forward).ids);
            self.trace.begin_forward();
        }
        let Some(recorded) = &self.recorded else {
            let site = self.run.step()?;
            self.trace.push(self.run.get(site));
            return Some(site);
        };
        let value = recorded.ours(self.run.forward(), self.run.next()?).cloned();
        self.trace.push(value.as_ref());
        self.run.supply(value)
    }

    /// The forward, and how many ops of it are computed.
    pub(super) fn position(&self) -> (usize, usize) {
        (self.run.forward(), self.run.counter())
    }

    /// Ops computed, those of earlier forwards included.
    pub(super) fn ops(&self) -> usize {
        self.run.forward() * self.run.graph().len() + self.run.counter()
    }

    /// Our own activation, if it is computed and kept.
    pub(super) fn ours(&self, forward: usize, site: Site) -> Option<&Value> {
        self.trace.forward(forward).get(site.index())?.as_ref()
    }

    /// The same; also where it was forgotten, and the run has it still.
    pub(super) fn held(&self, forward: usize, site: Site) -> Option<&Value> {
        let is_there = || forward == self.run.forward() && self.recorded.is_none();
        let record = self.trace.forward(forward).get(site.index())?.as_ref();
        record.or_else(|| self.run.get(site).filter(|_| is_there()))
    }

    /// Why our own activation is not there.
    pub(super) fn lacks(&self, forward: usize, site: Site) -> String {
        let short = self.run.graph().short(site);
        if self.trace.forward(forward).len() <= site.index() {
            format!("{short} is not computed yet: s steps, g goes there")
        } else if self.recorded.is_some() {
            format!("{short} was not recorded: nobody looked at it")
        } else {
            format!("{short} was not kept (memory budget): g goes there")
        }
    }

    /// `2.q_rope`, `2.q_rope@1` in a decode step.
    pub(super) fn called(&self, row: usize) -> String {
        let graph = self.run.graph();
        let name = graph.short(Site::at(row % graph.len()));
        if row < graph.len() { name.to_string() } else { format!("{name}@{}", row / graph.len()) }
    }

    /// The forwards in which an op is computed.
    pub(super) fn computed(&self, site: Site) -> impl Iterator<Item = Feed> {
        let here = usize::from(site.index() < self.run.counter());
        self.fed.feeds().take(self.run.forward() + here)
    }

    /// Whether a patch changes anything in a forward.
    pub(super) fn touches(&self, patch: &Patch, feed: Feed) -> bool {
        !patch.picked(self.run.graph(), feed).is_empty()
    }

    /// Goes back to where `counter` ops of `forward` were computed; both lie behind.
    pub(super) fn go_to(&mut self, forward: usize, counter: usize) {
        if self.recorded.is_some() {
            self.begin_again(Vec::new(), Vec::new());
            while self.position() < (forward, counter) && self.next().is_some() {}
            return;
        }
        if forward < self.run.forward() {
            self.run.rewind_to_forward(forward);
            while self.run.counter() < counter {
                self.run.step();
            }
        } else {
            self.run.rewind(counter);
        }
        self.trace.truncate(forward, counter);
        // What was computed long ago may not have been kept.
        if let Some(value) = self.run.last().and_then(|site| self.run.get(site)) {
            self.trace.keep_last(value);
        }
    }

    /// Goes back by `count` ops, through earlier forwards if need be. Before the first op of a decode step, it stands at the
    /// last op of the forward before: as it does when it comes from there.
    pub(super) fn go_back(&mut self, count: usize) -> Stop {
        let length = self.run.graph().len();
        let Some(ops) = self.ops().checked_sub(count) else {
            self.go_to(0, 0);
            return Stop::Start;
        };
        match ops % length {
            0 if ops > 0 => self.go_to(ops / length - 1, length),
            counter => self.go_to(ops / length, counter),
        }
        Stop::Done
    }

    /// The number of ops after which the op `count` layers on is computed; past the last layer, the next op that no layer
    /// owns. At the end of a forward, the first op of the next one.
    pub(super) fn layers_on(&self, count: usize) -> usize {
        let (graph, counter) = (self.run.graph(), self.run.counter());
        let Some(at) = self.run.last().filter(|_| !self.run.is_complete()) else { return 1 };
        let inside = |layer: Option<usize>| layer.filter(|layer| *layer < graph.layers());
        let wanted = match graph[at].layer {
            Some(layer) => inside(layer.checked_add(count)).map(|layer| self.same_in(layer, at)),
            None if self.is_before_layers(at) => inside(count.checked_sub(1)).map(|layer| graph.start(layer)),
            None => None,
        };
        let unowned = || (counter..graph.len()).find(|index| graph[Site::at(*index)].layer.is_none());
        wanted.or_else(unowned).map_or(graph.len(), |position| position + 1)
    }

    /// The number of ops after which the op `count` layers back is computed.
    pub(super) fn layers_back(&self, count: usize) -> usize {
        let Some(at) = self.run.last() else { return 0 };
        let graph = self.run.graph();
        let wanted = match graph[at].layer {
            Some(layer) => layer.checked_sub(count).map(|layer| self.same_in(layer, at)),
            None if self.is_before_layers(at) => return 0,
            None => {
                let layer = graph.layers().checked_sub(count);
                layer.and_then(|layer| graph.in_layer(layer, Role::Block)).map(Site::index)
            }
        };
        wanted.map_or(1, |position| position + 1)
    }

    /// Whether it is computed before the first layer.
    fn is_before_layers(&self, site: Site) -> bool {
        self.run.graph().tail().is_none_or(|tail| site.index() < tail)
    }

    /// The same op in another layer; the first one there where it has none.
    fn same_in(&self, layer: usize, site: Site) -> usize {
        let graph = self.run.graph();
        graph.twin(site, layer).map_or_else(|| graph.start(layer), Site::index)
    }
}
