//! What a trail learns about its dump: the precision of a tensor, and arithmetic that no tensor shows.

use super::arithmetic::{Arithmetic, Fit};
use super::finding::{Harmless, Kind};
use super::forced::Forced;
use super::noise::{Noise, Terms};
use super::part::Part;
use super::precision::Precision;
use super::trail::Trail;
use crate::dump;
use crate::engine::{Op, Site};
use crate::ops::Operands;

/// An emulation that leaves less than this share of the error comes near the tensor: chance does not.
const NEAR: f64 = 0.5;

/// Every row has at least this share of the noise: an error of one token or one kind of token leaves others clean.
const ALIKE: f64 = 0.15;

/// Rows that tell whether an emulation fits: all of them are measured once one does.
const SAMPLE: usize = 8;

/// Other layers asked when a tensor is coarser than most.
const KIN: usize = 3;

impl Trail {
    /// What the bits of a tensor tell. An embedding is a copy: its bits are those of the weights, and tell something only
    /// when the weights are finer. A tensor that is coarser than the dump is believed only if the same op is in other
    /// layers, too: one layer alone in bf16 is a mistake, not a precision.
    pub(super) fn tell(&self, site: Site, part: &Part) -> Result<Option<Precision>, dump::Error> {
        let Some(found) = Precision::detect(part.values.view()) else { return Ok(None) };
        let graph = &self.model.graph;
        if matches!(graph[site].op, Op::Embed { .. } | Op::EmbedPositions { .. }) {
            let copy = self.healed.exact().mapv(|v| v as f32);
            return Ok(Some(found).filter(|found| Precision::detect(copy.view().into_dyn()) != Some(*found)));
        }
        let Some(own) = graph[site].layer.filter(|_| found > self.typical) else { return Ok(Some(found)) };
        let mut others: Vec<usize> = (0..graph.layers()).filter(|layer| *layer != own).collect();
        others.sort_by_key(|layer| layer.abs_diff(own));
        let (mut finer, mut asked) = (Vec::new(), 0);
        for other in others.into_iter().filter_map(|layer| graph.twin(site, layer)) {
            let Some(other) = self.dump.read(self.spans.forward(), other, None)? else { continue };
            if let Some(other) = Precision::detect(other.part.values.view()) {
                asked += 1;
                finer.extend((other < found).then_some(other));
            }
            if asked == KIN {
                break;
            }
        }
        Ok(Some(if 2 * finer.len() > asked { finer.into_iter().max().unwrap_or(found) } else { found }))
    }

    /// Whether activations are missing between what was dumped before `site` and that.
    pub(super) fn is_over_span(&self, site: Site) -> bool {
        self.spans.reach(site, &self.model.graph).ops > 0
    }

    /// The noise of `site` with weights of fewer bits, if it is off as these make it.
    pub(super) fn coarse(&mut self, site: Site, part: &Part, noise: &Noise) -> Option<Noise> {
        let size = noise.local_error;
        let alone = !self.is_over_span(site) && self.is_independent();
        if !alone || !self.coarse.explains(&self.healed, site, part, size) {
            return None;
        }
        self.coarse.add(self.model.graph.class(site), size);
        if self.coarse.finding.is_none() {
            self.coarse.finding = Some(self.note(site, part, noise, Some(Harmless::CoarseWeights)));
        }
        let (heads, rows) = (Vec::new(), Vec::new());
        Some(Noise { floor: size, score: 1.0, quietest: 1.0, first_row: None, heads, rows, ..noise.clone() })
    }

    /// `site` was in order with the operands it has.
    pub(super) fn know_exact(&mut self, site: Site, noise: &Noise) {
        let (graph, class) = (&self.model.graph, self.model.graph.class(site));
        if self.is_over_span(site) {
            self.exact_spans |= self.healed.arithmetic == Arithmetic::default();
            self.weigh_presumed(noise);
        } else if self.healed.arithmetic.of(class) == Operands::Exact {
            self.exact_operands.insert(class);
            if let Some(index) = self.coarse.weigh(site, graph, noise.local_error) {
                self.findings[index].kind = Kind::Wrong;
            }
        }
    }

    /// Looks for arithmetic that explains `part`, and computes with it from here on. Not where the same op was in order
    /// without: an engine computes alike in all layers.
    pub(super) fn adopt(&mut self, site: Site, part: &Part, precision: Precision, terms: Terms) -> Option<Noise> {
        if !self.is_independent() {
            return None;
        }
        if self.is_over_span(site) {
            return if self.is_open() { None } else { self.adopt_over_span(site, part, precision, terms) };
        }
        let (node, class) = (&self.model.graph[site], self.model.graph.class(site));
        if self.exact_operands.contains(&class) {
            return None;
        }
        let sample = part.sample(SAMPLE, node);
        let fits = Arithmetic::candidates(&node.op).iter().filter_map(|operands| {
            let emulated = self.healed.emulated(precision, *operands, &sample.rows)?;
            let fit = Fit::of(&sample, self.healed.expected(), &emulated, node)?;
            fit.is_sharp().then_some((*operands, fit.left()))
        });
        // The first that is clearly better: formats of as many bits differ only where numbers are very large or small.
        let better = |best: (Operands, f64), next: (Operands, f64)| if next.1 < 0.5 * best.1 { next } else { best };
        let (operands, _) = fits.reduce(better)?;
        let mut trial = self.healed.clone();
        trial.arithmetic.set(class, operands);
        trial.redraw(site, precision);
        let noise = self.take_if_in_order(trial, site, part, terms)?;
        self.share_arithmetic(site, precision);
        Some(noise)
    }

    /// The same where several ops lie between: all of them have the arithmetic of one kind of engine. Over one layer the
    /// emulation comes near the tensor; over many, roundings that fall the other way have spread, and all that can be
    /// said is that the error is as large as that arithmetic makes it, in every row. Then it is presumed, until a span is
    /// found that is better than it can be.
    fn adopt_over_span(&mut self, site: Site, part: &Part, precision: Precision, terms: Terms) -> Option<Noise> {
        if self.exact_spans {
            return None;
        }
        let mut best: Option<(Forced, Noise, f64)> = None;
        let graph = &self.model.graph;
        for arithmetic in Arithmetic::whole(graph) {
            let trial = self.over_span(arithmetic, site, part, precision);
            let fit = Fit::of(part, trial.expected(), &trial.expected().draws[0], &graph[site]);
            let Some(fit) = fit else { continue };
            let noise = trial.measure(site, part, terms);
            // Tensors that are rounded themselves show the precision of their engine.
            let alike = precision == Precision::F32 && noise.quietest >= ALIKE;
            if noise.is_in_order()
                && (fit.left() < NEAR || alike)
                && best.as_ref().is_none_or(|(_, _, left)| fit.left() < *left)
            {
                best = Some((trial, noise, fit.left()));
            }
        }
        let (trial, noise, left) = best?;
        // Should the arithmetic be refuted, the tensor is off by this.
        let plain = self.healed.measure(site, part, terms);
        self.healed = trial;
        if left >= NEAR {
            self.presume(site, part, &plain);
        }
        Some(noise)
    }

    /// The draws of the ops since the last known residual stream, with another arithmetic; the exact run as it is.
    fn over_span(&self, arithmetic: Arithmetic, site: Site, part: &Part, precision: Precision) -> Forced {
        let mut trial = self.gap.anchor.clone();
        trial.arithmetic = arithmetic;
        while let Some(at) = trial.step_draws_in_rows(precision, Some(&part.rows)) {
            if at == site {
                break;
            }
            if let Some(choices) = self.choices.of(at) {
                trial.choose_draws(at, choices);
            }
            if let Some(part) = self.gap.dumped(at) {
                trial.force_draws(at, part);
            }
        }
        let mut healed = self.healed.clone();
        healed.take_draws(&trial);
        healed
    }

    fn take_if_in_order(&mut self, trial: Forced, site: Site, part: &Part, terms: Terms) -> Option<Noise> {
        let noise = trial.measure(site, part, terms);
        noise.is_in_order().then(|| {
            self.healed = trial;
            noise
        })
    }
}
