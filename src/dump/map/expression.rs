//! What a map does to a tensor before its shape is looked at: sum, then reshape, then transpose.

use ndarray::{ArrayD, IxDyn};

use crate::dump::error::shown;

/// What is done to a tensor before its shape is looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::dump) struct Expression {
    /// Names of tensors that are added.
    pub(in crate::dump) sum: Vec<String>,
    pub(super) reshape: Vec<Option<usize>>,
    pub(super) transpose: Vec<usize>,
}

impl Expression {
    /// The shape that comes of a stored one.
    pub(in crate::dump) fn shape(&self, stored: &[usize]) -> Result<Vec<usize>, String> {
        let mut shape = stored.to_vec();
        if !self.reshape.is_empty() {
            let count = stored.iter().try_fold(1usize, |a, b| a.checked_mul(*b)).unwrap_or(usize::MAX);
            let known = self.reshape.iter().flatten().try_fold(1usize, |a, b| a.checked_mul(*b)).unwrap_or(usize::MAX);
            let rest = count.checked_div(known).unwrap_or(0);
            shape = self.reshape.iter().map(|size| size.unwrap_or(rest)).collect();
            if shape.iter().try_fold(1usize, |a, b| a.checked_mul(*b)) != Some(count) {
                return Err(format!("has shape {stored:?}, which cannot be reshaped to {shape:?} by the map"));
            }
        }
        if self.transpose.is_empty() {
            return Ok(shape);
        }
        let axes = self.transpose.iter().map(|axis| shape.get(*axis).copied()).collect::<Option<Vec<usize>>>();
        axes.filter(|axes| axes.len() == shape.len())
            .ok_or_else(|| format!("has shape {shape:?}, and the map transposes {} axes", self.transpose.len()))
    }

    /// The values after reshape and transpose; the sum has been made.
    pub(in crate::dump) fn apply(&self, values: ArrayD<f32>) -> Result<ArrayD<f32>, String> {
        let unmoved = Expression { transpose: Vec::new(), ..self.clone() }.shape(values.shape())?;
        let values = values.into_shape_with_order(IxDyn(&unmoved)).map_err(|e| e.to_string())?;
        self.shape(values.shape()).map(|_| ())?;
        if self.transpose.is_empty() { Ok(values) } else { Ok(values.permuted_axes(IxDyn(&self.transpose))) }
    }

    /// In words.
    pub(in crate::dump) fn describe(&self) -> Vec<String> {
        let mut steps: Vec<String> = self.sum.iter().map(|name| format!("plus {}", shown(name))).collect();
        if !self.reshape.is_empty() {
            let sizes: Vec<String> = self.reshape.iter().map(|n| n.map_or("-1".into(), |n| n.to_string())).collect();
            steps.push(format!("reshaped to [{}] by the map", sizes.join(", ")));
        }
        if !self.transpose.is_empty() {
            steps.push(format!("transposed to {:?} by the map", self.transpose));
        }
        steps
    }
}
