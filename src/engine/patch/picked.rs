//! Elements of an array, picked by their indices on each axis.

use ndarray::{ArrayD, Axis as NdAxis, IxDyn};

use crate::engine::Value;
use crate::ops::{Mask, Real};

/// An index of two or three numbers.
pub(super) struct Place([usize; 3]);

impl Place {
    /// As many numbers as `at` has.
    pub(super) fn of(&self, at: &[usize]) -> &[usize] {
        &self.0[..at.len()]
    }
}

/// Elements of an array: every combination of some indices of each axis, but for what is hidden.
#[derive(Clone, Debug)]
pub struct Picked {
    indices: Vec<Vec<usize>>,
    row_axis: usize,
    seen: Option<Mask>,
}

impl Picked {
    /// Indices of each axis; where there is a mask, what it hides is left out.
    pub(super) fn new(indices: Vec<Vec<usize>>, row_axis: usize, seen: Option<Mask>) -> Self {
        Self { indices, row_axis, seen }
    }

    /// The axis of rows.
    pub(super) fn row_axis(&self) -> usize {
        self.row_axis
    }

    /// The index `at` with another row.
    pub(super) fn moved(&self, at: &[usize], row: impl Fn(usize) -> usize) -> Place {
        let mut place = [0; 3];
        place[..at.len()].copy_from_slice(at);
        place[self.row_axis] = row(place[self.row_axis]);
        Place(place)
    }

    /// Number of indices on each axis.
    pub fn shape(&self) -> Vec<usize> {
        self.indices.iter().map(Vec::len).collect()
    }

    /// Rows of the forward in which there are elements.
    pub fn rows(&self) -> &[usize] {
        &self.indices[self.row_axis]
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.indices.iter().any(Vec::is_empty) || self.rows().iter().all(|row| self.columns(*row).is_empty())
    }

    /// Keys that are seen from a row and picked; of other activations, channels.
    pub fn columns(&self, row: usize) -> Vec<usize> {
        let columns = self.indices.last().into_iter().flatten().copied();
        columns.filter(|column| self.seen.is_none_or(|mask| mask.allows(row, *column))).collect()
    }

    /// An array of `shape` that has the elements of `part`, which has [`Picked::shape`], at their places, and 0 elsewhere.
    pub fn spread(&self, part: &ArrayD<f32>, shape: &[usize]) -> ArrayD<f32> {
        let mut whole = ArrayD::zeros(IxDyn(shape));
        for (index, value) in part.indexed_iter() {
            let at: Vec<usize> = self.indices.iter().enumerate().map(|(axis, all)| all[index[axis]]).collect();
            whole[&at[..]] = *value;
        }
        whole
    }

    /// Indices of every axis but the last.
    fn lanes(&self) -> Vec<Vec<usize>> {
        let outer = &self.indices[..self.indices.len() - 1];
        outer.iter().fold(vec![Vec::new()], |lanes, indices| {
            let longer = |lane: Vec<usize>| indices.iter().map(move |index| [&lane[..], &[*index]].concat());
            lanes.into_iter().flat_map(longer).collect()
        })
    }

    fn sees(&self, lane: &[usize], column: usize) -> bool {
        self.seen.is_none_or(|mask| mask.allows(lane[self.row_axis], column))
    }

    /// Gives `change` every element with its index.
    pub(super) fn each<T: Real>(&self, value: &mut Value<T>, mut change: impl FnMut(&[usize], &mut T)) {
        let [.., columns] = &self.indices[..] else { return };
        let lanes = self.lanes();
        if lanes.is_empty() {
            // What is shared stays shared.
            return;
        }
        let mut view = value.view_mut();
        for mut at in lanes {
            let mut lane = view.view_mut();
            for index in &at {
                lane.index_axis_inplace(NdAxis(0), *index);
            }
            for column in columns {
                if self.sees(&at, *column) {
                    at.push(*column);
                    change(&at, &mut lane[*column]);
                    at.pop();
                }
            }
        }
    }

    /// Sums are taken in f64, from the first row to the last.
    pub(super) fn mean<T: Real>(&self, value: &mut Value<T>) {
        let mut shape = value.shape().to_vec();
        shape[self.row_axis] = 1;
        let mut sums = ArrayD::from_elem(IxDyn(&shape), (0.0, 0.0));
        let cell = |at: &[usize]| self.moved(at, |_| 0);
        self.each(value, |at, v| {
            let (sum, count) = &mut sums[cell(at).of(at)];
            (*sum, *count) = (*sum + v.wide(), *count + 1.0);
        });
        self.each(value, |at, v| {
            let (sum, count) = sums[cell(at).of(at)];
            *v = T::from_f64(sum / count);
        });
    }
}
