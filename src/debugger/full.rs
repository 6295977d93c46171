//! An activation of the current forward as a witness has it, in the shape of the whole.

use ndarray::{ArrayView, Axis as NdAxis, Dimension};

use super::expression::{Condition, Error, Expression, Scope, Value as Evaluated};
use super::memo::{Full, Origin, Pair};
use super::pass::Pass;
use super::state::Debugger;
use super::tape::Recorded;
use super::view::{Shown, Witness};
use crate::dump::{Aligned, Dump, Planned, RowSubset};
use crate::engine::{Feed, Keyed, Site, Value};

/// A score at or below this, where the mask hides it, was masked.
pub(super) const MASKED: f32 = -5e3;

/// Tensors of dumps up to this size are kept: read again, they would make every key slow.
const KEPT_BYTES: usize = 256 << 20;

/// Who gives the activations of a witness.
enum Evaluator<'a> {
    /// Our own run has computed them.
    Run(&'a Pass),
    /// A dump has them.
    Dump(&'a Dump),
    /// They were recorded.
    Recording(&'a Recorded),
}

/// The witness whose values are shown, and the one that is subtracted.
pub(super) fn witnesses(shown: Shown) -> (Witness, Option<Witness>) {
    match shown {
        Shown::Values(witness) => (witness, None),
        Shown::Difference(of, against) | Shown::Ratio(of, against) => (of, Some(against)),
    }
}

/// The first less the second; equal infinities, as masked scores have them, are no difference.
pub(super) fn difference<D: Dimension>(a: ArrayView<f32, D>, b: ArrayView<f32, D>) -> ndarray::Array<f32, D> {
    ndarray::Zip::from(a).and(b).map_collect(|a, b| if a == b { 0.0 } else { a - b })
}

/// The first over the second; what is the same, as zeros and masked scores are, is 1.
pub(super) fn ratio<D: Dimension>(a: ArrayView<f32, D>, b: ArrayView<f32, D>) -> ndarray::Array<f32, D> {
    ndarray::Zip::from(a).and(b).map_collect(|a, b| if a == b { 1.0 } else { a / b })
}

impl Debugger {
    /// What an activation of a witness is made from.
    pub(super) fn origin(&self, forward: usize, site: Site, witness: Witness) -> Origin {
        let dump = self.session.dump(witness).cloned();
        // Ours decides how a dump's tensor is read only where its shape or its rows leave that open.
        let planned = dump.as_ref().and_then(|dump| dump.planned(forward, site));
        let open = |planned: &Planned| planned.is_ambiguous() || planned.is_partial();
        let reads_ours = self.keyed(site) == Keyed::Scores || planned.is_none_or(open);
        let ours = self.ours(forward, site).filter(|_| reads_ours).cloned();
        let is_settled = !reads_ours || ours.is_some();
        Origin { forward, site, witness, dump, ours, is_settled, switched: self.is_switched() }
    }

    /// The whole activation of a witness.
    ///
    /// # Errors
    /// One sentence for the user.
    pub(super) fn full(&self, site: Site, witness: Witness) -> Result<Full, String> {
        self.full_in(self.pass.run.forward(), site, witness)
    }

    /// The whole activation of a witness in some forward.
    ///
    /// # Errors
    /// One sentence for the user.
    pub(super) fn full_in(&self, forward: usize, site: Site, witness: Witness) -> Result<Full, String> {
        let (origin, feed) = (self.origin(forward, site, witness), self.pass.fed.feed(forward));
        let marks = origin.switched && self.keyed(site) == Keyed::Scores;
        if let (Witness::Engine, Some(ours), false) = (witness, &origin.ours, marks) {
            self.captured.look_at_ours(forward, site, feed.tokens, ours);
            return Ok(Full { values: ours.clone(), rows: (0..feed.tokens).collect(), notes: Vec::new(), origin });
        }
        if let Some(full) = self.memos.tensors.get(&origin) {
            return Ok(full);
        }
        let Aligned { part, mut notes } = self.seen(forward, site, witness)?;
        let rows = part.rows.clone();
        let (mut values, lacks) = self.fill(feed, site, part);
        self.mark_masked(feed, site, &mut values);
        notes.extend(lacks);
        let notes = notes.into_iter().map(|note| format!("{}: {note}", witness.name())).collect();
        let full = Full { values, rows, notes, origin };
        if full.values.len() * size_of::<f32>() <= KEPT_BYTES {
            self.memos.tensors.keep(full.origin.clone(), full.clone());
        }
        Ok(full)
    }

    /// The values that are shown of an activation, or the difference; what they are made from, and what was done to them.
    pub(super) fn shown(&self, site: Site, shown: Shown) -> Result<(Value, Pair, Vec<String>), String> {
        let (of, against) = witnesses(shown);
        let Full { values, mut notes, origin, .. } = self.full(site, of)?;
        let Some(against) = against else { return Ok((values, (origin, None), notes)) };
        let against = self.full(site, against)?;
        notes.extend(against.notes);
        let values = match shown {
            Shown::Ratio(..) => ratio(values.view(), against.values.view()),
            _ => difference(values.view(), against.values.view()),
        };
        let values = values.into_shared();
        Ok((values, (origin, Some(against.origin)), notes))
    }

    /// Who gives the activations of a witness.
    fn evaluator(&self, witness: Witness) -> Result<Evaluator<'_>, String> {
        match (&self.pass.recorded, self.session.dump(witness)) {
            _ if witness == Witness::Engine => Ok(Evaluator::Run(&self.pass)),
            (Some(recorded), _) if recorded.has(witness) => Ok(Evaluator::Recording(recorded)),
            (Some(_), _) => Err(format!("there is no {}", witness.name())),
            (None, Some(dump)) => Ok(Evaluator::Dump(dump)),
            (None, None) => Err(format!("there is no {}: give its dump as --{0}", witness.name())),
        }
    }

    /// What a witness has of an activation of some forward, and what was done to it.
    pub(super) fn seen(&self, forward: usize, site: Site, witness: Witness) -> Result<Aligned, String> {
        let node = &self.graph()[site];
        let (short, ours) = (&node.short, self.ours(forward, site));
        let dump = match self.evaluator(witness)? {
            Evaluator::Recording(recorded) => return recorded.dumped(forward, site, witness, short),
            Evaluator::Run(pass) => {
                let ours = ours.ok_or_else(|| pass.lacks(forward, site))?;
                let tokens = self.pass.fed.feed(forward).tokens;
                self.captured.look_at_ours(forward, site, tokens, ours);
                return Ok(Aligned { part: RowSubset::whole(ours.clone(), node, tokens), notes: Vec::new() });
            }
            Evaluator::Dump(dump) => dump,
        };
        let mut seen = dump
            .read(forward, site, ours.map(|ours| ours.view()))
            .map_err(|error| self.session.unreadable(&error))?
            .ok_or_else(|| format!("the {} does not have {short}", witness.name()))?;
        // Of several readings of a shape, the notes name the one that was taken.
        let planned = dump.planned(forward, site).filter(|planned| !planned.is_ambiguous());
        seen.notes.splice(..0, planned.map(Planned::steps).unwrap_or_default());
        self.captured.look(forward, site, witness, || seen.clone());
        Ok(seen)
    }

    /// The part in the shape of the whole activation; what it lacks is NaN, and a note says so. Keys that nobody may see
    /// are not lacking: they are masked.
    fn fill(&self, feed: Feed, site: Site, part: RowSubset) -> (Value, Vec<String>) {
        let tokens = feed.tokens;
        let keys = feed.first + tokens;
        let node = &self.graph()[site];
        let shape = node.shape(tokens, keys);
        if part.values.shape() == shape {
            return (part.values, Vec::new());
        }
        let (last, row_axis) = (node.axes.len() - 1, NdAxis(node.row_axis()));
        let mut full = part.spread(node, &shape);
        let mut notes = Vec::new();
        if part.rows.len() < tokens {
            notes.push(format!("{} of {tokens} rows are there; NaN stands for the others", part.rows.len()));
        }
        if let Some(masked) = masked_value(self.keyed(site)) {
            let keys = part.first_key..part.first_key + part.values.shape()[last];
            let mask = self.graph().mask(site, feed.first);
            for row in part.rows {
                for (key, mut values) in full.index_axis_mut(row_axis, row).axis_iter_mut(NdAxis(1)).enumerate() {
                    if !keys.contains(&key) && !mask.allows(row, key) {
                        values.fill(masked);
                    }
                }
            }
        }
        (full.into_shared(), notes)
    }

    /// What expressions see of it: `$` is the activation at `row` of the listing, or else of the op computed last.
    pub fn scope(&self, row: Option<usize>) -> Scope<'_> {
        let row = row.or_else(|| self.pass.run.counter().checked_sub(1));
        Scope { debugger: self, row, forward: self.pass.run.forward() }
    }

    /// The same for an op of an earlier forward.
    pub(super) fn scope_in(&self, forward: usize, row: usize) -> Scope<'_> {
        Scope { debugger: self, row: Some(row), forward }
    }

    /// The value of an expression at a row of the listing, or else at the op computed last.
    ///
    /// # Errors
    /// One sentence, and where in the text.
    pub fn evaluate(&self, text: &str, row: Option<usize>) -> Result<Evaluated, Error> {
        let scope = self.scope(row);
        let expression = Expression::parse(text, &scope)?;
        expression.check(&scope)?;
        expression.evaluate(&scope)
    }

    /// Reads a condition that can hold in this session.
    ///
    /// # Errors
    /// One sentence, and where in the text.
    pub fn condition(&self, text: &str) -> Result<Condition, Error> {
        let scope = self.scope(None);
        let condition = Condition::parse(text, &scope)?;
        condition.check(&scope)?;
        Ok(condition)
    }

    /// Where the mask shows in an activation.
    pub(super) fn keyed(&self, site: Site) -> Keyed {
        self.graph()[site].op.facts().keyed
    }

    /// Whether our own engine makes a mistake, or made one when this was recorded.
    pub(super) fn is_switched(&self) -> bool {
        let recorded = |recorded: &Recorded| recorded.now.header.suspect.is_some();
        self.suspected.on.is_some() || self.pass.recorded.as_ref().is_some_and(recorded)
    }

    /// Engines mask with -inf, with the smallest float, or with -1e4 to -1e9: where the mask hides a score, all of them
    /// are -inf. Probabilities, and scores that are not masked where they should be, stay as they are. With a suspect on,
    /// another mask may be at work.
    fn mark_masked(&self, feed: Feed, site: Site, values: &mut Value) {
        if self.keyed(site) != Keyed::Scores {
            return;
        }
        let mask = self.graph().mask(site, feed.first);
        for mut head in values.outer_iter_mut() {
            for (row, mut queries) in head.outer_iter_mut().enumerate() {
                for (key, score) in queries.iter_mut().enumerate() {
                    if *score <= MASKED && (!mask.allows(row, key) || self.is_switched()) {
                        *score = f32::NEG_INFINITY;
                    }
                }
            }
        }
    }
}

/// What a masked key has; `None` for activations without keys.
pub(super) fn masked_value(keyed: Keyed) -> Option<f32> {
    match keyed {
        Keyed::Scores => Some(f32::NEG_INFINITY),
        Keyed::Probs => Some(0.0),
        Keyed::No => None,
    }
}
