//! What a witness has of one activation.

use ndarray::{ArrayD, Axis, Slice, concatenate};

use crate::engine::{Node, Value};

/// Some rows, and for attention some keys, of one activation, in the layout of the table.
#[derive(Clone, Debug)]
pub struct RowSubset {
    /// The values.
    pub values: Value,
    /// Which rows of the forward they are, in rising order.
    pub rows: Vec<usize>,
    /// The key position of column 0, for scores and probabilities.
    pub first_key: usize,
}

/// A tensor in the layout of the table.
#[derive(Clone, Debug)]
pub struct Aligned {
    /// What the witness has of the activation.
    pub part: RowSubset,
    /// What was decided or assumed for it, and done to it.
    pub notes: Vec<String>,
}

impl RowSubset {
    /// All rows of our own engine's activation. With [`crate::engine::LogitRows::Last`] only the last row is there.
    pub fn whole(values: Value, node: &Node, tokens: usize) -> Self {
        let present = values.shape()[node.row_axis()];
        let tokens = if node.is_pooled() { 1 } else { tokens };
        Self { values, rows: (tokens - present..tokens).collect(), first_key: 0 }
    }

    /// With the keys before its own that a mask shows to a row, `shows(row, key)`: no query of the dump saw them, and `hidden`
    /// stands there.
    #[must_use]
    pub(super) fn with_unseen(self, shows: impl Fn(usize, usize) -> bool, hidden: f32) -> Self {
        let is_shown = |key: &usize| self.rows.iter().any(|row| shows(*row, *key));
        let Some(first_key) = (0..self.first_key).find(is_shown) else { return self };
        let keys = Axis(self.values.ndim() - 1);
        let mut shape = self.values.shape().to_vec();
        shape[keys.index()] = self.first_key - first_key;
        let unseen = ArrayD::from_elem(shape, hidden);
        let values =
            concatenate(keys, &[unseen.view(), self.values.view()]).expect("all axes but that of keys are alike");
        Self { values: values.into_shared(), first_key, ..self }
    }

    /// At most `count` of its rows, spread over all of them.
    #[must_use]
    pub fn sample(&self, count: usize, node: &Node) -> Self {
        let every = self.rows.len().div_ceil(count).max(1);
        let picked: Vec<usize> =
            (0..self.rows.len()).rev().step_by(every).collect::<Vec<_>>().into_iter().rev().collect();
        self.picked(&picked, node)
    }

    /// Some of its rows, by their index.
    #[must_use]
    pub fn picked(&self, picked: &[usize], node: &Node) -> Self {
        let values = self.values.select(Axis(node.row_axis()), picked).into_shared();
        Self { values, rows: picked.iter().map(|index| self.rows[*index]).collect(), first_key: self.first_key }
    }

    /// In the shape of the whole activation: NaN in the rows and keys that it lacks.
    pub fn spread(&self, node: &Node, shape: &[usize]) -> ArrayD<f32> {
        let mut full = ArrayD::from_elem(shape, f32::NAN);
        let row_axis = Axis(node.row_axis());
        for (values, row) in self.values.axis_iter(row_axis).zip(&self.rows) {
            let mut target = full.index_axis_mut(row_axis, *row);
            if node.has_keys() {
                let columns = Axis(target.ndim() - 1);
                let keys = self.first_key..self.first_key + values.len_of(columns);
                target.slice_axis_inplace(columns, Slice::from(keys));
            }
            target.assign(&values);
        }
        full
    }
}

/// The rows that both have, each in rising order.
pub fn shared_rows(a: &[usize], b: &[usize]) -> Vec<usize> {
    a.iter().copied().filter(|row| b.binary_search(row).is_ok()).collect()
}
