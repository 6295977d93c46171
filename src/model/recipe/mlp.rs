//! What follows attention.

use super::{Said, listed};
use crate::model::spec::{Feed, Layer, Mlp, Router};
use crate::ops::Activation;

/// How one of them computes, and its sizes.
fn feed(formula: &str, Feed { width, act, bias, fused }: &Feed) -> Said {
    let act = Activation::NAMES.iter().find(|(_, known)| known == act).map_or("its activation", |(name, _)| name);
    let what = [
        (true, formula.replace("act", act)),
        (*fused, "gate and up are one matrix, blocks [gate | up]".to_string()),
        (*bias, "with biases".to_string()),
    ];
    (listed(what), format!("{width} channels inside"))
}

const GATED: &str = "down(act(gate(x)) * up(x))";

pub(super) fn mlp(layer: &Layer) -> Said {
    match &layer.mlp {
        Mlp::Plain(sizes) => feed("down(act(up(x)))", sizes),
        Mlp::Gated(sizes) => feed(GATED, sizes),
        Mlp::Experts { feed: sizes, count, router: _ } => {
            let (what, numbers) = feed(&format!("experts, each {GATED}"), sizes);
            (what, format!("{count} experts, {numbers}"))
        }
    }
}

/// Who chooses the experts.
pub(super) fn router(layer: &Layer) -> Said {
    let Mlp::Experts { router, .. } = &layer.mlp else { return Said::default() };
    let Router { top_k, renormalise, softmax_after, rounded } = router;
    let what = [
        (!softmax_after, "softmax over all, then the k largest".to_string()),
        (*softmax_after, "the k largest, then softmax over those".to_string()),
        (*renormalise, "divided by their sum".to_string()),
        (*rounded, "cast at the end".to_string()),
    ];
    (listed(what), format!("k = {top_k}"))
}
