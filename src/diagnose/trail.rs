//! One dump, followed op by op: is each tensor what the dump's own inputs give?
//!
//! A tensor that is not opens a fork: in one branch the run goes on with the dump's value, in the other with the right
//! one ("healed"). The next dumped tensor that depends on it tells which of the two the dump's engine went on with. If it
//! went on with the dump's value, that value was really computed: a bug. If it went on with the right one, the tensor
//! is not what its name says: a wrong label or row, or another layout of the same.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::arithmetic::Arithmetic;
use super::coarse::Coarse;
use super::emulate::Phase;
use super::equivalent::{in_other_order, is_unmasked};
use super::fewer::Fewer;
use super::finding::{Finding, Harmless};
use super::folded;
use super::forced::Forced;
use super::fork::Fork;
use super::gap::Gap;
use super::label::Recent;
use super::noise::{Noise, Terms};
use super::padding::Padding;
use super::part::Part;
use super::precision::Precision;
use super::span::Spans;
use super::special::{note_special, special};
use super::tie::{Choices, Tie};
use crate::dump::{self, Dump};
use crate::engine::{Class, Keyed, Site, Value};
use crate::model::Model;

/// What a dump has of one op.
#[derive(Clone, Debug)]
pub struct Look {
    /// Its tensor; `None` when the dump has none.
    pub part: Option<Part>,
    /// What its bits tell; `None` when they tell nothing.
    pub precision: Option<Precision>,
    /// Its distance from what its inputs give.
    pub noise: Option<Noise>,
    /// Which of the trail's findings it is.
    pub finding: Option<usize>,
}

/// A dump being followed.
#[derive(Debug)]
pub struct Trail {
    pub(super) model: Arc<Model>,
    pub(super) dump: Arc<Dump>,
    /// Whether it is the reference.
    pub(super) is_reference: bool,
    /// What most of the dump's tensors were computed in.
    pub(super) typical: Precision,
    /// Goes on with the right values.
    pub(super) healed: Forced,
    pub(super) fork: Option<Fork>,
    pub(super) spans: Spans,
    /// What lies behind the last residual stream that was dumped.
    pub(super) gap: Gap,
    /// Ops that have been in order with exact operands: their arithmetic is known.
    pub(super) exact_operands: HashSet<(Class, Phase)>,
    /// When a span of several ops has been in order with exact operands, but for what the cache keeps.
    pub(super) exact_spans: HashSet<Phase>,
    /// Ratios of error to noise of the same kernel before.
    pub(super) kin: HashMap<Class, Vec<f64>>,
    pub(super) recent: Recent,
    /// The finding that stands or falls with an arithmetic that is only presumed, and how many spans speak for it.
    pub(super) presumed: Option<(usize, usize)>,
    /// What the bits of its tensors told.
    pub(super) told: BTreeMap<Site, Precision>,
    /// What speaks for weights of fewer bits.
    pub(super) coarse: Coarse,
    /// The weights that its engine has, where these are the model's in a known format of fewer bits.
    pub(super) fewer: Option<Fewer>,
    /// What ops in the gap have chosen that were not dumped.
    pub(super) choices: Choices,
    pub(super) findings: Vec<Finding>,
    pub(super) padding: Padding,
    /// Tensors read, and those of them that are zero everywhere.
    pub(super) read: usize,
    pub(super) blank: usize,
    /// What is said of the first value that is not finite, where the model's own weights make it.
    pub(super) specials: Option<String>,
    /// How often suspects have been searched for.
    pub(super) searches: usize,
    /// Positions behind the last token of each forward.
    pub(super) ends: Vec<usize>,
}

impl Trail {
    /// Stands before the first op of the prefill of `ids`.
    pub fn new(model: &Arc<Model>, dump: &Arc<Dump>, ids: &[u32], is_reference: bool) -> Result<Self, dump::Error> {
        let typical = Precision::typical(dump)?;
        let start = Forced::new(model, ids, typical);
        Ok(Self {
            typical,
            is_reference,
            gap: Gap::behind(start.clone()),
            healed: start,
            model: Arc::clone(model),
            dump: Arc::clone(dump),
            fork: None,
            spans: Spans::default(),
            exact_operands: HashSet::new(),
            exact_spans: HashSet::new(),
            kin: HashMap::new(),
            recent: Recent::default(),
            presumed: None,
            told: BTreeMap::new(),
            coarse: Coarse::default(),
            fewer: None,
            choices: Choices::default(),
            findings: Vec::new(),
            padding: Padding::of(dump),
            read: 0,
            blank: 0,
            specials: None,
            searches: 0,
            ends: vec![ids.len()],
        })
    }

    /// Begins a decode step.
    pub fn begin_forward(&mut self, ids: &[u32]) {
        self.healed.begin_forward(ids);
        if let Some(fork) = &mut self.fork {
            fork.followed.begin_forward(ids);
            fork.gap = Gap::behind(fork.followed.clone());
        }
        self.spans.begin_forward();
        self.ends.push(self.ends.last().map_or(0, |end| end + ids.len()));
        self.gap = Gap::behind(self.healed.clone());
        self.choices = Choices::default();
        self.recent = Recent::default();
    }

    /// What most of its tensors were computed in.
    pub fn precision(&self) -> Precision {
        self.typical
    }

    /// What its engine does to the operands of its products.
    pub fn arithmetic(&self) -> &Arithmetic {
        &self.healed.arithmetic
    }

    /// What has been found so far.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Whether the last findings wait for what follows.
    pub fn is_open(&self) -> bool {
        self.fork.is_some()
    }

    /// What the op computed last gives in f64, on the dump's inputs.
    pub fn exact(&self) -> &Value<f64> {
        self.healed.exact()
    }

    /// Follows the dump by one op.
    pub fn step(&mut self) -> Result<Option<(Site, Look)>, dump::Error> {
        if self.healed.next().is_some_and(|next| self.model.graph.is_head(next)) {
            // Logits are the largest of all: what no later op reads makes room for them.
            self.recent = Recent::default();
            self.healed.leave_layer();
            if let Some(fork) = &mut self.fork {
                fork.followed.leave_layer();
            }
        }
        let Some(site) = self.healed.step_exact() else { return Ok(None) };
        let part = self.part(site)?;
        if let Some(part) = &part {
            self.read += 1;
            self.blank += usize::from(part.values.iter().all(|value| *value == 0.0));
        }
        let precision = part.as_ref().and_then(|part| self.tell(site, part));
        let computed_in = precision.unwrap_or(self.typical);
        // Rows of tables are copies: their bits are those of the weights, unless they tell something.
        let is_copy = self.model.graph.is_copy(site);
        self.told.extend(precision.map(|precision| (site, precision)));
        if part.is_some() && (precision.is_some() || !is_copy) {
            for forced in std::iter::once(&mut self.healed).chain(self.fork.as_mut().map(|fork| &mut fork.followed)) {
                forced.stored.tell(site, computed_in);
            }
        }
        self.healed.step_draws(computed_in);
        if let Some(fork) = &mut self.fork {
            fork.followed.step_exact();
            fork.followed.step_draws(computed_in);
        }
        let ties = self.settle_choices(site, part.as_ref(), computed_in);
        self.recognise_open(site);
        let mut look = Look { part, precision, noise: None, finding: None };
        if let Some(part) = look.part.take() {
            self.spans.ask(&part.rows);
            match self.padding.look(&self.dump, &self.model.graph, self.spans.forward(), site)? {
                Some(seen) => look.finding = self.take_padded(site, &part, computed_in, seen),
                None => self.weigh(site, &part, computed_in, &ties, &mut look),
            }
            look.part = Some(part);
        }
        self.recent.remember(site, &self.healed);
        Ok(Some((site, look)))
    }

    fn part(&self, site: Site) -> Result<Option<Part>, dump::Error> {
        let forward = self.spans.forward();
        let Some(planned) = self.dump.planned(forward, site) else { return Ok(None) };
        // Only where shapes leave a choice do values have to decide.
        let ours = (planned.is_ambiguous() || planned.is_partial()).then(|| self.healed.exact().mapv(|v| v as f32));
        let aligned = self.dump.read(forward, site, ours.as_ref().map(|ours| ours.view().into_dyn()))?;
        let part = aligned.map(|aligned| aligned.part);
        Ok(part.filter(|part| !self.padding.is_rotated_elsewhere(&self.model.graph, site, part, self.healed.exact())))
    }

    pub(super) fn terms(&self, site: Site, precision: Precision) -> Terms {
        let graph = &self.model.graph;
        let reach = self.spans.reach(site, graph);
        // One op is as exact in one layer as in the others: among PyTorch's, none of 12 to 64 tokens has more than 2.0
        // times the largest ratio of error to noise of the layers before it; but for probabilities, of which few make all noise.
        let is_even = graph[site].op.facts().keyed != Keyed::Probs;
        let kin = self.kin.get(&graph.peers(site)).filter(|kin| kin.len() >= 2 && reach.ops == 0 && is_even);
        let kin = kin.map(|kin| 3.5 * kin.iter().copied().fold(0.2, f64::max));
        Terms { kin, ..Terms::new(reach.limit(), precision, &graph[site], self.healed.exact().shape()) }
    }

    /// How far `part` is from what the dump's own inputs give.
    fn measure(&self, site: Site, part: &Part, precision: Precision, terms: Terms) -> Noise {
        let noise = self.healed.measure(site, part, terms);
        if noise.is_in_order() || !self.is_over_span(site) {
            return noise;
        }
        // The engine may have had more bits of what lies before the span, and on the way, than the dump has.
        let unrounded = self.gap.unrounded(site, &[], precision);
        let terms = Terms { kin: None, ..terms };
        if unrounded.is_empty() { noise } else { self.healed.measure_beside(&unrounded, site, part, terms) }
    }

    /// `part` without the factors of its channels, if these explain nearly all of what is out of order.
    fn unfolded(&self, site: Site, part: &Part, noise: &Noise, terms: Terms) -> Option<Part> {
        if noise.is_in_order() {
            return None;
        }
        let (graph, exact) = (&self.model.graph, self.healed.exact());
        let folded = if self.is_over_span(site) { None } else { folded::unfolded(&graph[site], part, exact) };
        let unfolded = folded.or_else(|| folded::unscaled(graph, site, part, exact))?;
        let without = self.healed.measure(site, &unfolded, terms);
        // Any factors fit the tensor better than none.
        (without.is_in_order() && without.local_error <= 0.1 * noise.local_error).then_some(unfolded)
    }

    fn weigh(&mut self, site: Site, part: &Part, precision: Precision, ties: &[Tie], look: &mut Look) {
        self.forget_harmless(site);
        let (model, terms) = (Arc::clone(&self.model), self.terms(site, precision));
        let graph = &model.graph;
        let mut noise = self.measure(site, part, precision, terms);
        let in_order =
            |healed: &Forced, part: &Part| Some(healed.measure(site, part, terms)).filter(Noise::is_in_order);
        let permuted_in = |healed: &Forced, noise: &Noise| {
            let other = || in_other_order(site, graph, part, |part| in_order(healed, part));
            if noise.is_in_order() { None } else { other() }
        };
        let (mut permuted, mut follows) = (None, false);
        if let Some(fork) = self.fork.as_ref().filter(|_| !self.is_independent()) {
            // It depends on what is open: only one of the branches can be right, unless it hardly matters.
            permuted = permuted_in(&self.healed, &noise);
            let healed = permuted.as_ref().map_or(noise.score, |(_, noise)| noise.score);
            let followed = fork.followed.measure(site, part, terms).score;
            match (healed <= 1.0, followed <= 1.0) {
                (true, true) => follows = true,
                // A layout that could be harmless is wrong only if what follows shows it.
                (false, false) if self.is_relabelled(site, part) => self.settle(false),
                // The same tensor once more: what follows tells about both.
                (false, false) if self.is_repeated(part) => {}
                (false, false) => {
                    let layout = self.is_harmless() && !self.is_folded();
                    self.settle(followed <= 2.0 * healed && !layout);
                }
                (_, followed) => self.settle(followed),
            }
            if self.fork.is_none() {
                noise = self.healed.measure(site, part, terms);
                permuted = None;
            }
        }
        let odd = if noise.unequal > 0 { special(&self.healed, site, part) } else { None };
        if let Some(special) = odd {
            self.weigh_special(site, part, special, noise, (precision, terms), look);
            return;
        }
        if self.specials.is_none() {
            self.specials = note_special(&self.healed, site, part);
        }
        let mut tied = (site, ties.to_vec());
        if !noise.is_in_order()
            && let Some((better, at, ties)) = self.other_choice(site, part, precision, terms, &noise)
        {
            (noise, tied) = (better, (at, ties));
        }
        if !noise.is_in_order() && self.is_before_norm(site, part) {
            let unnormed =
                self.healed.measure(site, part, Terms { limit: 3.0, kin: None, least: 0.0, least_element: 0.0 });
            look.finding = Some(self.note(site, part, &unnormed, Some(Harmless::Unnormed)));
            look.noise = Some(noise);
            return;
        }
        // A layout is looked for first: it costs less than arithmetic, and cannot be mistaken for it.
        permuted = permuted.or_else(|| permuted_in(&self.healed, &noise));
        if noise.is_in_order() {
            if noise.finite > 0 {
                self.know_exact(site, &noise);
            }
        } else if permuted.is_none() {
            if let Some(emulated) = self.adopt(site, part, precision, terms) {
                noise = emulated;
            } else {
                permuted = in_other_order(site, graph, part, |part| self.adopt(site, part, precision, terms));
            }
            if !noise.is_in_order() && permuted.is_none() {
                if let Some(coarse) = self.coarse(site, part, &noise) {
                    noise = coarse;
                } else {
                    let terms = self.terms(site, self.typical);
                    permuted = in_other_order(site, graph, part, |part| {
                        let noise = self.healed.measure(site, part, terms);
                        self.coarse(site, part, &noise)
                    });
                }
            }
        }
        let unfolded = if permuted.is_none() { self.unfolded(site, part, &noise, terms) } else { None };
        let harmless = match &permuted {
            Some((pairs, _)) => Some(Harmless::Permuted(*pairs)),
            None if unfolded.is_some() => Some(Harmless::Folded),
            None => (noise.is_in_order() && is_unmasked(site, graph, self.healed.first_position(), part))
                .then_some(Harmless::Unmasked),
        };
        if noise.is_in_order() && harmless.is_none() {
            self.accept(site, part, &noise);
            let presumed = self.presumed.map(|(index, _)| index).into_iter().chain(self.coarse.finding);
            let here = |index: &usize| {
                let finding = &self.findings[*index];
                finding.site == site && finding.step == self.spans.forward()
            };
            look.finding = presumed.into_iter().find(here);
            look.finding = look.finding.or_else(|| self.note_ties(tied.0, part, &noise, &tied.1));
            look.noise = Some(noise);
        } else {
            let index = self.suspect(site, (part, part), &noise, harmless, unfolded);
            self.findings[index].follows = follows;
            look.finding = Some(index);
            look.noise = Some(permuted.map_or(noise, |(_, noise)| noise));
        }
    }

    /// Goes on with the dump's value, which is what its inputs give.
    pub(super) fn accept(&mut self, site: Site, part: &Part, noise: &Noise) {
        if !self.is_over_span(site) && self.healed.stored.of(site) != Precision::F32 {
            let ours = &self.healed.expected().draws[0];
            let mut stored = self.healed.stored.clone();
            stored.weigh(&self.model.graph[site], part, ours);
            for forced in std::iter::once(&mut self.healed).chain(self.fork.as_mut().map(|fork| &mut fork.followed)) {
                forced.stored.clone_from(&stored);
            }
        }
        self.go_on_with(site, part);
        if !self.is_over_span(site) && noise.local_error > 0.0 {
            self.kin.entry(self.model.graph.peers(site)).or_default().push(noise.ratio());
        }
        self.ground(site, part);
    }

    /// Goes on with the dump's value; nothing reads what the model returns.
    pub(super) fn go_on_with(&mut self, site: Site, part: &Part) {
        if self.model.graph.output() != Some(site) {
            self.healed.force(site, part);
            if let Some(fork) = &mut self.fork {
                fork.followed.force(site, part);
            }
        }
    }

    pub(super) fn ground(&mut self, site: Site, part: &Part) {
        self.spans.ground(site, &part.rows, self.rows(site), &self.model.graph);
        if part.rows.len() == self.rows(site) && self.model.graph.is_stream(site) {
            self.choices = Choices::default();
        }
        self.gap.pass(site, part, &self.healed);
        if let Some(fork) = &mut self.fork {
            fork.gap.pass(site, part, &fork.followed);
        }
    }

    pub(super) fn rows(&self, site: Site) -> usize {
        self.healed.exact().shape()[self.model.graph[site].row_axis()]
    }
}
