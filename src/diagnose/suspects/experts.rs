//! Mistakes in mixtures of experts: whose matrices are taken, how they are read, and what every token has beside them.

use ndarray::{Ix2, Ix3};

use super::{Scene, Suspect, Variant, knobs};
use crate::engine::{Edit, Field, Op, Role as A};
use crate::model::op::Weight;
use crate::ops::chosen;

pub(super) const SUSPECTS: &[Suspect] = &[
    Suspect {
        id: "experts_permuted",
        summary: "an expert has the matrices of another one",
        ops: &[A::ExpertGate, A::ExpertUp, A::ExpertDown],
        symptom: "tokens that are sent to that expert are wrong, others are right",
        cause: "an index off by one when the experts' matrices are loaded or stacked",
        fix: "load the matrices of expert e into the place of expert e",
        seen: "no public thread is known to us",
        variants: neighbours,
    },
    Suspect {
        id: "expert_fused_order",
        summary: "gate and up of experts are taken out of their one matrix in another order",
        ops: &[A::ExpertGate, A::ExpertUp],
        symptom: "the product with the matrix of both is right, its parts are not",
        cause: "a channel of each in turn, as in GPT-OSS, read as two halves, or halves read in turn",
        fix: "take gate and up from the columns where the model has them",
        seen: "imp #572",
        variants: columns,
    },
    Suspect {
        id: "shared_expert_missing",
        summary: "what the expert of every token gives is not added",
        ops: &[A::SharedDownProj, A::Shared, A::MlpOut],
        symptom: "the MLP gives what the chosen experts give",
        cause: "the port was written for a model without shared experts",
        fix: "add the shared expert to the weighted sum of the chosen ones",
        seen: "no public thread is known to us",
        variants: |scene| match scene.op() {
            Op::Sum { factors } if factors.len() == 2 => {
                vec![Variant::new("the chosen experts alone", Edit::Set(Field::Factors(vec![1.0, 0.0])))]
            }
            Op::Linear { .. } | Op::Multiply => vec![Variant::new("zeros", Edit::times(0.0))],
            _ => Vec::new(),
        },
    },
    Suspect {
        id: "shared_gate_missing",
        summary: "the expert of every token is not weighed by its gate",
        ops: &[A::Shared, A::SharedWeight],
        symptom: "the shared expert is right and counts too much",
        cause: "shared_expert_gate is not loaded, or its sigmoid is left out",
        fix: "multiply what the shared expert gives by σ(shared_expert_gate(x))",
        seen: "no public thread is known to us",
        variants: |scene| match (scene.op(), scene.node().reads.first()) {
            (Op::Multiply, Some(given)) => {
                let edit = Edit::All(vec![Edit::Reads(vec![*given]), Edit::identity()]);
                vec![Variant::new("added as it is", edit)]
            }
            (Op::Activate(_), _) => vec![Variant::new("without the sigmoid", Edit::identity())],
            _ => Vec::new(),
        },
    },
    Suspect {
        id: "glu_limit",
        summary: "gate and up of experts are not clamped",
        ops: &[A::ExpertAct, A::ExpertActMul],
        symptom: "only large values are off",
        cause: "swiglu_limit of config.json is not read",
        fix: "clamp gate and up as the model does (swiglu_limit), before the activation function",
        seen: "HF #40197",
        variants: |scene| match scene.op() {
            Op::ClampedSwish { limit, .. } | Op::ClampedProduct { limit } => {
                let words = format!("not clamped at {limit}");
                knobs::others(scene, [(Field::Limit(f64::INFINITY), words)])
            }
            _ => Vec::new(),
        },
    },
    Suspect {
        id: "glu_alpha",
        summary: "the gate of experts is x σ(a x) with another a",
        ops: &[A::ExpertAct],
        symptom: "a small error in all gates",
        cause: "silu in the place of x σ(1.702 x)",
        fix: "multiply the gate by a (swiglu_alpha) inside the sigmoid",
        seen: "no public thread is known to us",
        variants: |scene| match scene.op() {
            Op::ClampedSwish { alpha, .. } => {
                let other = |value: f64| (Field::Alpha(value), format!("a = {value} where the model has {alpha}"));
                knobs::others(scene, [1.0, 1.702].map(other))
            }
            _ => Vec::new(),
        },
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
    let wrong = wrong_ones(scene);
    if let Some(&[one, other]) = wrong.as_deref() {
        let whose = (0..count).map(|own| {
            if own == one {
                other
            } else if own == other {
                one
            } else {
                own
            }
        });
        let words = format!("experts {} and {} are exchanged", one.min(other), one.max(other));
        variants.push(Variant::new(words, Edit::Experts(whose.collect())));
    }
    for expert in wrong.unwrap_or_else(|| (0..count.min(MOST)).collect()) {
        for other in [after(expert), before(expert)] {
            let whose = (0..count).map(|own| if own == expert { other } else { own });
            let words = format!("expert {expert} has the matrices of expert {other}");
            variants.push(Variant::new(words, Edit::Experts(whose.collect())));
        }
    }
    variants
}

/// Other columns of the product with gate and up: halves, and a channel of each in turn; those of the other part, too.
fn columns(scene: &Scene) -> Vec<Variant> {
    let Op::Columns(own) = scene.op() else { return Vec::new() };
    let (width, is_up) = (own.len(), scene.role() == Some(A::ExpertUp));
    let halves = |part: usize| (part * width..(part + 1) * width).collect::<Vec<usize>>();
    let in_turn = |part: usize| (0..width).map(|channel| 2 * channel + part).collect::<Vec<usize>>();
    let (part, other) = (usize::from(is_up), usize::from(!is_up));
    let ways = [
        ("a half where the model has a channel of each in turn", halves(part)),
        ("every second channel where the model has halves", in_turn(part)),
        ("the half of the other", halves(other)),
        ("the channels of the other", in_turn(other)),
    ];
    let others = ways.into_iter().filter(|(_, columns)| columns[..] != own[..]);
    others.map(|(words, columns)| Variant::new(words, Edit::Channels(columns.into()))).collect()
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
