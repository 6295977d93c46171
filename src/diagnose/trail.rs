//! One dump, followed op by op: is each tensor what the dump's own inputs give?
//!
//! A tensor that is not opens a fork: in one branch the run goes on with the dump's value, in the other with the right
//! one ("healed"). The next dumped tensor that depends on it tells which of the two the dump's engine went on with. If it
//! went on with the dump's value, that value was really computed: a bug. If it went on with the right one, the tensor
//! is not what its name says: a wrong label or row.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::equivalent::{Pairs, is_query_or_key, partner, reordered};
use super::finding::{Finding, Kind};
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
    /// Its channels stand in another order, and its partner's too.
    pub equivalent: Option<Pairs>,
    /// Which of the trail's findings it is.
    pub finding: Option<usize>,
}

/// A dump being followed.
#[derive(Debug)]
pub struct Trail {
    model: Arc<Model>,
    dump: Arc<Dump>,
    /// What most of the dump's tensors were computed in.
    typical: Precision,
    /// Goes on with the right values.
    healed: Forced,
    fork: Option<Fork>,
    spans: Spans,
    recent: VecDeque<(Site, Value<f64>, Vec<Value<f32>>)>,
    permuted: HashMap<Site, Pairs>,
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
        Ok(Self {
            typical: Precision::typical(dump)?,
            healed: Forced::new(model, ids),
            model: Arc::clone(model),
            dump: Arc::clone(dump),
            fork: None,
            spans: Spans::default(),
            recent: VecDeque::new(),
            permuted: HashMap::new(),
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
        self.recent.clear();
    }

    /// What most of its tensors were computed in.
    pub fn precision(&self) -> Precision {
        self.typical
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
        let precision = part.as_ref().and_then(|part| self.tell(site, part));
        let computed_in = precision.unwrap_or(self.typical);
        self.healed.step_draws(computed_in);
        if let Some(fork) = &mut self.fork {
            fork.followed.step_exact();
            fork.followed.step_draws(computed_in);
        }
        self.recognise_open(site);
        let mut look = Look { part, precision, noise: None, equivalent: None, finding: None };
        if let Some(part) = look.part.clone() {
            let terms = self.terms(site, computed_in);
            self.weigh(site, part, terms, &mut look);
        }
        self.remember(site);
        Ok(Some((site, look)))
    }

    /// Nothing follows any more: what is still open is decided by what is known.
    pub fn finish(&mut self) {
        if let Some(fork) = self.fork.take() {
            for (_, _, index) in fork.open {
                let finding = &mut self.findings[index];
                finding.kind = if finding.label.is_some() { Kind::Mislabelled } else { Kind::Wrong };
            }
        }
    }

    fn read(&self, site: Site) -> Result<Option<Part>, dump::Error> {
        let forward = self.spans.forward();
        let Some(planned) = self.dump.planned(forward, site) else { return Ok(None) };
        // Only where shapes leave a choice do values have to decide.
        let ours = (planned.is_ambiguous() || planned.is_partial()).then(|| self.healed.exact().mapv(|v| v as f32));
        let aligned = self.dump.read(forward, site, ours.as_ref().map(|ours| ours.view().into_dyn()))?;
        Ok(aligned.map(|a| Part { values: a.values, rows: a.rows, first_key: a.first_key }))
    }

    /// What the bits of a tensor tell. An embedding is a copy: its bits are those of the weights, and tell something only
    /// when the weights are finer.
    fn tell(&self, site: Site, part: &Part) -> Option<Precision> {
        let found = Precision::detect(part.values.view())?;
        let copied = site.activation == Activation::EmbedTokens
            && Precision::detect(self.healed.exact().mapv(|v| v as f32).view().into_dyn()) == Some(found);
        (!copied).then_some(found)
    }

    fn terms(&self, site: Site, precision: Precision) -> Terms {
        let config = &self.model.config;
        let limit = self.spans.reach(site, config).limit();
        Terms { limit, least: precision.least(site, config, self.healed.exact().shape()) }
    }

    fn measure(&self, site: Site, part: &Part, expected: Expected, terms: Terms) -> Noise {
        measure(site, &self.model.config, self.healed.first_position(), part, expected, terms)
    }

    fn weigh(&mut self, site: Site, part: Part, terms: Terms, look: &mut Look) {
        let healed = self.measure(site, &part, self.healed.expected(), terms);
        let followed = self.fork.as_ref().map(|fork| self.measure(site, &part, fork.followed.expected(), terms));
        // Where both branches expect the same, the tensor does not depend on what is open.
        let depends = self.fork.as_ref().is_some_and(|fork| fork.followed.exact() != self.healed.exact());
        let mut noise = healed.clone();
        if let Some(followed) = followed.filter(|_| depends) {
            if followed.score.min(healed.score) > 1.0 {
                self.settle(followed.score <= 2.0 * healed.score);
            } else if !(healed.is_in_order() && followed.is_in_order()) {
                self.settle(followed.is_in_order());
            }
            if self.fork.is_none() || followed.score < healed.score {
                noise = self.measure(site, &part, self.healed.expected(), terms);
            }
        }
        if noise.is_in_order() {
            self.accept(site, &part);
        } else if let Some((pairs, noise)) = self.permuted(site, &part, terms) {
            look.equivalent = Some(pairs);
            self.permuted.insert(site, pairs);
            self.accept(site, &reordered(&part, &self.model.config, pairs));
            look.noise = Some(noise);
            return;
        } else {
            look.finding = Some(self.suspect(site, part, &noise));
        }
        look.noise = Some(noise);
    }

    /// Goes on with the dump's value, which is what its inputs give.
    fn accept(&mut self, site: Site, part: &Part) {
        self.healed.force(site, part);
        if let Some(fork) = &mut self.fork {
            fork.followed.force(site, part);
        }
        self.spans.ground(site, part.rows.len() == self.rows(site));
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
            // A value that only a later op can have made is right under a wrong name, whatever followed from it.
            let ahead = finding.label.is_some_and(|label| label > finding.site && label.layer > finding.site.layer);
            finding.kind = if went_on_with_the_dump && !ahead { Kind::Wrong } else { Kind::Mislabelled };
        }
        if went_on_with_the_dump {
            self.healed = fork.followed;
        }
    }

    /// Opens a fork, or adds to the one that is open.
    fn suspect(&mut self, site: Site, part: Part, noise: &Noise) -> usize {
        let index = self.findings.len();
        let reach = self.spans.reach(site, &self.model.config);
        let first = self.healed.first_position();
        self.findings.push(Finding {
            site,
            step: self.spans.forward(),
            kind: Kind::Open,
            label: self.recognise(site, &part),
            noise: noise.clone(),
            rows: noise.rows.iter().map(|row| first + part.rows[*row]).collect(),
            tokens: first..first + self.rows(site),
            last_good: reach.last_good,
            exact: reach.ops == 0,
            crosses_layers: reach.crosses_layers,
        });
        let followed = self.fork.take().map_or_else(|| (self.healed.clone(), Vec::new()), |f| (f.followed, f.open));
        let (mut followed, mut open) = followed;
        followed.force(site, &part);
        open.push((site, part, index));
        self.fork = Some(Fork { followed, open });
        index
    }

    /// Whether the channels of a query or key are only in another order, and those of its partner too.
    fn permuted(&self, site: Site, part: &Part, terms: Terms) -> Option<(Pairs, Noise)> {
        if !is_query_or_key(site) {
            return None;
        }
        let config = &self.model.config;
        let found = Pairs::ALL.into_iter().find_map(|pairs| {
            let noise = self.measure(site, &reordered(part, config, pairs), self.healed.expected(), terms);
            noise.is_in_order().then_some((pairs, noise))
        })?;
        // Queries come first: they are believed until the keys say otherwise.
        let other = partner(site).and_then(|other| self.permuted.get(&other));
        let is_key = partner(site).is_some_and(|other| other < site);
        (!is_key || other == Some(&found.0) || !self.spans.is_grounded(partner(site)?)).then_some(found)
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
            if alike && finding.label.is_none() && self.is_value_of(site, part, self.healed.expected()) {
                found.push(*index);
            }
        }
        for index in found {
            self.findings[index].label = Some(site);
        }
    }

    fn is_value_of(&self, site: Site, part: &Part, expected: Expected) -> bool {
        let precision = Precision::detect(part.values.view()).unwrap_or(self.typical);
        let terms = Terms { limit: 4.0, least: precision.least(site, &self.model.config, expected.exact.shape()) };
        expected.exact.ndim() == part.values.ndim() && self.measure(site, part, expected, terms).is_in_order()
    }
}
