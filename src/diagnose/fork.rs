//! Forks of a trail: what is open, and how what follows decides it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::earlier::remember_inputs;
use super::equivalent::{Pairs, is_query_or_key, reordered};
use super::finding::{Finding, Harmless, Kind};
use super::forced::Forced;
use super::gap::Gap;
use super::label::{is_value_of, row_order};
use super::noise::{Expected, Noise};
use super::part::Part;
use super::precision::Precision;
use super::repeated::{again, narrow};
use super::span::layer_order;
use super::special::other_mask;
use super::suspects::scene::Scene;
use super::suspects::search::{Accused, find};
use super::trail::Trail;
use crate::engine::{Role, Site};

/// Two ways of going on.
#[derive(Debug)]
pub(super) struct Fork {
    /// Goes on with the dump's values.
    pub(super) followed: Forced,
    /// What lies behind the last residual stream in that.
    pub(super) gap: Gap,
    /// The tensors in question, with the findings they are.
    pub(super) open: Vec<(Site, Part, usize)>,
}

/// Findings over spans whose causes are searched for one by one: there may be several mistakes.
const SCENES: usize = 12;

/// Spans that must speak for an arithmetic: one alone could as well hold a mistake of that size.
const ENOUGH_SPANS: usize = 3;

impl Trail {
    /// Nothing follows any more: what is still open is decided by what is known.
    pub fn finish(&mut self) {
        if let Some(fork) = self.fork.take() {
            for (_, _, index) in fork.open {
                let finding = &mut self.findings[index];
                let is_another = finding.label.is_some() || finding.row_order.is_some();
                finding.kind = match (finding.harmless, is_another) {
                    // A wrong weight is off in the same way: only what reads it could tell.
                    (Some(Harmless::Folded), _) => Kind::Unsettled,
                    (Some(_), _) => Kind::Equivalent,
                    (None, true) => Kind::Mislabelled,
                    (None, false) => Kind::Wrong,
                };
            }
        }
        // Numbers beyond f16's range overflow only where f16 is computed in: nothing more has to speak for it.
        let overflows = |finding: &Finding| finding.suspects.iter().any(|suspect| suspect.id == "overflow_f16");
        if self.findings.iter().any(overflows) {
            self.presumed = None;
        }
        let coarse = self.coarse.finding.filter(|_| !self.coarse.is_sure());
        let presumed = self.presumed.filter(|(_, spans)| *spans < ENOUGH_SPANS).map(|(index, _)| index);
        for index in coarse.into_iter().chain(presumed) {
            self.findings[index].kind = Kind::Unsettled;
        }
    }

    /// Past the scores, the order of the channels of queries and keys has shown or never will.
    pub(super) fn forget_harmless(&mut self, site: Site) {
        let graph = &self.model.graph;
        let past = match graph[site].layer {
            Some(layer) => graph.in_layer(layer, Role::Scores).is_some_and(|scores| site >= scores),
            None => layer_order(site, graph) > 0,
        };
        if self.is_open() && past && self.is_harmless() && self.is_independent() {
            self.settle(false);
        }
    }

    /// Decides what is open: the dump's engine went on with the dump's values, or with the right ones.
    pub(super) fn settle(&mut self, went_on_with_the_dump: bool) {
        let Some(fork) = self.fork.take() else { return };
        let mut told_later = Vec::new();
        for (_, _, index) in &fork.open {
            let finding = &mut self.findings[*index];
            let order = |site| layer_order(site, &self.model.graph);
            // A value that only a later op can have made is right under a wrong name, whatever followed from it.
            let ahead = finding.label.is_some_and(|label| order(label) > order(finding.site));
            finding.kind = match (went_on_with_the_dump && !ahead, finding.harmless) {
                (true, _) if finding.follows => Kind::Equivalent,
                (true, _) => Kind::Wrong,
                (false, Some(_)) => Kind::Equivalent,
                (false, None) => Kind::Mislabelled,
            };
            match (finding.kind, finding.harmless) {
                // Nothing is rotated at position 0, and one key has all the attention: whether a layout or a scale is
                // harmless, later forwards tell.
                (Kind::Equivalent, Some(Harmless::Permuted(_) | Harmless::Folded)) if self.ends[finding.step] == 1 => {}
                // Nothing is searched for: one that is not harmless may still come.
                (Kind::Equivalent, _) => finding.scene = None,
                (Kind::Wrong, Some(Harmless::Permuted(_) | Harmless::Folded)) => {
                    told_later.push((finding.site, finding.harmless));
                }
                _ => {}
            }
        }
        let first = self.findings.iter_mut().filter(|finding| self.ends[finding.step] == 1);
        for finding in first.filter(|finding| told_later.contains(&(finding.site, finding.harmless))) {
            finding.kind = Kind::Wrong;
        }
        if went_on_with_the_dump {
            let arithmetic = self.healed.arithmetic.clone();
            self.healed = fork.followed;
            self.gap = fork.gap;
            self.healed.arithmetic = arithmetic;
            self.exact_spans.insert(self.phase());
        }
    }

    /// The activation before `site`, of the same shape, whose value `part` has.
    fn recognise(&self, site: Site, part: &Part) -> Option<Site> {
        let is = |known, expected: Expected| is_value_of(known, &self.healed, part, self.typical, expected);
        self.recent.find(site, &self.model.graph, is)
    }

    /// Whether what is open has the value of `site`, which has just been computed.
    pub(super) fn recognise_open(&mut self, site: Site) {
        let graph = &self.model.graph;
        for (open, part, index) in self.fork.iter().flat_map(|fork| &fork.open) {
            let finding = &mut self.findings[*index];
            let alike = graph[*open].axes == graph[site].axes && finding.step == self.spans.forward();
            let unknown = finding.label.is_none() && finding.harmless.is_none();
            if alike && unknown && is_value_of(site, &self.healed, part, self.typical, self.healed.expected()) {
                finding.label = Some(site);
            }
        }
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

    pub(super) fn note(&mut self, site: Site, part: &Part, noise: &Noise, harmless: Option<Harmless>) -> usize {
        let index = self.findings.len();
        let reach = self.spans.reach(site, &self.model.graph);
        let first = self.healed.first_position();
        // Of a tensor whose finite rows are right, or that has none, nothing is searched for.
        let told = noise.is_in_order() || part.rows.is_empty();
        let another = harmless.is_none() && !told;
        let label = if another { self.recognise(site, part) } else { None };
        let is_last = another && self.model.graph.tail().is_some_and(|tail| site.index() >= tail);
        let row_order =
            is_last.then(|| row_order(part, self.exact().view(), &self.model.graph[site], noise.floor)).flatten();
        let mut scene = None;
        let mut suspects = Vec::new();
        match harmless {
            None if told || row_order.is_some() => {}
            None => {
                let here = self.scene(site, part);
                let exact = reach.ops == 0;
                if exact {
                    let several = |finding: &&mut Finding| finding.site == site && finding.suspects.len() > 1;
                    if let Some(first) = self.findings.iter_mut().find(several) {
                        narrow(&mut first.suspects, &here);
                    }
                    suspects = self.accuse(&here);
                }
                let unknown = suspects.iter().all(|suspect| suspect.edit.is_none());
                let kept = if exact { !self.has_scene(site) } else { self.scenes_over_spans() < SCENES };
                scene = (unknown && kept).then(|| Arc::new(here));
            }
            Some(Harmless::Permuted(_) | Harmless::Unmasked | Harmless::Folded | Harmless::CoarseWeights)
                if reach.ops == 0 =>
            {
                scene = (!self.has_scene(site)).then(|| Arc::new(self.scene(site, part)));
            }
            // It is searched for should what is presumed be refuted.
            Some(Harmless::LowPrecision) => scene = Some(Arc::new(self.scene(site, part))),
            _ => {}
        }
        self.findings.push(Finding {
            site,
            step: self.spans.forward(),
            kind: match harmless {
                None | Some(Harmless::Permuted(_) | Harmless::Unmasked | Harmless::Folded) => Kind::Open,
                Some(_) => Kind::Equivalent,
            },
            harmless,
            follows: false,
            label,
            row_order,
            noise: noise.clone(),
            nonfinite: None,
            mask: other_mask(site, &self.model.graph, first, part),
            rows: noise.rows.iter().map(|row| first + part.rows[*row]).collect(),
            instead: None,
            judged: part.rows.iter().map(|row| first + row).collect(),
            tokens: first..first + self.rows(site),
            last_good: reach.last_good,
            exact: reach.ops == 0,
            suspects,
            scene,
        });
        index
    }

    /// How many findings over spans have what the search of suspects needs.
    fn scenes_over_spans(&self) -> usize {
        self.findings.iter().filter(|finding| !finding.exact && finding.scene.is_some()).count()
    }

    /// Whether a finding in the same op of some layer has what the search of suspects needs.
    fn has_scene(&self, site: Site) -> bool {
        let class = |site| self.model.graph.class(site);
        self.findings.iter().any(|finding| class(finding.site) == class(site) && finding.scene.is_some())
    }

    /// What the search of suspects needs.
    pub(super) fn scene(&self, site: Site, part: &Part) -> Scene {
        let precision = Precision::detect(part.values.view()).unwrap_or(self.typical);
        let mut forced = self.healed.clone();
        remember_inputs(&self.dump, &self.ends, self.spans.forward(), site, &mut forced);
        // Queries and keys of another layout are looked at in ours: that is what runs are fed with, too.
        let ours = self.layout(site).map(|pairs| reordered(part, &self.model.graph[site], pairs));
        Scene {
            model: Arc::clone(&self.model),
            forced: Some(forced),
            site,
            step: self.spans.forward(),
            first: self.healed.first_position(),
            tokens: self.rows(site),
            right_until: self.right_until(site),
            part: Some(ours.unwrap_or_else(|| part.clone())),
            gap: self.is_over_span(site).then(|| self.gap.clone()),
            precision,
            terms: self.terms(site, precision),
            is_reference: self.is_reference,
        }
    }

    /// The end of the last forward in which the dump has an op as it should be.
    fn right_until(&self, site: Site) -> usize {
        let found = |step: usize| self.findings.iter().any(|finding| finding.site == site && finding.step == step);
        let right = |step: &usize| self.dump.planned(*step, site).is_some() && !found(*step);
        (0..self.spans.forward()).rev().find(right).map_or(0, |step| self.ends[step])
    }

    /// The layout that the queries or keys of this layer have been found to have.
    fn layout(&self, site: Site) -> Option<Pairs> {
        let graph = &self.model.graph;
        let read =
            |at: &Site| graph[*at].reads.first().map(|read| read.site()).filter(|at| is_query_or_key(*at, graph));
        let before = std::iter::successors(read(&site).filter(|_| is_query_or_key(site, graph)), read).last()?;
        let of_projection = |finding: &&Finding| finding.site == before && finding.step == self.spans.forward();
        self.findings.iter().rev().find(of_projection).and_then(|finding| match finding.harmless {
            Some(Harmless::Permuted(pairs)) => Some(pairs),
            _ => None,
        })
    }

    /// The mistakes that make a tensor. A mistake that is in one layer is likely in the others: it is tried first there.
    fn accuse(&mut self, scene: &Scene) -> Vec<Accused> {
        const SEARCHES: usize = 16;
        let peers = |site| self.model.graph.peers(site);
        let alike = |finding: &&Finding| peers(finding.site) == peers(scene.site) && !finding.suspects.is_empty();
        let known = self.findings.iter().rev().find(alike).map_or(&[][..], |finding| &finding.suspects);
        let again = again(known, scene);
        if !again.is_empty() {
            return again;
        }
        self.searches += 1;
        if self.searches > SEARCHES { Vec::new() } else { find(scene, &AtomicBool::new(false)) }
    }

    /// Opens a fork, or adds to the one that is open: of a tensor, the rows that are judged, and all of it. `right` is what
    /// it has in place of its own values if it is harmless, where that is no layout.
    pub(super) fn suspect(
        &mut self,
        site: Site,
        (judged, part): (&Part, &Part),
        noise: &Noise,
        harmless: Option<Harmless>,
        right: Option<Part>,
    ) -> usize {
        let index = self.note(site, judged, noise, harmless);
        let part = part.clone();
        let Fork { mut followed, mut gap, mut open } = self.fork.take().unwrap_or_else(|| Fork {
            followed: self.healed.clone(),
            gap: self.gap.clone(),
            open: Vec::new(),
        });
        if let Some(Harmless::Permuted(pairs)) = harmless
            && self.is_first_permuted_key(site, pairs, &open)
            && let Some(kept) = self.model.graph.cached().find(|kept| self.is_key_beside(*kept, site))
            && let Some((_, width)) = self.model.graph[kept].heads()
        {
            // Its keys of the forwards before are in its order, too: the first token's tell nothing, as it is not rotated.
            followed.reorder_cached(kept, &pairs.held(&self.model.graph[kept], width));
        }
        match harmless {
            Some(Harmless::Unmasked) => followed.force_unmasked(site, &part),
            _ => followed.force(site, &part),
        }
        gap.pass(site, &part, &followed);
        if let Some(harmless) = harmless {
            let right = match harmless {
                Harmless::Permuted(pairs) => reordered(&part, &self.model.graph[site], pairs),
                _ => right.unwrap_or_else(|| part.clone()),
            };
            self.healed.force(site, &right);
            self.ground(site, &right);
        } else {
            // Where the dump's own value is followed, the ops after it are run on dumped inputs, too.
            self.spans.presume(site, &part.rows, self.rows(site));
        }
        open.push((site, part, index));
        self.fork = Some(Fork { followed, gap, open });
        index
    }

    /// Whether `site` is the first key of its layer in this forward, and was in another order in the one before, which was
    /// harmless.
    fn is_first_permuted_key(&self, site: Site, pairs: Pairs, open: &[(Site, Part, usize)]) -> bool {
        let is_key = |other: Site| self.is_key_beside(other, site);
        let last = self.findings.iter().rev().find(|found| found.site == site && found.step < self.spans.forward());
        is_key(site)
            && !open.iter().any(|(other, ..)| is_key(*other))
            && last
                .is_some_and(|last| (last.kind, last.harmless) == (Kind::Equivalent, Some(Harmless::Permuted(pairs))))
    }

    /// Whether an activation is a key of the layer of `site`.
    fn is_key_beside(&self, other: Site, site: Site) -> bool {
        let (other, site) = (&self.model.graph[other], &self.model.graph[site]);
        other.layer == site.layer && other.role.is_some_and(|role| role != role.of_queries())
    }

    /// Whether a tensor does not depend on what is open.
    pub(super) fn is_independent(&self) -> bool {
        const ROUNDING: f64 = 1e-12;
        self.fork.as_ref().is_none_or(|fork| {
            let (a, b) = (fork.followed.exact(), self.healed.exact());
            let (mut apart, mut size) = (0.0, 0.0);
            for (a, b) in a.iter().zip(b).filter(|(a, b)| a != b) {
                apart += (a - b) * (a - b);
                size += b * b;
            }
            apart.is_finite() && apart <= ROUNDING * ROUNDING * size
        })
    }

    /// Whether all that is open could be harmless.
    pub(super) fn is_harmless(&self) -> bool {
        self.fork.iter().flat_map(|fork| &fork.open).all(|(_, _, index)| self.findings[*index].harmless.is_some())
    }

    /// Whether some of what is open is off by a factor for each channel, as the weights of another norm make it, too.
    pub(super) fn is_folded(&self) -> bool {
        let open = self.fork.iter().flat_map(|fork| &fork.open);
        open.into_iter().any(|(_, _, index)| self.findings[*index].harmless == Some(Harmless::Folded))
    }

    /// Whether tensors of one op stand under each other's names: all that is open has the value of a later activation, or
    /// has that of an earlier one, and `part` that of another one again.
    pub(super) fn is_relabelled(&self, site: Site, part: &Part) -> bool {
        let Some(fork) = &self.fork else { return false };
        let labels: Vec<Option<Site>> = fork.open.iter().map(|(_, _, index)| self.findings[*index].label).collect();
        let ahead = |(open, label): (&(Site, Part, usize), &Option<Site>)| label.is_some_and(|label| label > open.0);
        let another = || self.recognise(site, part).is_some_and(|label| !labels.contains(&Some(label)));
        labels.iter().all(Option::is_some) && (fork.open.iter().zip(&labels).all(ahead) || another())
    }

    /// Whether `part` has the bits of what is open.
    pub(super) fn is_repeated(&self, part: &Part) -> bool {
        self.fork.as_ref().is_some_and(|fork| fork.open.iter().any(|(_, open, _)| open.values == part.values))
    }

    /// The arithmetic that has been learnt holds in both branches.
    pub(super) fn share_arithmetic(&mut self, site: Site, precision: Precision) {
        if let Some(fork) = &mut self.fork {
            fork.followed.arithmetic.clone_from(&self.healed.arithmetic);
            fork.followed.redraw(site, precision);
        }
    }
}
