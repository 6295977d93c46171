//! What weights of fewer bits cost, one part of the model at a time: how far its output lies from that of the whole weights.

use std::sync::Arc;

use super::effect::Effect;
use super::part::Part;
use super::scheme::Scheme;
use crate::engine::{LogitRows, Run, Site};
use crate::model::Model;
use crate::model::tensor::Tensor;

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

/// Rounds one layer at a time, or one matrix, feeds `ids`, and ranks them by what they cost: the most first. `progress` is
/// called with the passes done and to do.
pub fn sensitivity(
    model: &Arc<Model>,
    ids: &[u32],
    scheme: Scheme,
    per_matrix: bool,
    progress: &mut dyn FnMut(usize, usize),
) -> Vec<Cost> {
    let Some(output) = model.graph.logits() else { return Vec::new() };
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
