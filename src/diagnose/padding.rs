//! Pads that tokens see: the keys that stand around a sequence of a batch have weight in the dump's attention.
//!
//! Our own pass has no pads, so what attention gives with them cannot be computed again. That they have weight is proof
//! enough; what attention of that layer gives is then taken as the dump has it.

use super::part::Part;
use super::suspects::search::Accused;
use crate::dump::{self, Dump, Pads, weight_of_pads};
use crate::engine::{Graph, Role, Site, Value};

/// What is known of the pads of a dump.
#[derive(Clone, Copy, Debug)]
pub(super) struct Padding {
    /// Whether the tokens have the positions that they have without pads.
    counts_from_zero: bool,
    /// The forward and layer whose attention is known to see pads, until what it gives has come.
    seen: Option<(usize, Option<usize>)>,
}

/// What a tensor shows of pads.
#[derive(Clone, Copy, Debug)]
pub(super) enum Seen {
    /// That they are seen: the most that a token gives them of its attention.
    First(f32),
    /// What follows from that.
    Before,
}

impl Padding {
    /// Of a dump in which nothing has been looked at.
    pub(super) fn of(dump: &Dump) -> Self {
        Self { counts_from_zero: dump::counts_from_zero(dump), seen: None }
    }

    /// Whether `site` shows that tokens see pads, or holds what attention gives where they do.
    pub(super) fn look(
        &mut self,
        dump: &Dump,
        graph: &Graph,
        forward: usize,
        site: Site,
    ) -> Result<Option<Seen>, dump::Error> {
        if dump.pads().is_none() {
            return Ok(None);
        }
        let layer = graph[site].layer;
        if !graph[site].has_keys() {
            let follows = self.seen.take_if(|seen| *seen == (forward, layer) || layer != seen.1);
            return Ok(follows.map(|_| Seen::Before));
        }
        let known = self.seen == Some((forward, layer));
        let probs = graph.find(layer, Role::Probs).filter(|probs| dump.planned(forward, *probs).is_some());
        // Scores may be from before the mask: probabilities tell.
        let here = weight_of_pads(dump, forward, site)?;
        let weight = probs.map(|probs| weight_of_pads(dump, forward, probs)).transpose()?.unwrap_or(0.0);
        if here == 0.0 || weight == 0.0 {
            return Ok(None);
        }
        self.seen = Some((forward, layer));
        Ok(Some(if known { Seen::Before } else { Seen::First(weight) }))
    }

    /// Whether queries or keys are not rotated as they are without pads: where pads count as positions, all are rotated
    /// further by as much, which scores do not show. They are compared in the scores then.
    pub(super) fn is_rotated_elsewhere(self, graph: &Graph, site: Site, part: &Part, exact: &Value<f64>) -> bool {
        const APART: f64 = 1e-2;
        let rotated = [Role::QRope, Role::KRope].into_iter().any(|role| graph.is(site, role));
        !self.counts_from_zero && rotated && part.values.shape() == exact.shape() && {
            let (mut apart, mut size) = (0.0, 0.0);
            for (value, exact) in part.values.iter().zip(exact) {
                apart += (f64::from(*value) - exact).powi(2);
                size += exact * exact;
            }
            apart > APART * APART * size
        }
    }
}

/// The cause, where tokens give pads `weight` of their attention in the tensor of this name.
pub(super) fn accused(pads: Option<Pads>, weight: f32, name: &str) -> Accused {
    let pads = pads.map_or(0, Pads::count);
    let weight = 100.0 * weight;
    Accused {
        summary: format!(
            "{pads} pad keys are seen by the tokens, which give them up to {weight:.0} % of their attention"
        ),
        fix: "hide the keys of pads from every query, as attention_mask says",
        ..Accused::of_label("causal_mask_missing", name, String::new())
    }
}
