//! One page of an activation: the numbers a pane shows, pooled and cut to its size.

use ndarray::{ArrayD, ArrayView2, Axis as NdAxis, Ix2, Slice};

use super::state::{Debugger, dump_of};
use super::view::{ComparisonLine, Shown, TensorPage, TensorRequest, Witness};
use crate::diagnose::{Part, compare_parts};
use crate::dump::Planned;
use crate::engine::{Activation, Axis, Site};
use crate::metrics::summarise;
use crate::ops::Mask;

impl Debugger {
    /// The page that `request` asks for.
    ///
    /// # Errors
    /// One sentence for the user: the activation is not computed yet, or the witness does not have it.
    ///
    /// # Panics
    /// Never: every row of the table of activations has two or three axes.
    pub fn tensor(&self, request: &TensorRequest) -> Result<TensorPage, String> {
        let site = *self.run.program().sites().get(request.row).ok_or("there is no such op")?;
        let (values, mut notes) = self.shown(site, request)?;
        let axes = site.activation.row().axes;
        let lengths = values.shape().to_vec();
        let planes = if lengths.len() == 3 { lengths[0] } else { 1 };
        let whole = values.clone();
        let plane = if lengths.len() == 3 {
            values.index_axis_move(NdAxis(0), request.plane.min(planes.saturating_sub(1)))
        } else {
            values
        };
        let plane = plane.into_dimensionality::<Ix2>().expect("activations have two or three axes");
        let (pooled, heatmap) = pool(plane.view(), request.heatmap);
        let (comparisons, said) = self.comparisons(site);
        notes.extend(said);
        Ok(TensorPage {
            name: site.to_string(),
            meaning: site.activation.row().meaning,
            axes: axes.iter().zip(&lengths).map(|(axis, length)| (axis.name(), *length)).collect(),
            planes,
            row_axis: (axes[axes.len() - 2].name(), plane.nrows()),
            column_axis: (axes[axes.len() - 1].name(), plane.ncols()),
            first_position: self.run.first_position(),
            numbers: cut(plane.view(), request.rows, request.columns),
            heatmap,
            pooled,
            range: middle_range(plane.view()),
            summary: summarise(whole.view()),
            comparisons,
            notes,
        })
    }

    fn shown(&self, site: Site, request: &TensorRequest) -> Result<(ArrayD<f32>, Vec<String>), String> {
        let forward = self.run.forward();
        match request.shown {
            Shown::Values(witness) => self.whole(forward, site, witness),
            Shown::Difference(a, b) => {
                let (a, mut notes) = self.whole(forward, site, a)?;
                let (b, more) = self.whole(forward, site, b)?;
                notes.extend(more);
                // Equal infinities, as masked scores have them, are no difference.
                let difference = ndarray::Zip::from(&a).and(&b).map_collect(|a, b| if a == b { 0.0 } else { a - b });
                Ok((difference, notes))
            }
        }
    }

    /// What a witness has of an activation of a forward, in the shape of the whole; what was done to it, and what it lacks.
    pub(super) fn whole(
        &self,
        forward: usize,
        site: Site,
        witness: Witness,
    ) -> Result<(ArrayD<f32>, Vec<String>), String> {
        let (part, mut notes) = self.part(forward, site, witness)?;
        let (mut values, lacks) = self.fill(forward, site, part);
        self.mark_masked(forward, site, &mut values);
        notes.extend(lacks);
        Ok((values, notes.into_iter().map(|note| format!("{}: {note}", witness.name())).collect()))
    }

    /// What a witness has of an activation of a forward, and what was done to it.
    fn part(&self, forward: usize, site: Site, witness: Witness) -> Result<(Part, Vec<String>), String> {
        let record = self.run.program().position(site).and_then(|row| self.trace.forward(forward).get(row));
        let ours = record.and_then(|record| record.value.as_ref());
        let tokens = self.session.steps[forward];
        let Some(dump) = dump_of(&self.session.dumps, witness) else {
            if witness != Witness::Engine {
                return Err(format!("there is no {}: give its dump as --{0}", witness.name()));
            }
            return match (ours, record) {
                (Some(ours), _) => Ok((Part::whole(ours.to_owned(), site, tokens), Vec::new())),
                (None, Some(_)) => Err(format!("{} was not kept (memory budget): g goes there", site.short())),
                (None, None) => Err(format!("{} is not computed yet: s steps, g goes there", site.short())),
            };
        };
        let aligned = dump
            .read(forward, site, ours.map(|ours| ours.view()))
            .map_err(|error| self.unreadable(&error))?
            .ok_or_else(|| format!("the {} does not have {}", witness.name(), site.short()))?;
        // Of several readings of a shape, the notes name the one that was taken.
        let planned = dump.planned(forward, site).filter(|planned| !planned.is_ambiguous());
        let mut notes = planned.map(Planned::steps).unwrap_or_default();
        notes.extend(aligned.notes);
        Ok((Part { values: aligned.values, rows: aligned.rows, first_key: aligned.first_key }, notes))
    }

    /// The part in the shape of the whole activation; what it lacks is NaN, and a note says so. Keys that nobody may see
    /// are not lacking: they are masked.
    fn fill(&self, forward: usize, site: Site, part: Part) -> (ArrayD<f32>, Vec<String>) {
        let tokens = self.session.steps[forward];
        let shape = site.activation.shape(&self.session.model.config, tokens, self.first_of(forward) + tokens);
        if part.values.shape() == shape {
            return (part.values, Vec::new());
        }
        let axes = site.activation.row().axes;
        let mut full = ArrayD::from_elem(shape, f32::NAN);
        let row_axis = NdAxis(axes.len() - 2);
        for (index, row) in part.rows.iter().enumerate() {
            let mut target = full.index_axis_mut(row_axis, *row);
            if axes[axes.len() - 1] == Axis::Key {
                let keys = part.values.shape()[axes.len() - 1];
                let last = NdAxis(target.ndim() - 1);
                target.slice_axis_inplace(last, Slice::from(part.first_key..part.first_key + keys));
            }
            target.assign(&part.values.index_axis(row_axis, index));
        }
        let mut notes = Vec::new();
        if part.rows.len() < tokens {
            notes.push(format!("{} of {tokens} rows are there; NaN stands for the others", part.rows.len()));
        }
        if let Some(masked) = masked_value(site) {
            let keys = part.first_key..part.first_key + part.values.shape()[axes.len() - 1];
            let mask = self.mask(forward, site);
            for row in part.rows {
                for (key, mut values) in full.index_axis_mut(row_axis, row).axis_iter_mut(NdAxis(1)).enumerate() {
                    if !keys.contains(&key) && !mask.allows(row, key) {
                        values.fill(masked);
                    }
                }
            }
        }
        (full, notes)
    }

    /// Position of the first token of a forward.
    fn first_of(&self, forward: usize) -> usize {
        self.session.steps[..forward].iter().sum()
    }

    fn mask(&self, forward: usize, site: Site) -> Mask {
        let window = self.session.model.config.sliding_window[site.layer];
        Mask::causal(self.first_of(forward), window)
    }

    /// Engines mask with -inf, with the smallest float, or with -1e4 to -1e9: where the mask hides a score, all of them
    /// are -inf. Probabilities, and scores that are not masked where they should be, stay as they are. With a suspect on,
    /// another mask may be at work.
    fn mark_masked(&self, forward: usize, site: Site, values: &mut ArrayD<f32>) {
        if site.activation != Activation::Scores {
            return;
        }
        let mask = self.mask(forward, site);
        for mut head in values.outer_iter_mut() {
            for (row, mut queries) in head.outer_iter_mut().enumerate() {
                for (key, score) in queries.iter_mut().enumerate() {
                    if *score <= MASKED && (!mask.allows(row, key) || self.switched.is_some()) {
                        *score = f32::NEG_INFINITY;
                    }
                }
            }
        }
    }

    fn comparisons(&self, site: Site) -> (Vec<ComparisonLine>, Vec<String>) {
        let witnesses = self.header().witnesses;
        let part = |witness: Witness| self.part(self.run.forward(), site, witness).ok();
        let parts: Vec<(Witness, Part)> =
            witnesses.iter().filter_map(|witness| part(*witness).map(|(part, _)| (*witness, part))).collect();
        let config = &self.session.model.config;
        let mut lines = Vec::new();
        let mut pairs = [
            (Witness::Candidate, Witness::Reference),
            (Witness::Engine, Witness::Reference),
            (Witness::Engine, Witness::Candidate),
        ];
        if self.switched.is_some() {
            // Whether our engine with the mistake is the candidate: that is the question.
            pairs.reverse();
        }
        for (of, against) in pairs {
            let find = |wanted| parts.iter().find(|(witness, _)| *witness == wanted).map(|(_, part)| part);
            let (Some(a), Some(b)) = (find(of), find(against)) else { continue };
            let hidden = (self.switched.is_some() && site.activation == Activation::Scores).then(|| hidden_alike(a, b));
            let (a, b) = hidden.as_ref().map_or((a, b), |(a, b)| (a, b));
            if let Some((c, worst, _)) = compare_parts(site, config, self.run.first_position(), a, b) {
                let (error, cosine, max_abs) = (c.error, c.cosine, c.max_abs);
                lines.push(ComparisonLine { of, against, error, cosine, max_abs, worst: worst.to_string() });
            }
        }
        let missing = witnesses.iter().filter(|w| **w != Witness::Engine && parts.iter().all(|(have, _)| have != *w));
        let notes = missing.map(|w| format!("the {} does not have {}", w.name(), site.short())).collect();
        (lines, notes)
    }
}

/// A score at or below this, where the mask hides it, was masked.
const MASKED: f32 = -5e3;

/// Scores that both have hidden, whatever they put there, are the same.
fn hidden_alike(a: &Part, b: &Part) -> (Part, Part) {
    let (mut a, mut b) = (a.clone(), b.clone());
    if a.values.shape() == b.values.shape() {
        ndarray::Zip::from(&mut a.values).and(&mut b.values).for_each(|a, b| {
            if *a <= MASKED && *b <= MASKED {
                (*a, *b) = (0.0, 0.0);
            }
        });
    }
    (a, b)
}

/// What a masked key has; `None` for activations without keys.
fn masked_value(site: Site) -> Option<f32> {
    match site.activation {
        Activation::Scores => Some(f32::NEG_INFINITY),
        Activation::Probs => Some(0.0),
        _ => None,
    }
}

/// The numbers of a window, cut at the edges.
fn cut(plane: ArrayView2<f32>, rows: (usize, usize), columns: (usize, usize)) -> Vec<Vec<f32>> {
    let inside =
        |(first, count): (usize, usize), length: usize| first.min(length)..first.saturating_add(count).min(length);
    let (rows, columns) = (inside(rows, plane.nrows()), inside(columns, plane.ncols()));
    rows.map(|row| columns.clone().map(|column| plane[[row, column]]).collect()).collect()
}

/// The plane in at most `cells`: each cell is the value of largest magnitude among those it stands for; NaN and
/// infinity win, -inf (masked) loses.
pub(super) fn pool(plane: ArrayView2<f32>, cells: (usize, usize)) -> ((usize, usize), Vec<Vec<f32>>) {
    if plane.is_empty() || cells.0 == 0 || cells.1 == 0 {
        return ((1, 1), Vec::new());
    }
    let per_cell = (plane.nrows().div_ceil(cells.0).max(1), plane.ncols().div_ceil(cells.1).max(1));
    let loudness = |v: f32| match v {
        _ if v.is_nan() => (3, 0.0),
        f32::INFINITY => (2, 0.0),
        f32::NEG_INFINITY => (0, 0.0),
        _ => (1, v.abs()),
    };
    let louder = |a: f32, b: &f32| if loudness(*b) > loudness(a) { *b } else { a };
    let rows = plane.axis_chunks_iter(NdAxis(0), per_cell.0).map(|band| {
        band.axis_chunks_iter(NdAxis(1), per_cell.1).map(|cell| cell.iter().fold(f32::NEG_INFINITY, louder)).collect()
    });
    (per_cell, rows.collect())
}

/// The values that 98 % of the plane's finite elements lie between, from at most 65536 of them.
pub(super) fn middle_range(plane: ArrayView2<f32>) -> (f32, f32) {
    let stride = plane.len().div_ceil(1 << 16).max(1);
    let mut values: Vec<f32> = plane.iter().step_by(stride).copied().filter(|v| v.is_finite()).collect();
    if values.is_empty() {
        return (0.0, 0.0);
    }
    values.sort_unstable_by(f32::total_cmp);
    let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
    (at(0.01), at(0.99))
}
