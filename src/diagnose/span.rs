//! What lies between the activations that were dumped.

use std::collections::HashSet;

use crate::engine::{Activation, Site, inputs};
use crate::model::Config;

/// The activations of one forward that are known to be right and whole, and what lies between them.
#[derive(Debug, Default)]
pub struct Spans {
    forward: usize,
    grounded: HashSet<Site>,
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
        self.good = self.good.pop().map(|(_, name)| (None, name)).into_iter().collect();
    }

    /// `site` is right; `whole`: with all rows.
    pub fn ground(&mut self, site: Site, whole: bool) {
        self.good.push((Some(site), key(site, self.forward)));
        if whole {
            self.grounded.insert(site);
        }
    }

    /// `site` is not what its inputs give, but the dump's engine may have gone on with it.
    pub fn presume(&mut self, site: Site, whole: bool) {
        if whole {
            self.grounded.insert(site);
        }
    }

    /// Whether `site` is known with all its rows.
    pub fn is_grounded(&self, site: Site) -> bool {
        self.grounded.contains(&site)
    }

    /// What lies before `site`.
    pub fn reach(&self, site: Site, config: &Config) -> Reach {
        let mut missing = HashSet::new();
        self.visit(site, config, &mut missing);
        let order = |site| order(site, config);
        let first = missing.iter().copied().chain([site]).min_by_key(|site| order(*site)).unwrap_or(site);
        let before = self.good.iter().rev().find(|(good, _)| good.is_none_or(|good| order(good) < order(first)));
        // Norm and head after the last block count as part of it.
        let layers: HashSet<usize> = missing
            .iter()
            .chain([&site])
            .map(|site| layer_order(*site, config).clamp(1, config.num_hidden_layers))
            .collect();
        Reach { ops: missing.len(), layers: layers.len(), last_good: before.map(|(_, name)| name.clone()) }
    }

    fn visit(&self, site: Site, config: &Config, missing: &mut HashSet<Site>) {
        for input in inputs(site, config) {
            let input = input.site();
            if !self.grounded.contains(&input) && missing.insert(input) {
                self.visit(input, config, missing);
            }
        }
    }
}

/// The place of an activation in the program: its layer, counted from 1, and its place there.
pub(super) fn order(site: Site, config: &Config) -> (usize, Activation) {
    (layer_order(site, config), site.activation)
}

/// Embedding, layers, then what follows the last.
fn layer_order(site: Site, config: &Config) -> usize {
    match (site.in_layer(), site.activation) {
        (Some(layer), _) => layer + 1,
        (None, Activation::EmbedTokens) => 0,
        (None, _) => config.num_hidden_layers + 1,
    }
}

/// The key of an activation in a dump: the canonical name, with the decode step.
pub fn key(site: Site, forward: usize) -> String {
    if forward == 0 { site.to_string() } else { format!("{site}@{forward}") }
}
