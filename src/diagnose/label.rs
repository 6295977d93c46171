//! Tensors that have the value of another activation than their name says.

use super::finding::Harmless;
use super::noise::{Expected, Terms};
use super::part::Part;
use super::precision::Precision;
use super::trail::Trail;
use crate::engine::{Activation, Axis, Site};

/// Activations kept to recognise a tensor under another's name: those of two blocks.
const RECENT: usize = 36;

impl Trail {
    pub(super) fn remember(&mut self, site: Site) {
        // Attention patterns and logits are large, and nothing else has their shape.
        if site.activation.row().axes.iter().any(|axis| matches!(axis, Axis::Key | Axis::Vocab)) {
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
        let axes = site.activation.row().axes;
        let alike = self.recent.iter().rev().filter(|(known, _, _)| known.activation.row().axes == axes);
        let mut alike = alike.map(|(known, exact, draws)| (*known, Expected { exact, draws }));
        alike.find(|(known, expected)| self.is_value_of(*known, part, *expected)).map(|(known, _)| known)
    }

    /// Whether what is open has the value of `site`, which has just been computed.
    pub(super) fn recognise_open(&mut self, site: Site) {
        let Some(fork) = &self.fork else { return };
        let axes = site.activation.row().axes;
        let mut found = Vec::new();
        for (open, part, index) in &fork.open {
            let finding = &self.findings[*index];
            let alike = open.activation.row().axes == axes && finding.step == self.spans.forward();
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
        let terms =
            Terms { limit: 4.0, kin: None, least: precision.least(site, &self.model.config, expected.exact.shape()) };
        expected.exact.ndim() == part.values.ndim() && self.measure(site, part, expected, terms).is_in_order()
    }

    /// Hugging Face's last hidden state is after the final norm by convention; newer versions can switch that off. Then it
    /// is the last block's output, and nothing is wrong.
    pub(super) fn is_before_norm(&self, site: Site, part: &Part) -> bool {
        let last = Site::new(self.model.config.num_hidden_layers - 1, Activation::Block);
        let planned = self.dump.planned(self.spans.forward(), site);
        site.activation == Activation::FinalNorm
            && planned.is_some_and(|planned| planned.by_convention)
            && self.recognise(site, part) == Some(last)
    }

    /// Notes that the last hidden state is before the final norm.
    pub(super) fn unnormed(&mut self, site: Site, part: &Part) -> usize {
        let noise = self.measure(site, part, self.healed.expected(), Terms { limit: 3.0, kin: None, least: 0.0 });
        self.note(site, part, &noise, Some(Harmless::Unnormed))
    }
}
