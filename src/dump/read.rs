//! Reads one tensor into the table's layout, and lets values decide what shapes leave open.

use std::collections::{BTreeMap, HashMap};
use std::sync::PoisonError;

use ndarray::{ArrayD, ArrayViewD, Axis, Slice};

use super::Dump;
use super::align::{
    Chosen, Laid, by_expert, choose_ring, choose_rows, clearly_smallest, error, lay_out, row_axis, same_keys,
    stored_rows,
};
use super::error::Error;
use super::ids::integers;
use super::name::Flavour;
use super::part::Part;
use super::plan::Planned;
use super::rows::{Aligned, RowSubset};
use super::shape::{Frame, Reading, Role, Rows};
use crate::engine::{Class, Graph, Keyed, Op, Site};

/// What the values have decided for the whole dump.
#[derive(Clone, Debug, Default)]
pub(super) struct Settled {
    /// By activation and number of stored axes.
    layouts: HashMap<(Class, usize), Known>,
    /// By forward and number of stored rows.
    rows: HashMap<(usize, usize), Vec<usize>>,
    /// The same, where they were taken for some and nothing tells: of how many, and which.
    assumed: BTreeMap<(usize, usize), (usize, Vec<usize>)>,
    notes: Vec<String>,
}

/// The last rows of a forward.
fn last(frame: Frame, rows: usize) -> Vec<usize> {
    (frame.tokens.saturating_sub(rows)..frame.tokens).collect()
}

/// A layout: what each stored axis counts, innermost last, and whether sizes are reversed.
type Known = (Vec<Role>, bool);

fn layout(reading: &Reading) -> Known {
    (reading.order.iter().map(|(role, _)| *role).collect(), reading.reversed)
}

/// What the values say about one tensor.
struct Decision {
    reading: usize,
    /// Whether the reading is sure.
    clear: bool,
    rows: Option<Chosen>,
}

impl Settled {
    /// Keeps what is decided without doubt; the first decision holds.
    fn learn(&mut self, graph: &Graph, planned: &Planned, frame: Frame, decision: &Decision) {
        let Some(reading) = planned.readings.get(decision.reading) else { return };
        let layouts = (graph.class(planned.site), planned.stored.len());
        if planned.is_ambiguous() && decision.clear && !self.layouts.contains_key(&layouts) {
            self.layouts.insert(layouts, layout(reading));
            if decision.reading > 0 {
                let steps = planned.described(reading, frame).join(", ");
                self.notes.push(format!("{}: {steps}, as its values say", graph[planned.site].label));
            }
        }
        let rows = (frame.forward, reading.rows);
        if let Some(chosen) = decision.rows.as_ref().filter(|chosen| chosen.clear && !self.rows.contains_key(&rows)) {
            self.notes.push(format!("{} of {} rows are present: {:?}", reading.rows, frame.tokens, chosen.rows));
            self.rows.insert(rows, chosen.rows.clone());
        }
    }

    /// The rows of a tensor that does not hold all of them.
    fn rows_of(&mut self, frame: Frame, stored: usize, chosen: Option<Chosen>, notes: &mut Vec<String>) -> Vec<usize> {
        let last = last(frame, stored);
        let known = self.rows.get(&(frame.forward, stored)).cloned();
        let rows = match (chosen, known) {
            (Some(chosen), _) if chosen.clear => chosen.rows,
            (_, Some(rows)) => rows,
            (chosen, None) => {
                notes.push(format!("which {stored} of {} rows it holds is not certain", frame.tokens));
                let rows = chosen.map_or_else(|| last.clone(), |chosen| chosen.rows);
                self.assumed.insert((frame.forward, stored), (frame.tokens, rows.clone()));
                rows
            }
        };
        if rows.len() == stored { rows } else { last }
    }

    /// What was decided, and what was only assumed until the end.
    pub(super) fn notes(&self) -> Vec<String> {
        let open = self.assumed.iter().filter(|(key, _)| !self.rows.contains_key(key));
        let assumed = open.map(|((_, stored), (tokens, rows))| {
            format!("{stored} of {tokens} rows are present, and nothing tells which for certain: taken for {rows:?}")
        });
        self.notes.iter().cloned().chain(assumed).collect()
    }
}

impl Dump {
    /// Reads the tensor of an activation. `ours`, the same activation from elsewhere with all rows of the forward,
    /// decides between several readings and finds the rows; what it decides without doubt holds for the tensors read
    /// later, as after [`Dump::settle`]. If nothing decides, it is the table's layout and the last rows, with a note.
    /// `None`: the dump has no such tensor.
    #[expect(clippy::needless_pass_by_value, reason = "views are handed over like slices")]
    pub fn read(&self, forward: usize, site: Site, ours: Option<ArrayViewD<f32>>) -> Result<Option<Aligned>, Error> {
        let Some(planned) = self.planned(forward, site) else { return Ok(None) };
        let (Some(stored), Some(frame), Some(first)) = (planned.frame, planned.own_frame(), planned.readings.first())
        else {
            return Err(Error::Unbound { file: self.archive.path().to_owned() });
        };
        let values = self.values(planned)?;
        let mut notes = Vec::new();
        let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        let known = settled.layouts.get(&(self.graph.class(site), planned.stored.len()));
        let known = known.and_then(|known| planned.readings.iter().position(|reading| layout(reading) == *known));
        let open = (planned.is_ambiguous() && known.is_none()) || planned.is_partial();
        let decision = ours.as_ref().filter(|_| open).map(|ours| self.decide(planned, stored, &values, ours));
        if let Some(decision) = &decision {
            settled.learn(&self.graph, planned, frame, decision);
        }
        let at = match (&decision, known) {
            (_, Some(at)) => at,
            (Some(decision), _) if decision.clear => decision.reading,
            _ => {
                let fit = planned.equally_plain();
                if fit > 1 {
                    notes.push(format!(
                        "{fit} readings of its shape fit, and nothing decides: taken in the table's layout"
                    ));
                }
                0
            }
        };
        let reading = planned.readings.get(at).unwrap_or(first);
        if at > 0 {
            notes.push(planned.described(reading, frame).join(", "));
        }
        let Some(mut laid) = lay_out(&values.view(), reading, &planned.wanted, stored) else {
            let problem = "is not what it was when the dump was opened; open it again";
            return Err(self.tensor_error(&planned.name, problem.into()));
        };
        if planned.flavour == Flavour::BeforeWeight && unit_rows(&laid.values) {
            return Ok(None);
        }
        if let Some(chosen) = &planned.chosen {
            let ids = integers(self.archive.read(chosen)?);
            let sorted = ids.and_then(|ids| by_expert(&mut laid, &ids.view(), stored_rows(reading, stored)));
            if sorted.is_none() {
                return Ok(None);
            }
        }
        if let Some(pads) = planned.pads {
            laid = pads.cut(laid, &planned.wanted, reading.holds, stored).0;
        }
        if laid.heads_differ {
            notes.push("its repeated heads are not all alike; the first of each was taken".into());
        }
        let rows = match reading.holds {
            Rows::Some => {
                let chosen = decision.and_then(|decision| decision.rows);
                if let Some(ring) = chosen.as_ref().filter(|chosen| chosen.begin > 0) {
                    laid.values = ring.in_order(laid.values, row_axis(&planned.wanted));
                    notes.push(format!("a ring of {} rows, of which row {} is the oldest", reading.rows, ring.begin));
                }
                settled.rows_of(frame, reading.rows, chosen, &mut notes)
            }
            Rows::Last => last(frame, reading.rows),
            _ => (0..frame.tokens).collect(),
        };
        drop(settled);
        if planned.flavour == Flavour::Unscaled {
            self.scale_and_mask(&mut laid, site, frame, &rows, ours.as_ref(), planned);
        }
        let Laid { values, first_key, .. } = laid;
        let part = RowSubset { values: values.into_shared(), rows, first_key };
        let mask = self.graph.mask(site, frame.first);
        let hidden = match self.graph[site].op.facts().keyed {
            Keyed::Scores => Some(f32::NEG_INFINITY),
            Keyed::Probs => Some(0.0),
            Keyed::No => None,
        };
        let shows = |row, key| mask.allows(row, key);
        let part = match hidden {
            Some(hidden) => part.with_unseen(shows, hidden),
            None => part,
        };
        Ok(Some(Aligned { part, notes }))
    }

    /// Lets values decide, before anything is read, which reading of ambiguous shapes is right and which rows partial
    /// tensors hold. `ours` gives an activation with all rows of a forward; it is asked for no more than is needed.
    pub fn settle(&self, mut ours: impl FnMut(usize, Site) -> Option<ArrayD<f32>>) -> Result<(), Error> {
        for planned in &self.planned {
            let (Some(stored), Some(frame), Some(first)) =
                (planned.frame, planned.own_frame(), planned.readings.first())
            else {
                continue;
            };
            let settled = || self.settled.lock().unwrap_or_else(PoisonError::into_inner);
            let layout = (self.graph.class(planned.site), planned.stored.len());
            let open = planned.is_ambiguous() && !settled().layouts.contains_key(&layout);
            let rows = planned.is_partial() && !settled().rows.contains_key(&(frame.forward, first.rows));
            if (open || rows)
                && let Some(ours) = ours(frame.forward, planned.site)
            {
                let decision = self.decide(planned, stored, &self.values(planned)?, &ours.view());
                settled().learn(&self.graph, planned, frame, &decision);
            }
        }
        Ok(())
    }

    /// Which reading, and which rows, agree with `ours`; `frame` is the forward as it is stored.
    fn decide(&self, planned: &Planned, frame: Frame, values: &ArrayD<f32>, ours: &ArrayViewD<f32>) -> Decision {
        let axis = row_axis(&planned.wanted);
        let mut errors = Vec::with_capacity(planned.readings.len());
        let mut rows = Vec::with_capacity(planned.readings.len());
        for reading in &planned.readings {
            let laid = lay_out(&values.view(), reading, &planned.wanted, frame);
            let laid = laid.map(|laid| match planned.pads {
                Some(pads) => pads.cut(laid, &planned.wanted, reading.holds, frame).0,
                None => laid,
            });
            let compared = laid.and_then(|laid| {
                let ours = same_keys(ours, &laid, &planned.wanted)?;
                let variants = match planned.flavour {
                    Flavour::Unscaled => self.scaled(planned.site, &laid.values).to_vec(),
                    _ => vec![laid.values],
                };
                variants
                    .into_iter()
                    .map(|values| compare(&values.view(), &ours, axis, reading, planned.wanted.cached))
                    .reduce(|a, b| if b.0 < a.0 { b } else { a })
            });
            let (error, chosen) = compared.unwrap_or((f64::INFINITY, None));
            errors.push(error);
            rows.push(chosen);
        }
        let (reading, clear) = match errors.as_slice() {
            [_] => (0, true),
            errors => clearly_smallest(errors),
        };
        Decision { reading, clear, rows: rows.swap_remove(reading) }
    }

    /// A tensor as it is stored, after the map's expression.
    pub(super) fn values(&self, planned: &Planned) -> Result<ArrayD<f32>, Error> {
        let mut values = match planned.part {
            Some(Part::Of { axis: 0, index }) => self.archive.read_part(&planned.name, index)?.into_f32(),
            Some(part) => {
                let whole = self.archive.read(&planned.name)?.into_f32();
                let problem = || format!("has shape {:?}, of which there is no {part}", whole.shape());
                part.of(&whole).ok_or_else(|| self.tensor_error(&planned.name, problem()))?
            }
            None => self.archive.read(&planned.name)?.into_f32(),
        };
        let Some(expression) = &planned.expression else { return Ok(values) };
        let error = |problem| self.tensor_error(&planned.name, problem);
        for name in &expression.sum {
            let other = self.archive.read(name)?.into_f32();
            if other.shape() != values.shape() {
                let (shape, other, name) = (values.shape(), other.shape(), super::error::shown(name));
                return Err(error(format!("has shape {shape:?}, and the map adds \"{name}\" of shape {other:?}")));
            }
            values += &other;
        }
        expression.apply(values).map_err(error)
    }

    /// ggml keeps `q kᵀ` before the scale, the cap and the mask: all are applied, but for a scale that the values show
    /// already.
    fn scale_and_mask(
        &self,
        laid: &mut Laid,
        site: Site,
        frame: Frame,
        rows: &[usize],
        ours: Option<&ArrayViewD<f32>>,
        planned: &Planned,
    ) {
        let [scaled, kept] = self.scaled(site, &laid.values);
        let compared = ours.and_then(|ours| same_keys(ours, laid, &planned.wanted)).map(|ours| {
            let ours = ours.select(Axis(1), rows);
            [error(&scaled.view(), &ours.view()), error(&kept.view(), &ours.view())]
        });
        let is_scaled = compared.is_some_and(|errors| clearly_smallest(&errors).0 > 0);
        laid.values = if is_scaled { kept } else { scaled };
        let mask = self.graph.mask(site, frame.first);
        for (mut query, row) in laid.values.axis_iter_mut(Axis(1)).zip(rows) {
            for (column, mut keys) in query.axis_iter_mut(Axis(1)).enumerate() {
                if !mask.allows(*row, laid.first_key + column) {
                    keys.fill(f32::NEG_INFINITY);
                }
            }
        }
    }

    /// Products of queries and keys as the op makes scores of them, but for the mask: with its scale, and without.
    fn scaled(&self, site: Site, values: &ArrayD<f32>) -> [ArrayD<f32>; 2] {
        let Op::Scores(scoring) = &self.graph[site].op else { return [values.clone(), values.clone()] };
        let capped = |values: ArrayD<f32>| match scoring.cap {
            Some(cap) => values.mapv(|v| (cap * (f64::from(v) / cap).tanh()) as f32),
            None => values,
        };
        [capped(values * scoring.scale as f32), capped(values.clone())]
    }
}

fn compare(
    values: &ArrayViewD<f32>,
    ours: &ArrayViewD<f32>,
    axis: Axis,
    reading: &Reading,
    cached: bool,
) -> (f64, Option<Chosen>) {
    if reading.holds == Rows::Last && values.ndim() == ours.ndim() && values.len_of(axis) <= ours.len_of(axis) {
        let from = ours.len_of(axis) - values.len_of(axis);
        return (error(values, &ours.slice_axis(axis, Slice::from(from..))), None);
    }
    if reading.holds != Rows::Some {
        return (error(values, ours), None);
    }
    if values.ndim() != ours.ndim() {
        return (f64::INFINITY, None);
    }
    let chosen = choose_rows(values, ours, axis);
    let ring =
        choose_ring(values, ours, axis).filter(|ring| cached && clearly_smallest(&[chosen.error, ring.error]).0 > 0);
    let chosen = ring.unwrap_or(chosen);
    (chosen.error, Some(chosen))
}

/// Whether every row has a mean square of 1, as a norm's result before its weight has.
fn unit_rows(values: &ArrayD<f32>) -> bool {
    values.outer_iter().all(|row| {
        let squares: f64 = row.iter().map(|v| f64::from(*v) * f64::from(*v)).sum();
        (squares / row.len().max(1) as f64 - 1.0).abs() < 0.02
    })
}
