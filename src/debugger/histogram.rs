//! The histogram page: fetches an activation, and has it counted once.

use std::sync::Arc;

use ndarray::{ArrayViewD, Axis, CowArray, IxDyn};

use super::full::{difference, witnesses};
use super::page::Request;
use super::state::Debugger;
use super::view::{HistogramPage, HistogramRequest};
use crate::dump::shared_rows;
use crate::engine::Value;
use crate::metrics::{Channel, Histogram, histogram, loudest_channels};

impl Request for HistogramRequest {
    type Page = HistogramPage;

    fn page(&self, debugger: &Debugger) -> Result<HistogramPage, String> {
        let graph = debugger.graph();
        let site = graph.site(self.row).ok_or("there is no such op")?;
        let (of, minus) = witnesses(self.shown);
        let of = debugger.full(site, of)?;
        let minus = minus.map(|witness| debugger.full(site, witness)).transpose()?;
        let mut notes = of.notes.clone();
        notes.extend(minus.iter().flat_map(|minus| minus.notes.clone()));

        let node = &graph[site];
        let planes = node.plane_axis().map_or(1, |axis| of.values.len_of(Axis(axis)));
        let plane = self.plane.filter(|_| node.plane_axis().is_some());
        let plane = plane.map(|plane| plane.min(planes.saturating_sub(1)));
        let taken = plane.and(node.plane_axis()).zip(plane);
        let mut axes: Vec<&'static str> = node.axes.iter().map(|axis| axis.name).collect();
        let mut row = node.row_axis();
        if let Some((axis, _)) = taken {
            axes.remove(axis);
            row -= usize::from(axis < row);
        }
        let pair = (of.origin.clone(), minus.as_ref().map(|minus| minus.origin.clone()));
        let counted = debugger.memos.histograms.get_or((pair, plane, self.bins, self.channels), || {
            let minus = minus.as_ref().map(|minus| (&minus.values, &minus.rows[..]));
            Arc::new(counted((&of.values, &of.rows), minus, taken, row, self))
        });
        let (histogram, (loudest, median_channel)) = (*counted).clone();
        let channel_axis = axes.pop().unwrap_or_default();
        Ok(HistogramPage {
            name: node.name.clone(),
            plane,
            planes,
            plane_word: node.plane_word(),
            place_axes: axes,
            channel_axis,
            first_position: debugger.pass.run.first_position(),
            histogram,
            loudest,
            median_channel,
            notes,
        })
    }
}

/// Values of a witness, and which rows they are.
pub(super) type Rows<'a> = (&'a Value, &'a [usize]);

/// What the histogram shows.
pub(super) type Counted = (Histogram, (Vec<Channel>, f64));

/// Counts values, or what is left of them without others: one index of an axis where one is taken, and of what is left the
/// rows of the axis `row` that are there.
pub(super) fn counted(
    (of, rows): Rows,
    minus: Option<Rows>,
    taken: Option<(usize, usize)>,
    row: usize,
    request: &HistogramRequest,
) -> Counted {
    let rows = minus.map_or_else(|| rows.to_vec(), |(_, others)| shared_rows(rows, others));
    let values: CowArray<f32, IxDyn> = match minus {
        Some((minus, _)) => difference(plane_of(of.view(), taken), plane_of(minus.view(), taken)).into(),
        None => plane_of(of.view(), taken).into(),
    };
    let lacks = rows.len() < values.len_of(Axis(row));
    let values = if lacks { values.select(Axis(row), &rows).into() } else { values };
    let (mut loudest, median) = loudest_channels(values.view(), request.channels);
    for place in loudest.iter_mut().filter_map(|channel| channel.place.get_mut(row)) {
        *place = rows[*place];
    }
    (histogram(values.view(), request.bins), (loudest, median))
}

/// One index of an axis, or all.
fn plane_of(values: ArrayViewD<'_, f32>, taken: Option<(usize, usize)>) -> ArrayViewD<'_, f32> {
    match taken {
        Some((axis, plane)) => values.index_axis_move(Axis(axis), plane),
        None => values,
    }
}
