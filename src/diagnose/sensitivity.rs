//! What weights of fewer bits cost, one part of the model at a time: how far its output lies from that of the whole weights.
//!
//! Symmetric integers, rounded to nearest, with one scale for each block of inputs: `q = round(w / s)`, `s = max |w| / (2^(b - 1) - 1)`.

use std::sync::Arc;

use super::effect::Effect;
use super::part::Part;
use crate::engine::{LogitRows, Run, Site};
use crate::model::Model;
use crate::model::tensor::Tensor;

/// How weights are rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheme {
    /// Bits of each weight, its sign included.
    pub bits: u32,
    /// Inputs that share a scale; `None` for all of an output.
    pub block: Option<usize>,
}

/// One part of the model, and what rounding its weights does.
#[derive(Clone, Debug)]
pub struct Cost {
    /// `layer 3`, or the name of a matrix.
    pub name: String,
    /// What it does to the output.
    pub effect: Effect,
    /// Relative L2 error of its weights.
    pub weights: f64,
}

impl Scheme {
    /// Reads `int8`, `int4:32`.
    ///
    /// # Errors
    /// One sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (kind, block) = text.split_once(':').map_or((text, None), |(kind, block)| (kind, Some(block)));
        let bits = kind.strip_prefix("int").and_then(|bits| bits.parse().ok()).filter(|bits| (2..=8).contains(bits));
        let block = block.map(|block| block.parse().ok().filter(|size| *size > 0));
        match (bits, block) {
            (Some(bits), None) => Ok(Self { bits, block: None }),
            (Some(bits), Some(Some(block))) => Ok(Self { bits, block: Some(block) }),
            _ => Err(format!(
                "{text:?} is no kind of weights: int8, int4:32 (int2 to int8, and inputs that share a scale)"
            )),
        }
    }

    /// `int4 in blocks of 32`
    pub fn describe(self) -> String {
        let block = self.block.map_or_else(|| "with a scale for each output".into(), |n| format!("in blocks of {n}"));
        format!("int{} {block}", self.bits)
    }

    /// A block of weights, rounded.
    fn round(self, block: &mut [f32]) {
        let steps = ((1u32 << (self.bits - 1)) - 1) as f32;
        let largest = block.iter().fold(0.0f32, |largest, weight| largest.max(weight.abs()));
        let scale = largest / steps;
        if scale > 0.0 && scale.is_finite() {
            for weight in block {
                *weight = (*weight / scale).round().clamp(-steps, steps) * scale;
            }
        }
    }

    /// A matrix `[out, in]` with rounded weights; and the squared sums of its error and of itself.
    fn rounded(self, tensor: &Tensor) -> (Tensor, [f64; 2]) {
        let exact = tensor.rows();
        let mut rounded = exact.clone();
        for mut row in rounded.rows_mut() {
            let row = row.as_slice_mut().expect("a row of a fresh matrix is contiguous");
            let size = self.block.unwrap_or(row.len()).max(1);
            row.chunks_mut(size).for_each(|block| self.round(block));
        }
        let squares = |of: &mut dyn Iterator<Item = f64>| of.map(|v| v * v).sum::<f64>();
        let error = squares(&mut rounded.iter().zip(&exact).map(|(a, b)| f64::from(*a) - f64::from(*b)));
        let size = squares(&mut exact.iter().map(|v| f64::from(*v)));
        (Tensor::of_rows(&tensor.name, &rounded.view()), [error, size])
    }
}

/// Rounds one layer at a time, or one matrix, feeds `ids`, and ranks them by what they cost: the most first. `progress` is
/// called with the passes done and to do.
pub fn sensitivity(
    model: &Arc<Model>,
    ids: &[u32],
    scheme: Scheme,
    per_matrix: bool,
    progress: &mut dyn FnMut(usize, usize),
) -> Vec<Cost> {
    let Some(output) = model.graph.output() else { return Vec::new() };
    let right = logits(Arc::clone(model), ids, output);
    let mut units: Vec<(String, Vec<usize>)> = Vec::new();
    for (index, param) in model.graph.params().iter().enumerate() {
        // Vectors, and what no layer owns, are kept whole in every format.
        let Some(layer) = param.layer.filter(|_| param.shape.len() == 2) else { continue };
        let name =
            if per_matrix { param.name.trim_end_matches(".weight").to_string() } else { format!("layer {layer}") };
        match units.last_mut().filter(|(known, _)| *known == name) {
            Some((_, of)) => of.push(index),
            None => units.push((name, vec![index])),
        }
    }
    let total = units.len();
    let mut costs: Vec<Cost> = Vec::with_capacity(total);
    for (name, params) in units {
        let mut squares = [0.0; 2];
        let mut changed = Vec::new();
        for index in params {
            let rounded = model.matrices_at(index).iter().map(|tensor| scheme.rounded(tensor));
            let (tensors, sums): (Vec<Tensor>, Vec<[f64; 2]>) = rounded.unzip();
            for [error, size] in sums {
                squares = [squares[0] + error, squares[1] + size];
            }
            changed.push((index, tensors));
        }
        let found = logits(Arc::new(model.with_matrices(changed)), ids, output);
        let mut effect = Effect::between(["rounded", "whole"]);
        effect.add(0, &found, &right);
        costs.push(Cost {
            name,
            effect,
            weights: if squares[0] > 0.0 { (squares[0] / squares[1]).sqrt() } else { 0.0 },
        });
        progress(costs.len(), total);
    }
    costs.sort_by(|a, b| b.effect.kl().total_cmp(&a.effect.kl()));
    costs
}

fn logits(model: Arc<Model>, ids: &[u32], output: Site) -> Part {
    let mut run: Run = Run::new(Arc::clone(&model), ids, LogitRows::All);
    run.finish_forward();
    let value = run.get(output).expect("the forward is complete").clone();
    Part::whole(value, &model.graph[output], ids.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn schemes_are_read_and_round() {
        let read = |text| Scheme::parse(text).map(Scheme::describe);
        assert_eq!(read("int8"), Ok("int8 with a scale for each output".into()));
        assert_eq!(read("int4:32"), Ok("int4 in blocks of 32".into()));
        for wrong in ["", "int9", "int4:0", "q4_0", "int4:x"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        let matrix = array![[7.0f32, -3.4, 0.2, 0.5, -70.0, 35.0]];
        let tensor = Tensor::of_rows("w", &matrix.view());
        let (rounded, [error, size]) = Scheme { bits: 4, block: Some(4) }.rounded(&tensor);
        assert_eq!(rounded.rows(), array![[7.0f32, -3.0, 0.0, 1.0, -70.0, 40.0]]);
        assert!((error - (0.16 + 0.04 + 0.25 + 25.0)).abs() < 1e-4 && size > 6000.0, "{error} {size}");
    }
}
