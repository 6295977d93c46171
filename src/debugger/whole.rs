//! An activation of the current forward as a witness has it, in the shape of the whole.

use ndarray::{ArrayD, ArrayView, Axis as NdAxis, Dimension, Slice};

use super::kept::{Origin, Pair};
use super::looked::Seen;
use super::state::{Debugger, dump_of};
use super::view::{Shown, Witness};
use crate::diagnose::Part;
use crate::dump::Planned;
use crate::engine::{Keyed, Site, Value};
use crate::ops::Mask;

/// A score at or below this, where the mask hides it, was masked.
pub(super) const MASKED: f32 = -5e3;

/// Tensors of dumps up to this size are kept: read again, they would make every key slow.
const KEPT_BYTES: usize = 256 << 20;

/// An activation of a witness.
#[derive(Clone, Debug)]
pub(super) struct Whole {
    /// NaN in the rows that it lacks.
    pub(super) values: Value,
    /// The rows that it has.
    pub(super) rows: Vec<usize>,
    /// What was done to it, and what it lacks.
    pub(super) notes: Vec<String>,
    pub(super) origin: Origin,
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
fn ratio<D: Dimension>(a: ArrayView<f32, D>, b: ArrayView<f32, D>) -> ndarray::Array<f32, D> {
    ndarray::Zip::from(a).and(b).map_collect(|a, b| if a == b { 1.0 } else { a / b })
}

impl Debugger {
    /// What an activation of a witness is made from.
    pub(super) fn origin(&self, forward: usize, site: Site, witness: Witness) -> Origin {
        let dump = match witness {
            Witness::Engine => None,
            Witness::Reference => self.session.dumps.reference.clone(),
            Witness::Candidate => self.session.dumps.candidate.clone(),
        };
        // Ours decides how a dump's tensor is read only where its shape or its rows leave that open.
        let planned = dump.as_ref().and_then(|dump| dump.planned(forward, site));
        let open = |planned: &Planned| planned.is_ambiguous() || planned.is_partial();
        let reads_ours = self.keyed(site) == Keyed::Scores || planned.is_none_or(open);
        let record = self.trace.forward(forward).get(site.index()).filter(|_| reads_ours);
        let ours = record.and_then(|record| record.value.clone());
        let is_settled = !reads_ours || ours.is_some();
        Origin { forward, site, witness, dump, ours, is_settled, switched: self.is_switched() }
    }

    /// The whole activation of a witness.
    ///
    /// # Errors
    /// One sentence for the user.
    pub(super) fn whole(&self, site: Site, witness: Witness) -> Result<Whole, String> {
        self.whole_in(self.run.forward(), site, witness)
    }

    /// The whole activation of a witness in some forward.
    ///
    /// # Errors
    /// One sentence for the user.
    pub(super) fn whole_in(&self, forward: usize, site: Site, witness: Witness) -> Result<Whole, String> {
        let origin = self.origin(forward, site, witness);
        let marks = origin.switched && self.keyed(site) == Keyed::Scores;
        if let (Witness::Engine, Some(ours), false) = (witness, &origin.ours, marks) {
            self.look_at_ours(forward, site, ours);
            let rows = (0..self.session.steps[forward]).collect();
            return Ok(Whole { values: ours.clone(), rows, notes: Vec::new(), origin });
        }
        if let Some(whole) = self.kept.tensors.get(&origin) {
            return Ok(whole);
        }
        let (part, mut notes) = self.part_of(forward, site, witness)?;
        let rows = part.rows.clone();
        let (mut values, lacks) = self.fill(forward, site, part);
        self.mark_masked(forward, site, &mut values);
        notes.extend(lacks);
        let notes = notes.into_iter().map(|note| format!("{}: {note}", witness.name())).collect();
        let whole = Whole { values, rows, notes, origin };
        if whole.values.len() * size_of::<f32>() <= KEPT_BYTES {
            self.kept.tensors.keep(whole.origin.clone(), whole.clone());
        }
        Ok(whole)
    }

    /// The values that are shown of an activation, or the difference; what they are made from, and what was done to them.
    pub(super) fn shown(&self, site: Site, shown: Shown) -> Result<(Value, Pair, Vec<String>), String> {
        let (of, against) = witnesses(shown);
        let Whole { values, mut notes, origin, .. } = self.whole(site, of)?;
        let Some(against) = against else { return Ok((values, (origin, None), notes)) };
        let against = self.whole(site, against)?;
        notes.extend(against.notes);
        let values = match shown {
            Shown::Ratio(..) => ratio(values.view(), against.values.view()),
            _ => difference(values.view(), against.values.view()),
        };
        let values = values.into_shared();
        Ok((values, (origin, Some(against.origin)), notes))
    }

    /// What a witness has of an activation of the current forward, and what was done to it.
    pub(super) fn part(&self, site: Site, witness: Witness) -> Result<(Part, Vec<String>), String> {
        self.part_of(self.run.forward(), site, witness)
    }

    /// The same of some forward.
    pub(super) fn part_of(&self, forward: usize, site: Site, witness: Witness) -> Result<(Part, Vec<String>), String> {
        let node = &self.run.graph()[site];
        let (short, record) = (&node.short, self.trace.forward(forward).get(site.index()));
        let ours = record.and_then(|record| record.value.as_ref());
        let tokens = self.session.steps[forward];
        if witness != Witness::Engine
            && let Some(recorded) = self.recorded(forward, site, witness)
        {
            return recorded;
        }
        let Some(dump) = dump_of(&self.session.dumps, witness) else {
            if witness != Witness::Engine {
                return Err(format!("there is no {}: give its dump as --{0}", witness.name()));
            }
            return match (ours, record) {
                (Some(ours), _) => {
                    self.look_at_ours(forward, site, ours);
                    Ok((Part::whole(ours.clone(), node, tokens), Vec::new()))
                }
                (None, Some(_)) if self.is_taped() => Err(format!("{short} was not recorded: nobody looked at it")),
                (None, Some(_)) => Err(format!("{short} was not kept (memory budget): g goes there")),
                (None, None) => Err(format!("{short} is not computed yet: s steps, g goes there")),
            };
        };
        let aligned = dump
            .read(forward, site, ours.map(|ours| ours.view()))
            .map_err(|error| self.unreadable(&error))?
            .ok_or_else(|| format!("the {} does not have {short}", witness.name()))?;
        // Of several readings of a shape, the notes name the one that was taken.
        let planned = dump.planned(forward, site).filter(|planned| !planned.is_ambiguous());
        let mut notes = planned.map(Planned::steps).unwrap_or_default();
        notes.extend(aligned.notes);
        let part = Part { values: aligned.values.into_shared(), rows: aligned.rows, first_key: aligned.first_key };
        self.look(forward, site, witness, || Seen {
            values: part.values.clone(),
            rows: part.rows.clone(),
            first_key: part.first_key,
            notes: notes.clone(),
        });
        Ok((part, notes))
    }

    /// The part in the shape of the whole activation; what it lacks is NaN, and a note says so. Keys that nobody may see
    /// are not lacking: they are masked.
    fn fill(&self, forward: usize, site: Site, part: Part) -> (Value, Vec<String>) {
        let tokens = self.session.steps[forward];
        let keys = self.first_of(forward) + tokens;
        let node = &self.run.graph()[site];
        let shape = node.shape(tokens, keys);
        if part.values.shape() == shape {
            return (part.values, Vec::new());
        }
        let last = node.axes.len() - 1;
        let mut full = ArrayD::from_elem(shape, f32::NAN);
        let row_axis = NdAxis(node.row_axis());
        for (index, row) in part.rows.iter().enumerate() {
            let mut target = full.index_axis_mut(row_axis, *row);
            if node.has_keys() {
                let keys = part.values.shape()[last];
                let columns = NdAxis(target.ndim() - 1);
                target.slice_axis_inplace(columns, Slice::from(part.first_key..part.first_key + keys));
            }
            target.assign(&part.values.index_axis(row_axis, index));
        }
        let mut notes = Vec::new();
        if part.rows.len() < tokens {
            notes.push(format!("{} of {tokens} rows are there; NaN stands for the others", part.rows.len()));
        }
        if let Some(masked) = masked_value(self.keyed(site)) {
            let keys = part.first_key..part.first_key + part.values.shape()[last];
            let mask = self.mask_in(forward, site);
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

    /// Where the mask shows in an activation.
    pub(super) fn keyed(&self, site: Site) -> Keyed {
        self.run.graph()[site].op.facts().keyed
    }

    pub(super) fn mask(&self, site: Site) -> Mask {
        self.mask_in(self.run.forward(), site)
    }

    fn mask_in(&self, forward: usize, site: Site) -> Mask {
        self.run.graph().mask(site, self.first_of(forward))
    }

    /// Position of the first token of a forward.
    fn first_of(&self, forward: usize) -> usize {
        self.session.steps[..forward].iter().sum()
    }

    /// Engines mask with -inf, with the smallest float, or with -1e4 to -1e9: where the mask hides a score, all of them
    /// are -inf. Probabilities, and scores that are not masked where they should be, stay as they are. With a suspect on,
    /// another mask may be at work.
    fn mark_masked(&self, forward: usize, site: Site, values: &mut Value) {
        if self.keyed(site) != Keyed::Scores {
            return;
        }
        let mask = self.mask_in(forward, site);
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
fn masked_value(keyed: Keyed) -> Option<f32> {
    match keyed {
        Keyed::Scores => Some(f32::NEG_INFINITY),
        Keyed::Probs => Some(0.0),
        Keyed::No => None,
    }
}
