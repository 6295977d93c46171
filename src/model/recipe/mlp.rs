//! What follows attention.

use super::{Said, listed, short};
use crate::model::spec::{Beside, Clamp, Experts, Feed, GateUp, Layer, Mlp, Router, Shared};
use crate::ops::{Activation, Groups, Score};

/// How one of them computes, and its sizes.
fn feed(formula: &str, Feed { width, act, bias, fused, clamp, xielu, factors }: &Feed) -> Said {
    let named = Activation::NAMES.iter().find(|(_, known)| known == act).map_or("its activation", |(name, _)| name);
    let act = if *xielu { "xielu" } else { named };
    let inner = match clamp {
        None => formula.replace("act", act),
        Some(_) => formula.replace("act(gate(x)) * up(x)", "(u + 1) * g * σ(alpha g)"),
    };
    let what = [
        (true, inner),
        (clamp.is_some(), "g = gate(x) no more than a limit, u = up(x) within it".to_string()),
        (*fused == GateUp::Halves, "gate and up are one matrix, blocks [gate | up]".to_string()),
        (*fused == GateUp::InTurn, "gate and up are one matrix, a channel of each in turn".to_string()),
        (*bias, "with biases".to_string()),
        (*xielu, "whose constants are weights".to_string()),
        (factors[0] != 1.0, "gate(x) times a factor".to_string()),
        (factors[1] != 1.0, "its result times a factor".to_string()),
    ];
    let constants = clamp.map(|Clamp { alpha, limit }| format!("alpha {}, limit {}", short(alpha), short(limit)));
    let numbers = [
        (true, format!("{width} channels inside")),
        (clamp.is_some(), constants.unwrap_or_default()),
        (*factors != [1.0; 2], format!("factors {}", factors.map(short).join(", "))),
    ];
    (listed(what), listed(numbers))
}

const GATED: &str = "down(act(gate(x)) * up(x))";
const PLAIN: &str = "down(act(up(x)))";

/// How each of some experts computes.
fn of_experts(gated: bool) -> &'static str {
    if gated { GATED } else { PLAIN }
}

pub(super) fn mlp(layer: &Layer) -> Said {
    let (what, numbers) = own(&layer.mlp);
    let Some(Beside { experts, norm: _ }) = &layer.beside else { return (what, numbers) };
    let (of_experts, sizes) = own(&Mlp::Experts(experts.clone()));
    (format!("{what}; beside it {of_experts}"), format!("{numbers}; {sizes}"))
}

fn own(mlp: &Mlp) -> Said {
    match mlp {
        Mlp::Plain(sizes) => feed(PLAIN, sizes),
        Mlp::Gated(sizes) => feed(GATED, sizes),
        Mlp::Experts(Experts { feed: sizes, gated, count, .. }) => {
            let (what, numbers) = feed(&format!("experts, each {}", of_experts(*gated)), sizes);
            (what, format!("{count} experts, {numbers}"))
        }
    }
}

/// What computes for every token beside the experts that are chosen.
pub(super) fn shared(layer: &Layer) -> Said {
    let Mlp::Experts(Experts { shared: Some(Shared { feed: sizes, weighed }), gated, .. }) = &layer.mlp else {
        return Said::default();
    };
    let (what, numbers) = feed(of_experts(*gated), sizes);
    let weighed = if *weighed { ", times σ(w x)" } else { "" };
    (format!("added for every token: {what}{weighed}"), numbers)
}

/// Who chooses the experts.
pub(super) fn router(layer: &Layer) -> Said {
    let ((Mlp::Experts(experts), _) | (_, Some(Beside { experts, norm: _ }))) = (&layer.mlp, &layer.beside) else {
        return Said::default();
    };
    let Experts {
        feed: _,
        gated: _,
        count: _,
        router,
        router_bias,
        choice_bias,
        fine,
        shared: _,
        weighs_input,
        router_norm,
        scaled,
    } = experts;
    let Router { top_k, score, softmax_after, groups, renormalise, eps, factor, rounded, weighs_bias } = router;
    let score = match score {
        Score::Softmax if *softmax_after => "the k largest logits, then softmax over those",
        Score::Softmax => "softmax over all, then the k largest",
        Score::Sigmoid => "σ of each logit, then the k largest",
        Score::Mixer { .. } => "sparsemixer: of each choice the softmax of the logits that are nearly as large",
    };
    let what = [
        (true, score.to_string()),
        (*router_bias, "logits have a bias".to_string()),
        (*choice_bias && !weighs_bias, "a bias is added to what is compared, and not to what weighs".to_string()),
        (*choice_bias && *weighs_bias, "a bias is added to what is compared and weighs".to_string()),
        (groups.is_some(), "of the best groups only".to_string()),
        (*renormalise, if *eps > 0.0 { "divided by their sum plus eps" } else { "divided by their sum" }.to_string()),
        (*factor != 1.0, "times a factor".to_string()),
        (*fine, "logits in f32".to_string()),
        (*rounded, "cast at the end".to_string()),
        (router_norm.is_some(), "it reads w * norm(x) / sqrt(hidden), where x is the stream".to_string()),
        (*scaled, "each weight times one that the expert has".to_string()),
        (*weighs_input, "weights are on what experts read".to_string()),
    ];
    let of_groups = groups
        .map(|Groups { count, kept, best }| format!("{kept} of {count} groups, by the sum of the best {best} of each"));
    let jitter = match router.score {
        Score::Mixer { jitter } => Some(format!("jitter {}", short(jitter))),
        Score::Softmax | Score::Sigmoid => None,
    };
    let numbers = [
        (true, format!("k = {top_k}")),
        (groups.is_some(), of_groups.unwrap_or_default()),
        (*renormalise && *eps > 0.0, format!("eps {}", short(*eps))),
        (*factor != 1.0, format!("factor {}", short(*factor))),
        (jitter.is_some(), jitter.unwrap_or_default()),
    ];
    (listed(what), listed(numbers))
}
