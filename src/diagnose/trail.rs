//! One dump, followed op by op: is each tensor what the dump's own inputs give?
//!
//! A tensor that is not opens a fork: in one branch the run goes on with the dump's value, in the other with the right
//! one ("healed"). The next dumped tensor that depends on it tells which of the two the dump's engine went on with. If it
//! went on with the dump's value, that value was really computed: a bug. If it went on with the right one, the tensor
//! is not what its name says: a wrong label or row, or another layout of the same.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::arithmetic::Arithmetic;
use super::equivalent::{Pairs, is_query_or_key, reordered};
use super::finding::{Finding, Harmless, Kind};
use super::forced::Forced;
use super::noise::{Expected, Noise, Terms, measure};
use super::part::Part;
use super::precision::Precision;
use super::span::Spans;
use crate::dump::{self, Dump};
use crate::engine::{Activation, Site, Value};
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
    /// What most of the dump's tensors were computed in.
    pub(super) typical: Precision,
    /// Goes on with the right values.
    pub(super) healed: Forced,
    fork: Option<Fork>,
    pub(super) spans: Spans,
    /// Where the last residual stream stands that was dumped, and what was dumped since.
    pub(super) anchor: (Forced, Vec<(Site, Part)>),
    /// Ops that have been in order with exact operands: their arithmetic is known.
    pub(super) exact_operands: HashSet<Activation>,
    /// Whether a span of several ops has been in order with exact operands.
    pub(super) exact_spans: bool,
    /// Ratios of error to noise of the same op in other layers.
    kin: HashMap<Activation, Vec<f64>>,
    recent: VecDeque<(Site, Value<f64>, Vec<Value<f32>>)>,
    /// The finding that stands or falls with an arithmetic that is only presumed, and how many spans speak for it.
    presumed: Option<(usize, usize)>,
    findings: Vec<Finding>,
}

/// Two ways of going on.
#[derive(Debug)]
struct Fork {
    /// Goes on with the dump's values.
    followed: Forced,
    /// The tensors in question, with the findings they are.
    open: Vec<(Site, Part, usize)>,
}

/// Activations kept to recognise a tensor under another's name: a block's worth.
const RECENT: usize = 12;

impl Trail {
    /// Stands before the first op of the prefill of `ids`.
    pub fn new(model: &Arc<Model>, dump: &Arc<Dump>, ids: &[u32]) -> Result<Self, dump::Error> {
        let start = Forced::new(model, ids);
        Ok(Self {
            typical: Precision::typical(dump)?,
            anchor: (start.clone(), Vec::new()),
            healed: start,
            model: Arc::clone(model),
            dump: Arc::clone(dump),
            fork: None,
            spans: Spans::default(),
            exact_operands: HashSet::new(),
            exact_spans: false,
            kin: HashMap::new(),
            recent: VecDeque::new(),
            presumed: None,
            findings: Vec::new(),
        })
    }

    /// Begins a decode step.
    pub fn begin_forward(&mut self, ids: &[u32]) {
        self.healed.begin_forward(ids);
        if let Some(fork) = &mut self.fork {
            fork.followed.begin_forward(ids);
        }
        self.spans.begin_forward();
        self.anchor = (self.healed.clone(), Vec::new());
        self.recent.clear();
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
        let Some(site) = self.healed.step_exact() else { return Ok(None) };
        let part = self.read(site)?;
        let precision = match &part {
            Some(part) => self.tell(site, part)?,
            None => None,
        };
        let computed_in = precision.unwrap_or(self.typical);
        self.healed.step_draws(computed_in);
        if let Some(fork) = &mut self.fork {
            fork.followed.step_exact();
            fork.followed.step_draws(computed_in);
        }
        self.recognise_open(site);
        let mut look = Look { part, precision, noise: None, finding: None };
        if let Some(part) = look.part.clone() {
            self.weigh(site, part, computed_in, &mut look);
        }
        self.remember(site);
        Ok(Some((site, look)))
    }

    /// Nothing follows any more: what is still open is decided by what is known.
    pub fn finish(&mut self) {
        if let Some(fork) = self.fork.take() {
            for (_, _, index) in fork.open {
                let finding = &mut self.findings[index];
                finding.kind = match (finding.harmless, finding.label) {
                    (Some(_), _) => Kind::Equivalent,
                    (None, Some(_)) => Kind::Mislabelled,
                    (None, None) => Kind::Wrong,
                };
            }
        }
        // One span alone could as well hold a mistake of that size.
        const ENOUGH_SPANS: usize = 3;
        if let Some((index, _)) = self.presumed.filter(|(_, spans)| *spans < ENOUGH_SPANS) {
            self.findings[index].kind = Kind::Unsettled;
        }
    }

    fn read(&self, site: Site) -> Result<Option<Part>, dump::Error> {
        let forward = self.spans.forward();
        let Some(planned) = self.dump.planned(forward, site) else { return Ok(None) };
        // Only where shapes leave a choice do values have to decide.
        let ours = (planned.is_ambiguous() || planned.is_partial()).then(|| self.healed.exact().mapv(|v| v as f32));
        let aligned = self.dump.read(forward, site, ours.as_ref().map(|ours| ours.view().into_dyn()))?;
        let standard = |values: ndarray::ArrayD<f32>| {
            if values.is_standard_layout() { values } else { values.as_standard_layout().into_owned() }
        };
        Ok(aligned.map(|a| Part { values: standard(a.values), rows: a.rows, first_key: a.first_key }))
    }

    fn terms(&self, site: Site, precision: Precision) -> Terms {
        let config = &self.model.config;
        let reach = self.spans.reach(site, config);
        // One op is as exact in one layer as in the others: among PyTorch's, none of 12 to 64 tokens has more than 2.0
        // times the largest ratio of error to noise of the layers before it.
        let kin = self.kin.get(&site.activation).filter(|kin| kin.len() >= 2 && reach.ops == 0);
        Terms {
            limit: reach.limit(),
            kin: kin.map(|kin| 3.5 * kin.iter().copied().fold(0.2, f64::max)),
            least: precision.least(site, config, self.healed.exact().shape()),
        }
    }

    fn measure(&self, site: Site, part: &Part, expected: Expected, terms: Terms) -> Noise {
        measure(site, &self.model.config, self.healed.first_position(), part, expected, terms)
    }

    fn weigh(&mut self, site: Site, part: Part, precision: Precision, look: &mut Look) {
        self.forget_harmless(site);
        let terms = self.terms(site, precision);
        let mut noise = self.measure(site, &part, self.healed.expected(), terms);
        let mut permuted = None;
        if let Some(fork) = self.fork.as_ref().filter(|_| !self.is_independent()) {
            // It depends on what is open: only one of the branches can be right, unless it hardly matters.
            permuted = self.permuted(site, &part, &noise, terms);
            let healed = permuted.as_ref().map_or(noise.score, |(_, noise)| noise.score);
            let followed = self.measure(site, &part, fork.followed.expected(), terms).score;
            match (healed <= 1.0, followed <= 1.0) {
                (true, true) => {}
                // A layout that could be harmless is wrong only if what follows shows it.
                (false, false) => self.settle(followed <= 2.0 * healed && !self.is_harmless()),
                (_, followed) => self.settle(followed),
            }
            if self.fork.is_none() {
                noise = self.measure(site, &part, self.healed.expected(), terms);
                permuted = None;
            }
        }
        if noise.is_in_order() {
            self.know_exact(site, &noise);
        } else if let Some(emulated) = self.adopt(site, &part, precision, terms) {
            noise = emulated;
        } else if let Some(found) = self.adopt_permuted(site, &part, precision, terms) {
            permuted = Some(found);
        }
        let permuted = permuted.or_else(|| self.permuted(site, &part, &noise, terms));
        let harmless = match &permuted {
            Some((pairs, _)) => Some(Harmless::Permuted(*pairs)),
            None => (noise.is_in_order() && self.is_unmasked(site, &part)).then_some(Harmless::Unmasked),
        };
        if noise.is_in_order() && harmless.is_none() {
            self.accept(site, &part, &noise);
            let presumed = self.presumed.map(|(index, _)| index);
            let here = |index: &usize| {
                let finding = &self.findings[*index];
                finding.site == site && finding.step == self.spans.forward()
            };
            look.finding = presumed.filter(here);
            look.noise = Some(noise);
        } else {
            look.finding = Some(self.suspect(site, part, &noise, harmless));
            look.noise = Some(permuted.map_or(noise, |(_, noise)| noise));
        }
    }

    /// Goes on with the dump's value, which is what its inputs give.
    fn accept(&mut self, site: Site, part: &Part, noise: &Noise) {
        self.healed.force(site, part);
        if let Some(fork) = &mut self.fork {
            fork.followed.force(site, part);
        }
        if self.spans.reach(site, &self.model.config).ops == 0 && noise.local_error > 0.0 {
            self.kin.entry(site.activation).or_default().push(noise.ratio());
        }
        self.ground(site, part);
    }

    /// Past the scores, the order of the channels of queries and keys has shown or never will.
    fn forget_harmless(&mut self, site: Site) {
        if self.is_open() && site.activation >= Activation::Scores && self.is_harmless() && self.is_independent() {
            self.settle(false);
        }
    }

    fn ground(&mut self, site: Site, part: &Part) {
        let whole = part.rows.len() == self.rows(site);
        self.spans.ground(site, whole);
        if whole && matches!(site.activation, Activation::EmbedTokens | Activation::Block) {
            self.anchor = (self.healed.clone(), Vec::new());
        } else {
            self.anchor.1.push((site, part.clone()));
        }
    }

    fn rows(&self, site: Site) -> usize {
        let axes = site.activation.row().axes;
        let at = axes.iter().position(|axis| axis.is_row()).expect("every activation has a row axis");
        self.healed.exact().shape()[at]
    }

    /// Decides what is open: the dump's engine went on with the dump's values, or with the right ones.
    fn settle(&mut self, went_on_with_the_dump: bool) {
        let Some(fork) = self.fork.take() else { return };
        for (_, _, index) in &fork.open {
            let finding = &mut self.findings[*index];
            let order = |site| super::span::order(site, &self.model.config);
            // A value that only a later op can have made is right under a wrong name, whatever followed from it.
            let ahead = finding.label.is_some_and(|label| order(label).0 > order(finding.site).0);
            finding.kind = match (went_on_with_the_dump && !ahead, finding.harmless) {
                (true, _) => Kind::Wrong,
                (false, Some(_)) => Kind::Equivalent,
                (false, None) => Kind::Mislabelled,
            };
        }
        if went_on_with_the_dump {
            let arithmetic = self.healed.arithmetic.clone();
            self.healed = fork.followed;
            self.healed.arithmetic = arithmetic;
            self.exact_spans = true;
        }
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
            self.exact_spans = true;
        }
    }

    fn note(&mut self, site: Site, part: &Part, noise: &Noise, harmless: Option<Harmless>) -> usize {
        let index = self.findings.len();
        let reach = self.spans.reach(site, &self.model.config);
        let first = self.healed.first_position();
        self.findings.push(Finding {
            site,
            step: self.spans.forward(),
            kind: if harmless == Some(Harmless::LowPrecision) { Kind::Equivalent } else { Kind::Open },
            harmless,
            label: if harmless.is_none() { self.recognise(site, part) } else { None },
            noise: noise.clone(),
            rows: noise.rows.iter().map(|row| first + part.rows[*row]).collect(),
            tokens: first..first + self.rows(site),
            last_good: reach.last_good,
            exact: reach.ops == 0,
        });
        index
    }

    /// Opens a fork, or adds to the one that is open.
    fn suspect(&mut self, site: Site, part: Part, noise: &Noise, harmless: Option<Harmless>) -> usize {
        let index = self.note(site, &part, noise, harmless);
        let (mut followed, mut open) =
            self.fork.take().map_or_else(|| (self.healed.clone(), Vec::new()), |f| (f.followed, f.open));
        match harmless {
            Some(Harmless::Unmasked) => followed.force_unmasked(site, &part),
            _ => followed.force(site, &part),
        }
        if let Some(harmless) = harmless {
            let right = match harmless {
                Harmless::Permuted(pairs) => reordered(&part, &self.model.config, pairs),
                Harmless::Unmasked | Harmless::LowPrecision => part.clone(),
            };
            self.healed.force(site, &right);
            self.ground(site, &right);
        } else {
            // Where the dump's own value is followed, the ops after it are run on dumped inputs, too.
            self.spans.presume(site, part.rows.len() == self.rows(site));
        }
        open.push((site, part, index));
        self.fork = Some(Fork { followed, open });
        index
    }

    /// Whether the channels of a query or key are in order when they are taken in another order.
    fn permuted(&self, site: Site, part: &Part, noise: &Noise, terms: Terms) -> Option<(Pairs, Noise)> {
        if noise.is_in_order() || !is_query_or_key(site) {
            return None;
        }
        Pairs::ALL.into_iter().find_map(|pairs| {
            let part = reordered(part, &self.model.config, pairs);
            let noise = self.measure(site, &part, self.healed.expected(), terms);
            noise.is_in_order().then_some((pairs, noise))
        })
    }

    /// The same, where the product has hidden arithmetic, too.
    fn adopt_permuted(
        &mut self,
        site: Site,
        part: &Part,
        precision: Precision,
        terms: Terms,
    ) -> Option<(Pairs, Noise)> {
        if !is_query_or_key(site) {
            return None;
        }
        Pairs::ALL.into_iter().find_map(|pairs| {
            let part = reordered(part, &self.model.config, pairs);
            Some((pairs, self.adopt(site, &part, precision, terms)?))
        })
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
    fn is_harmless(&self) -> bool {
        self.fork.iter().flat_map(|fork| &fork.open).all(|(_, _, index)| self.findings[*index].harmless.is_some())
    }

    /// The arithmetic that has been learnt holds in both branches.
    pub(super) fn share_arithmetic(&mut self, site: Site, precision: Precision) {
        if let Some(fork) = &mut self.fork {
            fork.followed.arithmetic.clone_from(&self.healed.arithmetic);
            fork.followed.redraw(site, precision);
        }
    }

    /// Whether scores have ordinary numbers where the mask hides: those of before the mask, or the mask is missing.
    fn is_unmasked(&self, site: Site, part: &Part) -> bool {
        const HIDDEN: f32 = -9e3;
        let mask = crate::ops::Mask {
            first: self.healed.first_position(),
            window: self.model.config.sliding_window[site.layer],
        };
        site.activation == Activation::Scores
            && part.values.outer_iter().any(|head| {
                head.outer_iter().zip(&part.rows).any(|(keys, row)| {
                    let seen =
                        |(column, value): (usize, &f32)| *value > HIDDEN && !mask.allows(*row, column + part.first_key);
                    keys.iter().enumerate().any(seen)
                })
            })
    }

    fn remember(&mut self, site: Site) {
        let expected = self.healed.expected();
        let entry = (site, expected.exact.clone(), expected.draws.to_vec());
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(entry);
    }

    /// The activation before `site`, of the same shape, whose value `part` has.
    fn recognise(&self, site: Site, part: &Part) -> Option<Site> {
        let axes = site.activation.row().axes;
        let alike = self.recent.iter().rev().filter(|(known, _, _)| known.activation.row().axes == axes);
        let mut alike = alike.map(|(known, exact, draws)| (*known, Expected { exact, draws }));
        alike.find(|(known, expected)| self.is_value_of(*known, part, *expected)).map(|(known, _)| known)
    }

    /// Whether what is open has the value of `site`, which has just been computed.
    fn recognise_open(&mut self, site: Site) {
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

    fn is_value_of(&self, site: Site, part: &Part, expected: Expected) -> bool {
        let precision = Precision::detect(part.values.view()).unwrap_or(self.typical);
        let terms =
            Terms { limit: 4.0, kin: None, least: precision.least(site, &self.model.config, expected.exact.shape()) };
        expected.exact.ndim() == part.values.ndim() && self.measure(site, part, expected, terms).is_in_order()
    }
}
