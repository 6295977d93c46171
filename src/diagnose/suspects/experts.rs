//! Mistakes in mixtures of experts: who is chosen, with which weight, and whose matrices are taken.

use ndarray::{Ix2, Ix3};

use super::{Scene, Suspect, Variant, knobs};
use crate::engine::{Edit, Op, Role as A};
use crate::model::op::Weight;
use crate::ops::chosen;

pub(super) const SUSPECTS: &[Suspect] = &[
    Suspect {
        id: "router_renormalise",
        summary: "the weights of the chosen experts are divided by their sum, or are not",
        ops: &[A::Routing],
        symptom: "the right experts, their weights off by one factor for each token",
        cause: "norm_topk_prob of config.json is not read, or is taken for that of another model",
        fix: "divide the weights of the chosen experts by their sum where the model does (norm_topk_prob), and only there",
        seen: "mere-run #136, torchtitan #1448, sglang #35160",
        variants: knobs::renormalise,
    },
    Suspect {
        id: "router_order",
        summary: "the softmax is taken of the chosen logits where the model takes it of all, or the reverse",
        ops: &[A::Routing],
        symptom: "the right experts, their weights off by one factor for each token",
        cause: "softmax and the choice of experts stand in the other order",
        fix: "choose experts and take the softmax in the order of the model",
        seen: "no public thread is known to us",
        variants: knobs::router_order,
    },
    Suspect {
        id: "router_top_k",
        summary: "another number of experts is chosen for each token",
        ops: &[A::Routing],
        symptom: "the heaviest experts agree, others are missing or too many",
        cause: "num_experts_per_tok of config.json is not read",
        fix: "choose num_experts_per_tok experts for each token",
        seen: "no public thread is known to us",
        variants: knobs::top_k,
    },
    Suspect {
        id: "expert_weights",
        summary: "an expert has the matrices of another one",
        ops: &[A::ExpertGate, A::ExpertUp, A::ExpertDown],
        symptom: "tokens that are sent to that expert are wrong, others are right",
        cause: "an index off by one when the experts' matrices are loaded or stacked",
        fix: "load the matrices of expert e into the place of expert e",
        seen: "no public thread is known to us",
        variants: neighbours,
    },
];

/// Experts that are tried one by one at most.
const MOST: usize = 16;

/// All experts shifted by one, or one of them exchanged for its neighbour.
fn neighbours(scene: &Scene) -> Vec<Variant> {
    let Op::Experts { weights: Weight::Param(param), .. } = scene.op() else { return Vec::new() };
    let Some(count) = scene.graph().params()[param.index()].experts.filter(|count| *count > 1) else {
        return Vec::new();
    };
    let before = |expert: usize| (expert + count - 1) % count;
    let after = |expert: usize| (expert + 1) % count;
    let all =
        |words: &str, of: &dyn Fn(usize) -> usize| Variant::new(words, Edit::Experts((0..count).map(of).collect()));
    let mut variants = vec![
        all("every expert has the matrices of the one before", &before),
        all("every expert has the matrices of the next one", &after),
    ];
    for expert in wrong_ones(scene).unwrap_or_else(|| (0..count.min(MOST)).collect()) {
        for other in [after(expert), before(expert)] {
            let whose = (0..count).map(|own| if own == expert { other } else { own });
            let words = format!("expert {expert} has the matrices of expert {other}");
            variants.push(Variant::new(words, Edit::Experts(whose.collect())));
        }
    }
    variants
}

/// The experts in whose slots the dump is furthest off, the worst first.
fn wrong_ones(scene: &Scene) -> Option<Vec<usize>> {
    const NOTHING: f64 = 1e-3;
    let (y, f) = (scene.dumped()?, scene.exact()?);
    let (y, f) = (y.into_dimensionality::<Ix3>().ok()?, f.into_dimensionality::<Ix3>().ok()?);
    let routing = scene.input(1)?.into_dimensionality::<Ix2>().ok()?;
    let mut off = vec![0.0; routing.ncols()];
    for ((y, f), weights) in y.outer_iter().zip(f.outer_iter()).zip(routing.rows()) {
        for ((y, f), expert) in y.outer_iter().zip(f.outer_iter()).zip(chosen(weights, y.nrows())) {
            off[expert] += y.iter().zip(&f).map(|(y, f)| (y - f).powi(2)).sum::<f64>();
        }
    }
    let all: f64 = off.iter().sum();
    let mut wrong: Vec<usize> = (0..off.len()).filter(|expert| off[*expert] > NOTHING * all).collect();
    wrong.sort_by(|a, b| off[*b].total_cmp(&off[*a]));
    wrong.truncate(MOST);
    Some(wrong)
}
