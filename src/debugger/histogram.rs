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
        let site = *self.run.program().sites().get(request.row).ok_or("there is no such op")?;
        let (of, minus) = witnesses(request.shown);
        let of = self.whole(site, of)?;
        let minus = minus.map(|witness| self.whole(site, witness)).transpose()?;
        let mut notes = of.notes.clone();
        notes.extend(minus.iter().flat_map(|minus| minus.notes.clone()));

        let axes = site.activation.row().axes;
        let planes = if axes.len() == 3 { of.values.shape()[0] } else { 1 };
        let plane = request.plane.filter(|_| axes.len() == 3).map(|plane| plane.min(planes.saturating_sub(1)));
        let pair = (of.origin.clone(), minus.as_ref().map(|minus| minus.origin.clone()));
        let counted = self.kept.histograms.get_or((pair, plane, request.bins, request.channels), || {
            let rows: Vec<usize> = match &minus {
                Some(minus) => of.rows.iter().copied().filter(|row| minus.rows.binary_search(row).is_ok()).collect(),
                None => of.rows.clone(),
            };
            let values: CowArray<f32, IxDyn> = match &minus {
                Some(minus) => {
                    difference(plane_of(of.values.view(), plane), plane_of(minus.values.view(), plane)).into()
                }
                None => plane_of(of.values.view(), plane).into(),
            };
            let row_axis = Axis(values.ndim() - 2);
            let lacks = rows.len() < values.len_of(row_axis);
            let values = if lacks { values.select(row_axis, &rows).into() } else { values };
            let (mut loudest, median) = loudest_channels(values.view(), request.channels);
            for row in loudest.iter_mut().filter_map(|channel| channel.place.last_mut()) {
                *row = rows[*row];
            }
            Arc::new((histogram(values.view(), request.bins), (loudest, median)))
        });
        let (histogram, (loudest, median_channel)) = (*counted).clone();
        let place_axes = &axes[usize::from(plane.is_some())..axes.len() - 1];
        Ok(HistogramPage {
            name: site.to_string(),
            plane,
            planes,
            place_axes: place_axes.iter().map(|axis| axis.name()).collect(),
            channel_axis: axes[axes.len() - 1].name(),
            first_position: self.run.first_position(),
            histogram,
            loudest,
            median_channel,
            notes,
        })
    }
}

/// One index of the outermost axis, or all.
fn plane_of(values: ArrayViewD<'_, f32>, plane: Option<usize>) -> ArrayViewD<'_, f32> {
    match plane {
        Some(plane) => values.index_axis_move(Axis(0), plane),
        None => values,
    }
}
