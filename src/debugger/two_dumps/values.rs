//! The values of two dumps: what panes show of them.

use ndarray::{Axis, IxDyn};

use super::TwoDumps;
use crate::debugger::full::{MASKED, difference, ratio, witnesses};
use crate::debugger::histogram::counted;
use crate::debugger::sheet::{Sheet, apart, furthest};
use crate::debugger::view::{
    ComparisonLine, HistogramPage, HistogramRequest, Shown, TensorPage, TensorRequest, Witness,
};
use crate::diagnose;
use crate::dump::{Aligned, Subject, Twins, shared_rows};
use crate::engine::{Keyed, Value};
use crate::metrics::summarise;

/// One dump's tensor.
#[derive(Clone, Debug)]
pub(super) struct Side {
    values: Value,
    /// Rows of the forward that are there.
    rows: Vec<usize>,
    notes: Vec<String>,
}

/// What both dumps have of a row.
#[derive(Clone, Debug)]
pub(super) struct Held {
    row: usize,
    /// Reference, candidate.
    sides: [Option<Side>; 2],
    laid_out: bool,
}

impl TwoDumps {
    /// The page of a tensor.
    pub(super) fn tensor(&self, request: &TensorRequest) -> Result<TensorPage, String> {
        let held = self.held(request.row)?;
        let (of, against) = witnesses(request.shown);
        let of = self.side(&held, of)?;
        let against = against.map(|against| self.side(&held, against)).transpose()?;
        let whole = match (against, request.shown) {
            (None, _) => of.values.clone(),
            (Some(other), _) if other.values.shape() != of.values.shape() => {
                return Err("the two have other shapes: t shows them one by one".to_string());
            }
            (Some(other), Shown::Ratio(..)) => ratio(of.values.view(), other.values.view()).into_shared(),
            (Some(other), _) => difference(of.values.view(), other.values.view()).into_shared(),
        };
        let mut notes = of.notes.clone();
        notes.extend(against.iter().flat_map(|other| other.notes.clone()));
        let (sheet, compared) = (self.sheet(&held, &whole), &self.rows[held.row].2);
        let worst = request.worst.and_then(|_| {
            let [Some(a), Some(b)] = &held.sides else { return None };
            let shared = shared_rows(&a.rows, &b.rows);
            let there = |row: usize| shared.binary_search(&row).is_ok();
            let same = a.values.shape() == b.values.shape();
            let index =
                same.then(|| furthest(&b.values, &a.values, sheet.row_axis, there, apart(&b.values, &a.values)));
            sheet.place(&index??)
        });
        let missing = compared.status == diagnose::Status::Missing;
        for (side, name) in held.sides.iter().zip(["reference", "candidate"]) {
            if side.is_none() {
                notes.push(format!("the {name} does not have it"));
            }
        }
        let comparison = ComparisonLine {
            of: Witness::Candidate,
            against: Witness::Reference,
            error: compared.error,
            nonfinite: compared.nonfinite,
            cosine: compared.cosine,
            max_abs: compared.max_abs,
            worst: compared.worst.to_string(),
        };
        let page = sheet.page(request, worst, summarise(whole.view()));
        Ok(TensorPage { comparisons: if missing { Vec::new() } else { vec![comparison] }, notes, ..page })
    }

    /// The page of a histogram.
    pub(super) fn histogram(&self, request: &HistogramRequest) -> Result<HistogramPage, String> {
        let held = self.held(request.row)?;
        let (of, minus) = witnesses(request.shown);
        let of = self.side(&held, of)?;
        let minus = minus.map(|minus| self.side(&held, minus)).transpose()?;
        let sheet = self.sheet(&held, &of.values);
        let (mut axes, mut row) = (sheet.axes.clone(), sheet.row_axis);
        let planes = sheet.plane_axis().map_or(1, |axis| of.values.len_of(Axis(axis)));
        let taken = sheet.plane_axis().zip(request.plane.map(|plane| plane.min(planes.saturating_sub(1))));
        if let Some((axis, _)) = taken {
            axes.remove(axis);
            row -= usize::from(axis < row);
        }
        let minus = minus.filter(|minus| minus.values.shape() == of.values.shape());
        let others = minus.map(|minus| (&minus.values, &minus.rows[..]));
        let (histogram, (loudest, median_channel)) = counted((&of.values, &of.rows), others, taken, row, request);
        let channel_axis = axes.pop().unwrap_or_default();
        Ok(HistogramPage {
            name: sheet.name,
            plane: taken.map(|(_, plane)| plane),
            planes,
            plane_word: sheet.plane_word,
            place_axes: axes,
            channel_axis,
            first_position: sheet.first_position,
            histogram,
            loudest,
            median_channel,
            notes: of.notes.iter().chain(minus.iter().flat_map(|minus| &minus.notes)).cloned().collect(),
        })
    }

    fn side<'a>(&self, held: &'a Held, witness: Witness) -> Result<&'a Side, String> {
        let [reference, candidate] = &held.sides;
        let side = if witness == Witness::Candidate { candidate } else { reference };
        side.as_ref().ok_or_else(|| format!("the {} does not have {}", witness.name(), self.called(held.row)))
    }

    /// What the axes of a row are.
    fn sheet<'a>(&self, held: &Held, values: &'a Value) -> Sheet<'a> {
        let (forward, subject, _) = &self.rows[held.row];
        let first_position = self.pair.steps().iter().take(*forward).sum();
        match subject {
            Subject::Site(site) if held.laid_out => Sheet::of(&self.pair.graph()[*site], values, first_position),
            _ => Sheet {
                name: self.pair.name(subject),
                meaning: "as it is stored: no rule knows its name and its shape",
                axes: if values.ndim() == 3 { vec!["plane", "row", "column"] } else { vec!["row", "column"] },
                row_axis: values.ndim() - 2,
                plane_word: if values.ndim() == 3 { "plane" } else { "" },
                first_position: 0,
                values,
            },
        }
    }

    /// What both dumps have of a row of the listing.
    fn held(&self, listed: usize) -> Result<Held, String> {
        let rows = self.rows_of(self.forward());
        let row = rows.start + listed;
        if !rows.contains(&row) {
            return Err("there is no such tensor".to_string());
        }
        if let Some(held) = self.held.borrow().as_ref().filter(|held| held.row == row) {
            return Ok(held.clone());
        }
        let (forward, subject, _) = &self.rows[row];
        let Twins { sides, laid_out } = self.pair.read(*forward, subject).map_err(|error| error.to_string())?;
        let sides = sides.map(|side| side.map(|aligned| self.whole(*forward, subject, laid_out, aligned)));
        let held = Held { row, sides, laid_out };
        *self.held.borrow_mut() = Some(held.clone());
        Ok(held)
    }

    /// A dump's tensor in the shape of the whole: NaN where rows are lacking, masked scores alike.
    fn whole(&self, forward: usize, subject: &Subject, laid_out: bool, aligned: Aligned) -> Side {
        let Aligned { part, mut notes } = aligned;
        let rows = part.rows.clone();
        let site = subject.site().filter(|_| laid_out);
        let Some(site) = site else {
            // More than three axes: the outer ones together are the planes.
            let shape = part.values.shape().to_vec();
            let [outer @ .., row, column] = &shape[..] else { return Side { values: part.values, rows, notes } };
            let planes: usize = outer.iter().product();
            let shape = if outer.is_empty() { vec![*row, *column] } else { vec![planes, *row, *column] };
            let values = part.values.as_standard_layout().into_owned().into_shape_with_order(IxDyn(&shape));
            return Side { values: values.expect("as many elements").into_shared(), rows, notes };
        };
        let node = &self.pair.graph()[site];
        let tokens = self.pair.tokens(forward);
        let first: usize = self.pair.steps().iter().take(forward).sum();
        let shape = node.shape(tokens, first + tokens);
        let mut values = if part.values.shape() == shape {
            part.values
        } else {
            if rows.len() < tokens {
                notes.push(format!("{} of {tokens} rows are there; NaN stands for the others", rows.len()));
            }
            part.spread(node, &shape).into_shared()
        };
        if node.op.facts().keyed == Keyed::Scores {
            values.mapv_inplace(|score| if score <= MASKED { f32::NEG_INFINITY } else { score });
        }
        Side { values, rows, notes }
    }
}
