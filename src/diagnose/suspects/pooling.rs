//! Mistakes behind the last layer of an embedder.

use super::{Scene, Suspect, Variant, knobs};
use crate::engine::{Edit, Field, Op, Role as A};
use crate::ops::Pooling;

pub(super) const SUSPECTS: &[Suspect] = &[Suspect {
    id: "pooling_wrong",
    summary: "the embedding is made of other rows than the model's",
    ops: &[A::Pooled],
    symptom: "the rows of the last layer agree, and the embedding does not",
    cause: "the mean where the model takes the first or the last row, or one of these for another; pads that are counted",
    fix: "pool as 1_Pooling/config.json says",
    seen: "TEI #642, Qwen3-Embedding #62",
    variants: |scene| {
        let all = Pooling::ALL.map(|how| (Field::Pooling(how), how.words()));
        knobs::others(scene, all)
    },
}];

pub(super) fn length(scene: &Scene) -> Vec<Variant> {
    match scene.op() {
        Op::Unit { .. } => vec![Variant::new("as long as it is", Edit::identity())],
        Op::Pool(_) if !scene.graph().has(A::Unit) => {
            vec![Variant::new("of length 1", Edit::Then(Op::Unit { eps: 1e-12 }))]
        }
        _ => Vec::new(),
    }
}
