//! Tensors that have the value of another activation than their name says.

use super::finding::Harmless;
use super::noise::{Expected, Terms};
use super::part::Part;
use super::precision::Precision;
use super::trail::Trail;
use crate::engine::{Role, Site};

/// Activations kept to recognise a tensor under another's name: those of two blocks.
const RECENT: usize = 36;

impl Trail {
    pub(super) fn remember(&mut self, site: Site) {
        // Attention patterns and logits are large, and nothing else has their shape.
        let graph = &self.model.graph;
        if graph[site].has_keys() || graph.is_head(site) || graph.output() == Some(site) {
            return;
        }
        let expected = self.healed.expected();
        let entry = (site, expected.exact.clone(), expected.draws.to_vec());
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(entry);
    }

    /// The activation before `site`, of the same shape, whose value `part` has.
    pub(super) fn recognise(&self, site: Site, part: &Part) -> Option<Site> {
        let graph = &self.model.graph;
        let alike = self.recent.iter().rev().filter(|(known, _, _)| graph[*known].axes == graph[site].axes);
        let mut alike = alike.map(|(known, exact, draws)| (*known, Expected { exact, draws }));
        alike.find(|(known, expected)| self.is_value_of(*known, part, *expected)).map(|(known, _)| known)
    }

    /// Whether what is open has the value of `site`, which has just been computed.
    pub(super) fn recognise_open(&mut self, site: Site) {
        let Some(fork) = &self.fork else { return };
        let graph = &self.model.graph;
        let mut found = Vec::new();
        for (open, part, index) in &fork.open {
            let finding = &self.findings[*index];
            let alike = graph[*open].axes == graph[site].axes && finding.step == self.spans.forward();
            let unknown = finding.label.is_none() && finding.harmless.is_none();
            if alike && unknown && self.is_value_of(site, part, self.healed.expected()) {
                found.push(*index);
            }
        }
        for index in found {
            self.findings[index].label = Some(site);
        }
    }

    pub(super) fn is_value_of(&self, site: Site, part: &Part, expected: Expected) -> bool {
        let precision = Precision::detect(part.values.view()).unwrap_or(self.typical);
        let least = precision.least(&self.model.graph[site], expected.exact.shape());
        let terms = Terms { limit: 4.0, kin: None, least };
        expected.exact.ndim() == part.values.ndim() && self.measure(site, part, expected, terms).is_in_order()
    }

    /// Hugging Face's last hidden state is after the final norm by convention; newer versions can switch that off. Then it
    /// is the last block's output, and nothing is wrong.
    pub(super) fn is_before_norm(&self, site: Site, part: &Part) -> bool {
        let graph = &self.model.graph;
        let planned = self.dump.planned(self.spans.forward(), site);
        graph.is(site, Role::FinalNorm)
            && planned.is_some_and(|planned| planned.by_convention)
            && self.recognise(site, part).is_some_and(|found| graph.entering(graph.layers()) == Some(found))
    }

    /// Notes that the last hidden state is before the final norm.
    pub(super) fn unnormed(&mut self, site: Site, part: &Part) -> usize {
        let noise = self.measure(site, part, self.healed.expected(), Terms { limit: 3.0, kin: None, least: 0.0 });
        self.note(site, part, &noise, Some(Harmless::Unnormed))
    }
}
