//! Pads that tokens see: the keys that stand around a sequence of a batch have weight in the dump's attention.
//!
//! Our own pass has no pads, so what attention gives with them cannot be computed again. That they have weight is proof
//! enough; what attention of that layer gives is then taken as the dump has it.

use super::finding::{Finding, Kind};
use super::noise::Noise;
use super::part::Part;
use super::precision::Precision;
use super::suspects::search::Accused;
use super::trail::Trail;
use crate::dump;
use crate::engine::{Role, Site};

impl Trail {
    /// Whether `site` shows that tokens see pads, or holds what attention gives where they do; it is then gone on with.
    pub(super) fn sees_pads(
        &mut self,
        site: Site,
        part: &Part,
        precision: Precision,
    ) -> Result<Option<Seen>, dump::Error> {
        let forward = self.spans.forward();
        if self.dump.pads().is_none() {
            return Ok(None);
        }
        let graph = &self.model.graph;
        let layer = graph[site].layer;
        if !graph[site].has_keys() {
            let follows = self.pads_seen.take_if(|seen| *seen == (forward, layer) || graph[site].layer != seen.1);
            if follows.is_some() {
                self.take(site, part);
            }
            return Ok(follows.map(|_| Seen::Before));
        }
        let known = self.pads_seen == Some((forward, layer));
        let probs = graph.find(layer, Role::Probs).filter(|probs| self.dump.planned(forward, *probs).is_some());
        // Scores may be from before the mask: probabilities tell.
        let here = self.dump.weight_of_pads(forward, site)?;
        let weight = probs.map(|probs| self.dump.weight_of_pads(forward, probs)).transpose()?.unwrap_or(0.0);
        if here == 0.0 || weight == 0.0 {
            return Ok(None);
        }
        self.pads_seen = Some((forward, layer));
        if known {
            self.take(site, part);
            return Ok(Some(Seen::Before));
        }
        let terms = self.terms(site, precision);
        let measured = self.healed.measure(site, part, terms);
        let noise = Noise { local_error: f64::from(weight), score: f64::INFINITY, ..measured };
        let index = self.note(site, part, &noise, None);
        let name = self.model.graph.key(site, forward);
        let pads = self.dump.pads().map_or(0, dump::Pads::count);
        let words = format!(
            "{pads} pad keys are seen by the tokens, which give them up to {:.0} % of their attention",
            100.0 * weight
        );
        let accused = Accused {
            summary: words,
            fix: "hide the keys of pads from every query, as attention_mask says",
            ..Accused::of_label("causal_mask_missing", &name, String::new())
        };
        let finding: &mut Finding = &mut self.findings[index];
        (finding.kind, finding.suspects, finding.scene) = (Kind::Wrong, vec![accused], None);
        self.take(site, part);
        Ok(Some(Seen::First(index)))
    }

    /// Whether queries or keys are not rotated as they are without pads: where pads count as positions, all are rotated
    /// further by as much, which scores do not show. They are compared in the scores then.
    pub(super) fn is_rotated_elsewhere(&self, site: Site, part: &Part) -> bool {
        const APART: f64 = 1e-2;
        let rotated = [Role::QRope, Role::KRope].into_iter().any(|role| self.model.graph.is(site, role));
        rotated && {
            let (mut apart, mut size) = (0.0, 0.0);
            for (value, exact) in part.values.iter().zip(self.healed.exact()) {
                apart += (f64::from(*value) - exact).powi(2);
                size += exact * exact;
            }
            part.values.shape() == self.healed.exact().shape() && apart > APART * APART * size
        }
    }

    /// Goes on with the dump's value.
    fn take(&mut self, site: Site, part: &Part) {
        if self.model.graph.output() != Some(site) {
            self.healed.force(site, part);
            if let Some(fork) = &mut self.fork {
                fork.followed.force(site, part);
            }
        }
        self.ground(site, part);
    }
}

/// What a tensor shows of pads.
#[derive(Clone, Copy, Debug)]
pub(super) enum Seen {
    /// That they are seen: the finding.
    First(usize),
    /// What follows from that.
    Before,
}
