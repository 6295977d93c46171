//! Values that are whole, cut and pooled to the size of a pane: whoever has them.

use std::ops::Range;

use ndarray::{ArrayView2, Axis as NdAxis, Dimension, Ix2, s};

use super::full::difference;
use super::view::{Shown, TensorPage, TensorRequest};
use crate::engine::{Node, Value};
use crate::metrics::{Summary, middle_range, pool, summarise};

/// An activation or a difference, and what its axes are.
pub(super) struct Sheet<'a> {
    pub(super) name: String,
    pub(super) meaning: &'static str,
    /// Names of its two or three axes, outermost first.
    pub(super) axes: Vec<&'static str>,
    /// The axis of its rows; the other one of the first two, if there are three, is that of the planes.
    pub(super) row_axis: usize,
    /// What a plane is: `head`, `slot`.
    pub(super) plane_word: &'static str,
    /// Position in the sequence of row 0.
    pub(super) first_position: usize,
    pub(super) values: &'a Value,
}

impl<'a> Sheet<'a> {
    /// Of an activation of the table.
    pub(super) fn of(node: &Node, values: &'a Value, first_position: usize) -> Self {
        Self {
            name: node.name.clone(),
            meaning: node.meaning,
            axes: node.axes.iter().map(|axis| axis.name).collect(),
            row_axis: node.row_axis(),
            plane_word: node.plane_word(),
            first_position,
            values,
        }
    }

    /// The axis of its planes.
    pub(super) fn plane_axis(&self) -> Option<usize> {
        (self.axes.len() == 3).then(|| usize::from(self.row_axis == 0))
    }

    /// An index as plane, row and column.
    pub(super) fn place(&self, index: &[usize]) -> Option<(usize, usize, usize)> {
        let plane = self.plane_axis().map_or(0, |axis| index[axis]);
        Some((plane, index[self.row_axis], *index.last()?))
    }

    /// What a pane asks for of it; beginning at `worst`, where that is given. What others know of it is left empty.
    pub(super) fn page(
        self,
        request: &TensorRequest,
        worst: Option<(usize, usize, usize)>,
        summary: Summary,
    ) -> TensorPage {
        let planes = self.plane_axis().map_or(1, |axis| self.values.len_of(NdAxis(axis)));
        let (shown, row, column) = worst.unwrap_or((request.plane, request.rows.0, request.columns.0));
        let shown = shown.min(planes.saturating_sub(1));
        let plane = match self.plane_axis() {
            Some(axis) => self.values.index_axis(NdAxis(axis), shown),
            None => self.values.view(),
        };
        let plane = plane.into_dimensionality::<Ix2>().expect("activations have two or three axes");
        let (mut rows, mut columns) = ((row, request.rows.1), (column, request.columns.1));
        if worst.is_some() {
            // As many as there is room for.
            rows.0 = row.min(plane.nrows().saturating_sub(rows.1));
            columns.0 = column.min(plane.ncols().saturating_sub(columns.1));
        }
        let (heat_from, heat) = magnified(plane.view(), (rows.0, columns.0), request.magnify);
        // Around 1, a ratio has no sign.
        let around_one = matches!(request.shown, Shown::Ratio(..)).then(|| heat.mapv(|ratio| ratio - 1.0));
        let heat = around_one.as_ref().map_or(heat, |heat| heat.view());
        let (pooled, heatmap) = pool(heat, request.heatmap);
        TensorPage {
            name: self.name,
            meaning: self.meaning,
            axes: self.axes.iter().copied().zip(self.values.shape().iter().copied()).collect(),
            planes,
            place: (shown, rows.0, columns.0),
            plane_word: self.plane_word,
            row_axis: (self.axes[self.row_axis], plane.nrows()),
            column_axis: (self.axes.last().copied().unwrap_or_default(), plane.ncols()),
            first_position: self.first_position,
            vocabulary: Vec::new(),
            numbers: cut(plane.view(), rows, columns),
            heatmap,
            pooled,
            heat_from,
            range: middle_range(heat.iter()),
            summary,
            comparisons: Vec::new(),
            notes: Vec::new(),
        }
    }
}

/// Where two witnesses are furthest apart, as an index; where one of them is not finite and the other is, before all.
/// `there` says whether both have a row of the axis `row_axis`: one that is lacking is NaN. `apart` describes their
/// difference.
pub(super) fn furthest(
    a: &Value,
    b: &Value,
    row_axis: usize,
    there: impl Fn(usize) -> bool,
    apart: Summary,
) -> Option<Vec<usize>> {
    let odd = |a: &f32, b: &f32| a.is_finite() != b.is_finite() || a.is_nan() != b.is_nan();
    let mut pairs = a.indexed_iter().zip(b);
    // Only where something is not finite is that to be looked for.
    let first = if apart.finite < apart.count {
        pairs.find_map(|((index, a), b)| (odd(a, b) && there(index[row_axis])).then(|| index.slice().to_vec()))
    } else {
        None
    };
    first.or(apart.absmax.map(|(_, index)| index))
}

/// What the difference of two looks like.
pub(super) fn apart(a: &Value, b: &Value) -> Summary {
    summarise(difference(a.view(), b.view()).view())
}

/// The part of a plane that the heatmap shows, and where it begins: all of it, unless it is magnified.
fn magnified(plane: ArrayView2<f32>, (row, column): (usize, usize), times: usize) -> ((usize, usize), ArrayView2<f32>) {
    let part = |first: usize, length: usize| {
        let count = length.div_ceil(times.max(1));
        let first = if times > 1 { first.min(length - count.min(length)) } else { 0 };
        first..(first + count).min(length)
    };
    let (rows, columns) = (part(row, plane.nrows()), part(column, plane.ncols()));
    ((rows.start, columns.start), plane.slice_move(s![rows, columns]))
}

/// A first and how many, cut at the edge.
pub(super) fn inside((first, count): (usize, usize), length: usize) -> Range<usize> {
    first.min(length)..first.saturating_add(count).min(length)
}

/// The numbers of a window, cut at the edges.
fn cut(plane: ArrayView2<f32>, rows: (usize, usize), columns: (usize, usize)) -> Vec<Vec<f32>> {
    let (rows, columns) = (inside(rows, plane.nrows()), inside(columns, plane.ncols()));
    rows.map(|row| columns.clone().map(|column| plane[[row, column]]).collect()).collect()
}
