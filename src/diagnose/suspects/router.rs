//! Mistakes of routers: which experts are chosen, and with which weight.

use ndarray::Array1;

use super::{Scene, Suspect, Variant, fit, knobs};
use crate::engine::{Edit, Field, Op, Role as A};
use crate::model::op::Vector;
use crate::ops::{Groups, Score};

const ROUTING: &[A] = &[A::Routing];

pub(super) const SUSPECTS: &[Suspect] = &[
    Suspect {
        id: "router_renorm",
        summary: "the weights of the chosen experts are divided by their sum, or are not",
        ops: ROUTING,
        symptom: "the right experts, their weights off by one factor for each token",
        cause: "norm_topk_prob of config.json is not read, or is taken for that of another model",
        fix: "divide the weights of the chosen experts by their sum where the model does (norm_topk_prob), and only there",
        seen: "mere-run #136, torchtitan #1448, sglang #35160, FlashInfer #2889",
        variants: renormalise,
    },
    Suspect {
        id: "router_order",
        summary: "the softmax is taken of the chosen logits where the model takes it of all, or the reverse",
        ops: ROUTING,
        symptom: "the right experts, their weights off by one factor for each token",
        cause: "softmax and the choice of experts stand in the other order",
        fix: "choose experts and take the softmax in the order of the model",
        seen: "mlxcel #391",
        variants: router_order,
    },
    Suspect {
        id: "router_score",
        summary: "experts are weighed by another function of the logits",
        ops: ROUTING,
        symptom: "the right experts, with weights that do not sum to what the model's do",
        cause: "a router of softmaxes where the model has sigmoids, or the reverse",
        fix: "score the logits as the model does",
        seen: "no public thread is known to us",
        variants: score,
    },
    Suspect {
        id: "router_bias_in_weights",
        summary: "the bias that experts are compared with counts in their weights, too",
        ops: ROUTING,
        symptom: "the right experts, each weight off by the bias of its expert",
        cause: "the biased scores are gathered at the chosen places, where the model gathers the scores themselves",
        fix: "add the bias for the choice only, and weigh by the scores without it",
        seen: "no public thread is known to us",
        variants: |scene| match scene.op() {
            Op::Route { bias: Some(_), router } if !router.softmax_after => {
                vec![Variant::new("scores with the bias of the choice", Edit::Set(Field::WeighsBias(true)))]
            }
            _ => Vec::new(),
        },
    },
    Suspect {
        id: "router_bias_missing",
        summary: "a bias of the router is left out",
        ops: &[A::RouterLogits, A::Routing],
        symptom: "some tokens are sent to other experts, or all logits are off by the same vector",
        cause: "e_score_correction_bias, or the router's bias, is not loaded",
        fix: "add the bias: to the logits where it is the router's, to what is compared where it only chooses",
        seen: "imp #572",
        variants: |scene| match scene.op() {
            Op::Route { bias: Some(_), .. } => vec![Variant::new("chosen without the bias", Edit::Bias(None))],
            Op::Linear { bias: Some(_), .. } => vec![Variant::new("logits without their bias", Edit::Bias(None))],
            _ => Vec::new(),
        },
    },
    Suspect {
        id: "router_scale_missing",
        summary: "the weights of experts are not multiplied by the model's factor, or by another",
        ops: ROUTING,
        symptom: "the right experts, all weights off by one factor",
        cause: "routed_scaling_factor of config.json is not read, or is applied twice",
        fix: "multiply the weights by routed_scaling_factor, once, after they are divided by their sum",
        seen: "sglang-jax #1282",
        variants: factor,
    },
    Suspect {
        id: "router_input_scale",
        summary: "what the router reads is not scaled",
        ops: &[A::RouterInput],
        symptom: "all logits of the router are off by one factor, or tokens are sent to other experts",
        cause: "router.scale is not loaded, or the inverse root of the hidden size is left out",
        fix: "multiply the normed stream by router.scale and divide it by the root of the hidden size, before the router's matrix",
        seen: "imp #65",
        variants: input_scale,
    },
    Suspect {
        id: "expert_scale_missing",
        summary: "the weights of experts are not multiplied by the scale that each expert has",
        ops: &[A::RoutingScaled],
        symptom: "the right experts, each weight off by a factor of its expert",
        cause: "router.per_expert_scale is not loaded, or is taken for a bias of the router",
        fix: "multiply the weight of each chosen expert by its per_expert_scale, after they are divided by their sum",
        seen: "no public thread is known to us",
        variants: expert_scale,
    },
    Suspect {
        id: "router_groups",
        summary: "experts are chosen among other groups, or among all",
        ops: ROUTING,
        symptom: "tokens whose best experts stand in different groups are sent to others",
        cause: "n_group and topk_group are not read, or a group is as good as its best expert where the model adds two",
        fix: "keep topk_group of n_group groups, by the sum that the model has",
        seen: "no public thread is known to us",
        variants: groups,
    },
    Suspect {
        id: "router_top_k",
        summary: "another number of experts is chosen for each token",
        ops: ROUTING,
        symptom: "the heaviest experts agree, others are missing or too many",
        cause: "num_experts_per_tok of config.json is not read",
        fix: "choose num_experts_per_tok experts for each token",
        seen: "no public thread is known to us",
        variants: top_k,
    },
];

/// A scale without its weight, or without its factor.
fn input_scale(scene: &Scene) -> Vec<Variant> {
    let Op::Scaled { factor, .. } = scene.op() else { return Vec::new() };
    let ones = Vector::Other(Array1::ones(scene.width()).into());
    let unit = Edit::Set(Field::Factor(1.0));
    vec![
        Variant::new("without its weight", Edit::NormWeight(ones)),
        Variant::new(format!("not multiplied by {factor}"), unit),
        Variant::new("as the norm gives it", Edit::identity()),
    ]
}

/// Weights without the scale of experts.
fn expert_scale(scene: &Scene) -> Vec<Variant> {
    let Op::Scaled { .. } = scene.op() else { return Vec::new() };
    vec![Variant::new("weights as they are", Edit::identity())]
}

/// Other functions of the logits.
fn score(scene: &Scene) -> Vec<Variant> {
    let Op::Route { router, .. } = scene.op() else { return Vec::new() };
    if router.softmax_after {
        return Vec::new();
    }
    let known = [(Score::Softmax, "the softmax of the logits"), (Score::Sigmoid, "the sigmoid of each logit")];
    let own = known.iter().find(|(score, _)| *score == router.score).map_or("sparsemixer", |(_, words)| *words);
    let other = |(score, words): (Score, &str)| (Field::Score(score), format!("{words} where the model has {own}"));
    knobs::others(scene, known.map(other))
}

/// What weights are multiplied by at last.
fn factor(scene: &Scene) -> Vec<Variant> {
    let Op::Route { router, .. } = scene.op() else { return Vec::new() };
    let own = router.factor;
    let mut factors = Vec::new();
    if own != 1.0 {
        factors.extend([
            (1.0, format!("not multiplied by {own}")),
            (own * own, format!("multiplied by {own} twice")),
            (own.recip(), format!("divided by {own}")),
        ]);
    }
    let ratio = || fit::factor(scene.dumped()?.iter().zip(&scene.exact()?));
    if let Some(ratio) = ratio().filter(|ratio| ratio.is_finite() && ratio.abs() > 1e-3) {
        let found = own * fit::rounded(ratio, 6);
        factors.push((found, format!("times {found} where the model has {own}")));
    }
    knobs::others(scene, factors.into_iter().map(|(factor, words)| (Field::RouterFactor(factor), words)))
}

/// Groups of experts.
fn groups(scene: &Scene) -> Vec<Variant> {
    let Op::Route { router, .. } = scene.op() else { return Vec::new() };
    let Some(own @ Groups { count, kept, best }) = router.groups else { return Vec::new() };
    let mut ways = vec![(None, "chosen among all experts".to_string())];
    for other in [kept.saturating_sub(1), kept + 1] {
        if (1..count).contains(&other) {
            let words = format!("{other} of {count} groups kept where the model keeps {kept}");
            ways.push((Some(Groups { kept: other, ..own }), words));
        }
    }
    let other = if best == 1 { 2 } else { 1 };
    let words = format!("a group is as good as its best {other} where the model adds its best {best}");
    ways.push((Some(Groups { best: other, ..own }), words));
    knobs::others(scene, ways.into_iter().map(|(groups, words)| (Field::RouterGroups(groups), words)))
}

/// Whether the weights of the chosen experts are divided by their sum.
fn renormalise(scene: &Scene) -> Vec<Variant> {
    let Op::Route { router, .. } = scene.op() else { return Vec::new() };
    if router.softmax_after {
        // They sum to 1 anyway.
        return Vec::new();
    }
    let values = [
        (Field::Renormalise(false), "not divided by their sum"),
        (Field::Renormalise(true), "divided by their sum where the model takes their shares of all"),
    ];
    knobs::others(scene, values)
}

/// Whether the softmax is of the chosen logits only.
fn router_order(scene: &Scene) -> Vec<Variant> {
    let Op::Route { router, .. } = scene.op() else { return Vec::new() };
    if router.renormalise {
        // Both orders give the same.
        return Vec::new();
    }
    let values = [
        (Field::SoftmaxAfter(true), "the softmax of the chosen logits where the model has that of all"),
        (Field::SoftmaxAfter(false), "the softmax of all logits where the model has that of the chosen ones"),
    ];
    knobs::others(scene, values)
}

/// How many experts are chosen.
fn top_k(scene: &Scene) -> Vec<Variant> {
    let Op::Route { router, .. } = scene.op() else { return Vec::new() };
    // More experts than there are slots for can be seen in the router's result, and not be computed.
    let (own, most) = (router.top_k, if scene.part.is_some() { scene.width() } else { router.top_k });
    let mut counts = vec![own.saturating_sub(1), own + 1, 1, most];
    counts.sort_unstable_by_key(|count| count.abs_diff(own));
    counts.dedup();
    counts.retain(|count| (1..=most).contains(count));
    let words = |count: usize| format!("{count} for each token where the model chooses {own}");
    knobs::others(scene, counts.into_iter().map(|count| (Field::TopK(count), words(count))))
}
