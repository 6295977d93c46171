//! What a trail learns about its dump: the precision of a tensor, arithmetic that no tensor shows, numbers that are none,
//! pads that tokens see.

use std::sync::atomic::AtomicBool;

use super::arithmetic::{Arithmetic, Fit};
use super::finding::{Harmless, Kind};
use super::forced::Forced;
use super::noise::{Noise, Terms};
use super::nonfinite::NonFinite;
use super::padding::{Seen, accused};
use super::part::Part;
use super::precision::Precision;
use super::special::{Made, Special, accuse_special};
use super::suspects::search::{Accused, find};
use super::trail::{Look, Trail};
use crate::dump::Planned;
use crate::engine::{Op, Read, Site};
use crate::ops::Operands;

/// An emulation that leaves less than this share of the error comes near the tensor: chance does not.
const NEAR: f64 = 0.5;

/// Every row has at least this share of the noise: an error of one token or one kind of token leaves others clean.
const ALIKE: f64 = 0.15;

/// Rows that tell whether an emulation fits: all of them are measured once one does.
const SAMPLE: usize = 8;

/// Suspects that are an arithmetic: a choice of its engine.
const ARITHMETICS: &[&str] =
    &["low_precision_matmul", "low_precision_scores", "low_precision_softmax", "low_precision_norm"];

/// What a forward is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The prompt.
    Prefill,
    /// A step after it.
    Decode,
}

impl Trail {
    /// What the bits of a tensor tell. An embedding is a copy: its bits are those of the weights, and tell something only
    /// when the weights are finer.
    pub(super) fn tell(&self, site: Site, part: &Part) -> Option<Precision> {
        // A file that keeps it in few bits tells so, too, though not in how many it was computed.
        let told = self.dump.planned(self.spans.forward(), site).and_then(Planned::few_bits).map(Precision::of_bits);
        let found = Precision::detect(part.values.view()).or(told)?;
        let graph = &self.model.graph;
        if graph.is_copy(site) {
            let copy = self.healed.exact().mapv(|v| v as f32);
            return Some(found).filter(|found| Precision::detect(copy.view().into_dyn()) != Some(*found));
        }
        Some(found)
    }

    /// Tensors that have fewer bits than those of the same op in most other layers: whether they were computed in those or
    /// stored in them, nothing tells. One line if they are few, one for all of them if not.
    pub(super) fn coarser_than_others(&self) -> Vec<String> {
        const FEW: usize = 4;
        let graph = &self.model.graph;
        let others = |site: Site| {
            self.told.iter().filter(move |(other, _)| **other != site && graph.class(**other) == graph.class(site))
        };
        let coarser = self.told.iter().filter_map(|(site, own)| {
            let finer: Vec<Precision> = others(*site).map(|(_, other)| *other).filter(|other| other < own).collect();
            let most = 2 * finer.len() > others(*site).count();
            Some((*site, *own, finer.into_iter().max().filter(|_| most)?))
        });
        let coarser: Vec<(Site, Precision, Precision)> = coarser.collect();
        if coarser.len() > FEW {
            let count = |wanted: Precision| self.told.values().filter(|told| **told == wanted).count();
            let counts = Precision::ALL.into_iter().filter(|wanted| count(*wanted) > 0);
            let counts: Vec<String> = counts.map(|wanted| format!("{} in {}", count(wanted), wanted.name())).collect();
            return vec![format!("its tensors are in several precisions: {}", counts.join(", "))];
        }
        let line = |(site, own, finer): &(Site, Precision, Precision)| {
            let id = match graph[*site].op {
                Op::Scores(_) => "low_precision_scores: ",
                Op::Softmax { .. } => "low_precision_softmax: ",
                Op::Norm { .. } => "low_precision_norm: ",
                _ => "",
            };
            format!("{id}{} is in {}, in other layers in {}", graph.name(*site), own.name(), finer.name())
        };
        coarser.iter().map(line).collect()
    }

    /// Whether activations are missing between what was dumped before `site` and that.
    pub(super) fn is_over_span(&self, site: Site) -> bool {
        self.spans.reach(site, &self.model.graph).ops > 0
    }

    /// Which forward it is.
    pub(super) fn phase(&self) -> Phase {
        if self.spans.forward() == 0 { Phase::Prefill } else { Phase::Decode }
    }

    /// The phases in which an op has one arithmetic: the same in both, but for what the cache keeps and what reads it,
    /// which the prefill may not do.
    fn phase_of(&self, site: Site) -> Phase {
        let graph = &self.model.graph;
        let reads_cache = graph[site].reads.iter().any(|read| matches!(read, Read::Past(_)));
        if reads_cache || graph.cached().any(|kept| kept == site) { self.phase() } else { Phase::Prefill }
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
            // Whoever rounds nothing but what the cache keeps has exact products: no error later on is theirs.
            if self.healed.arithmetic.is_cached() {
                self.exact_spans.insert(self.phase());
            }
            self.weigh_presumed(noise);
        } else if self.healed.arithmetic.of(class) == Operands::Exact {
            self.exact_operands.insert((class, self.phase_of(site)));
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
        if self.exact_operands.contains(&(class, self.phase_of(site))) {
            return None;
        }
        let sample = part.sample(SAMPLE, node);
        let fits = Arithmetic::candidates(site, &self.model.graph).filter_map(|operands| {
            let emulated = self.healed.emulated(precision, operands, &sample.rows)?;
            let fit = Fit::of(&sample, self.healed.expected(), &emulated, node)?;
            fit.is_sharp().then_some((operands, fit.left()))
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
        // In 16 bits, the rows that are out of order tell; the others are noise.
        let wrong = self.healed.measure(site, part, terms).rows;
        let telling =
            if precision == Precision::F32 { part.clone() } else { part.picked(&wrong, &self.model.graph[site]) };
        let is_known = |phase| self.exact_spans.contains(&phase);
        // The noise of 16 bits may have hidden what a cache of 8 does.
        if is_known(self.phase()) && precision == Precision::F32 {
            return None;
        }
        // A prefill that was exact leaves the cache, which decode steps are the first to read.
        let only_cached = is_known(self.phase()) || is_known(Phase::Prefill);
        let mut best: Option<(Forced, Noise, f64)> = None;
        let graph = &self.model.graph;
        let all = Arithmetic::whole(graph).filter(|arithmetic| !only_cached || arithmetic.is_cached());
        for arithmetic in all {
            let trial = self.over_span(arithmetic.clone(), site, part, precision);
            let fit = Fit::of(&telling, trial.expected(), &trial.expected().draws[0], &graph[site]);
            let Some(fit) = fit else { continue };
            let noise = trial.measure(site, part, terms);
            // Tensors that are rounded themselves show the precision of their engine.
            let alike = precision == Precision::F32 && noise.quietest >= ALIKE && !arithmetic.is_cached();
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
        if left >= NEAR {
            if precision == Precision::F32 && self.has_a_cause(site, part) {
                self.exact_spans.insert(self.phase());
                return None;
            }
            self.presume(site, part, &plain);
        }
        self.healed = trial;
        Some(noise)
    }

    /// Whether a known mistake makes nearly all of an error that an arithmetic only makes as large: chance does not. An
    /// arithmetic that does is none.
    fn has_a_cause(&self, site: Site, part: &Part) -> bool {
        const NEARLY_ALL: f64 = 0.999;
        let found = find(&self.scene(site, part), &AtomicBool::new(false));
        let is_mistake = |accused: &Accused| accused.edit.is_some() && !ARITHMETICS.contains(&accused.id);
        found.iter().any(|accused| is_mistake(accused) && accused.explained > NEARLY_ALL)
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

    /// The error of `part` is as large as some arithmetic makes it.
    pub(super) fn presume(&mut self, site: Site, part: &Part, noise: &Noise) {
        self.presumed = Some((self.note(site, part, noise, Some(Harmless::LowPrecision)), 1));
    }

    /// A span that was in order with an arithmetic that is only presumed speaks for it, or against it.
    pub(super) fn weigh_presumed(&mut self, noise: &Noise) {
        const BETTER_THAN_IT_CAN_BE: f64 = 0.05;
        let Some((index, spans)) = self.presumed else { return };
        if noise.quietest >= BETTER_THAN_IT_CAN_BE {
            self.presumed = Some((index, spans + 1));
        } else {
            self.findings[index].kind = Kind::Wrong;
            self.presumed = None;
            self.healed.arithmetic = Arithmetic::default();
            self.exact_spans.insert(self.phase());
        }
    }

    /// The same of a tensor that is not finite everywhere: its finite rows are judged as if the dump had no others.
    pub(super) fn weigh_special(
        &mut self,
        site: Site,
        part: &Part,
        special: Special,
        noise: Noise,
        (precision, terms): (Precision, Terms),
        look: &mut Look,
    ) {
        let (made, rest) = match special {
            Special::Came(rest) => (None, rest),
            Special::Ours(words, rest) => {
                self.specials.get_or_insert(words);
                (None, rest)
            }
            Special::Made(found, rest) => (Some(found), rest),
        };
        let mut noise = noise.of_finite();
        if !rest.rows.is_empty() {
            noise = self.healed.measure(site, &rest, terms);
            if noise.is_in_order() {
                self.know_exact(site, &noise);
            } else if let Some(emulated) = self.adopt(site, &rest, precision, terms) {
                noise = emulated;
            } else if let Some(coarse) = self.coarse(site, &rest, &noise) {
                noise = coarse;
            }
        }
        let told = rest.rows.is_empty() || noise.is_in_order();
        if let (None, true) = (&made, told) {
            self.accept(site, part, &noise);
        } else {
            let index = self.suspect(site, (&rest, part), &noise, None, None);
            if let Some(found) = made {
                let gap = self.is_over_span(site).then_some(&self.gap);
                let at = (site, self.spans.forward());
                let Made { id, name, words } = accuse_special((&self.healed, gap), at, part, &found);
                // How much of a tensor without a number it explains nobody can say.
                let accused = Accused { explained: 0.0, ..Accused::of_label(id, &name, words) };
                let finding = &mut self.findings[index];
                finding.suspects.insert(0, accused);
                finding.scene = None;
                let first = finding.tokens.start;
                let odd = part.rows.iter().filter(|row| rest.rows.binary_search(row).is_err());
                finding.rows.extend(odd.map(|row| first + row));
                finding.rows.sort_unstable();
                finding.rows.dedup();
                finding.nonfinite = Some(NonFinite { rest_is_right: told, ..found });
            }
            look.finding = Some(index);
        }
        look.noise = Some(noise);
    }

    /// Goes on with what attention gives where tokens see pads; where that is seen first, it is a finding.
    pub(super) fn take_padded(&mut self, site: Site, part: &Part, precision: Precision, seen: Seen) -> Option<usize> {
        let Seen::First(weight) = seen else {
            self.go_on_with(site, part);
            self.ground(site, part);
            return None;
        };
        let measured = self.healed.measure(site, part, self.terms(site, precision));
        let noise = Noise { local_error: f64::from(weight), score: f64::INFINITY, ..measured };
        let index = self.note(site, part, &noise, None);
        let name = self.model.graph.key(site, self.spans.forward());
        let finding = &mut self.findings[index];
        (finding.kind, finding.scene) = (Kind::Wrong, None);
        finding.suspects = vec![accused(self.dump.pads(), weight, &name)];
        self.go_on_with(site, part);
        self.ground(site, part);
        Some(index)
    }
}
