//! The histogram page: fetches an activation, and has it counted once.

use std::sync::Arc;

use ndarray::{ArrayViewD, Axis, CowArray, IxDyn};

use super::state::Debugger;
use super::view::{HistogramPage, HistogramRequest};
use super::whole::{difference, witnesses};
use crate::metrics::{histogram, loudest_channels};

impl Debugger {
    /// The distribution of an activation, as `request` asks for it.
    ///
    /// # Errors
    /// One sentence for the user: the activation is not computed yet, or the witness does not have it.
    pub fn histogram(&self, request: &HistogramRequest) -> Result<HistogramPage, String> {
        let graph = self.run.graph();
        let site = graph.site(request.row).ok_or("there is no such op")?;
        let (of, minus) = witnesses(request.shown);
        let of = self.whole(site, of)?;
        let minus = minus.map(|witness| self.whole(site, witness)).transpose()?;
        let mut notes = of.notes.clone();
        notes.extend(minus.iter().flat_map(|minus| minus.notes.clone()));

        let node = &graph[site];
        let planes = node.plane_axis().map_or(1, |axis| of.values.len_of(Axis(axis)));
        let plane = request.plane.filter(|_| node.plane_axis().is_some());
        let plane = plane.map(|plane| plane.min(planes.saturating_sub(1)));
        let taken = plane.and(node.plane_axis()).zip(plane);
        let mut axes: Vec<&'static str> = node.axes.iter().map(|axis| axis.name).collect();
        let mut row = node.row_axis();
        if let Some((axis, _)) = taken {
            axes.remove(axis);
            row -= usize::from(axis < row);
        }
        let pair = (of.origin.clone(), minus.as_ref().map(|minus| minus.origin.clone()));
        let counted = self.kept.histograms.get_or((pair, plane, request.bins, request.channels), || {
            let rows: Vec<usize> = match &minus {
                Some(minus) => of.rows.iter().copied().filter(|row| minus.rows.binary_search(row).is_ok()).collect(),
                None => of.rows.clone(),
            };
            let values: CowArray<f32, IxDyn> = match &minus {
                Some(minus) => {
                    difference(plane_of(of.values.view(), taken), plane_of(minus.values.view(), taken)).into()
                }
                None => plane_of(of.values.view(), taken).into(),
            };
            let lacks = rows.len() < values.len_of(Axis(row));
            let values = if lacks { values.select(Axis(row), &rows).into() } else { values };
            let (mut loudest, median) = loudest_channels(values.view(), request.channels);
            for place in loudest.iter_mut().filter_map(|channel| channel.place.get_mut(row)) {
                *place = rows[*place];
            }
            Arc::new((histogram(values.view(), request.bins), (loudest, median)))
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
            first_position: self.run.first_position(),
            histogram,
            loudest,
            median_channel,
            notes,
        })
    }
}

/// One index of an axis, or all.
fn plane_of(values: ArrayViewD<'_, f32>, taken: Option<(usize, usize)>) -> ArrayViewD<'_, f32> {
    match taken {
        Some((axis, plane)) => values.index_axis_move(Axis(axis), plane),
        None => values,
    }
}
