//! What lies between the activations that were dumped.

use std::collections::{HashMap, HashSet};

use crate::engine::{Graph, Read, Site};

/// The activations of one forward that are known to be right and whole, and what lies between them.
#[derive(Debug, Default)]
pub struct Spans {
    forward: usize,
    grounded: HashSet<Site>,
    /// Those of which only some rows are there, and which.
    partly: HashMap<Site, Vec<usize>>,
    /// The rows that are asked about.
    asked: Vec<usize>,
    /// Those of this forward in program order, after the last one of the forward before.
    good: Vec<(Option<Site>, String)>,
}

/// The ops between an activation and the last ones before it that were dumped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// How many activations are missing between: with none, the op itself was run on its dumped inputs.
    pub ops: usize,
    /// How many layers they lie in.
    pub layers: usize,
    /// The dump key of the last good activation before all of them.
    pub last_good: Option<String>,
}

impl Reach {
    /// How many times its noise the error of a correct program may be. One op is computed by all correct programs within
    /// little of each other; over many layers each program has noise of its own, and a few draws do not show all of it.
    pub fn limit(&self) -> f64 {
        if self.ops == 0 { 3.0 } else { (3.0 + 0.25 * self.layers as f64).min(8.0) }
    }
}

impl Spans {
    /// The forward, from 0.
    pub fn forward(&self) -> usize {
        self.forward
    }

    /// Begins a decode step. Keys and values of the forwards before it count as known.
    pub fn begin_forward(&mut self) {
        self.forward += 1;
        self.grounded.clear();
        self.partly.clear();
        self.good = self.good.pop().map(|(_, name)| (None, name)).into_iter().collect();
    }

    /// What follows is asked about these rows.
    pub fn ask(&mut self, rows: &[usize]) {
        self.asked = rows.to_vec();
    }

    /// `site` is right in these rows of so many.
    pub fn ground(&mut self, site: Site, rows: &[usize], of: usize, graph: &Graph) {
        self.good.push((Some(site), graph.key(site, self.forward)));
        self.presume(site, rows, of);
    }

    /// `site` is not what its inputs give, but the dump's engine may have gone on with it.
    pub fn presume(&mut self, site: Site, rows: &[usize], of: usize) {
        if rows.len() == of {
            self.grounded.insert(site);
        } else {
            self.partly.insert(site, rows.to_vec());
        }
    }

    /// What lies before `site`.
    pub fn reach(&self, site: Site, graph: &Graph) -> Reach {
        let mut missing = HashSet::new();
        self.visit(site, graph, &mut missing);
        let first = missing.iter().copied().min().map_or(site, |first| first.min(site));
        let before = self.good.iter().rev().find(|(good, _)| good.is_none_or(|good| good < first));
        // Norm and head after the last block count as part of it.
        let layers: HashSet<usize> =
            missing.iter().chain([&site]).map(|site| layer_order(*site, graph).clamp(1, graph.layers())).collect();
        Reach { ops: missing.len(), layers: layers.len(), last_good: before.map(|(_, name)| name.clone()) }
    }

    fn visit(&self, site: Site, graph: &Graph, missing: &mut HashSet<Site>) {
        for read in &graph[site].reads {
            let input = read.site();
            // A row that is computed from the same row needs no other.
            let holds = |rows: &Vec<usize>| self.asked.iter().all(|row| rows.binary_search(row).is_ok());
            let has_row = matches!(read, Read::Node(_)) && self.partly.get(&input).is_some_and(holds);
            if !has_row && !self.grounded.contains(&input) && missing.insert(input) {
                self.visit(input, graph, missing);
            }
        }
    }
}

/// The layer of an activation, counted from 1: 0 before all layers, one more than there are behind them.
pub(super) fn layer_order(site: Site, graph: &Graph) -> usize {
    match graph[site].layer {
        Some(layer) => layer + 1,
        None if graph.tail().is_some_and(|tail| site.index() >= tail) => graph.layers() + 1,
        None => 0,
    }
}
