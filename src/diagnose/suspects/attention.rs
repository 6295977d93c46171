//! Mistakes in attention: heads and the scale.

use super::{Scene, Suspect, Variant, knobs};
use crate::engine::{Edit, Field, Op, Role as A};
use crate::model::op::Scoring;
use crate::ops::{Join, Rounding};

pub(super) const SUSPECTS: &[Suspect] = &[
    Suspect {
        id: "gqa_tile",
        summary: "query heads read the wrong key or value heads",
        ops: &[A::Scores, A::Context],
        symptom: "some heads are wrong, the first token's too",
        cause: "key heads are tiled (h mod G) where they are repeated (h G / H), or only the first is read",
        fix: "query head h of H reads key head h G / H of G",
        seen: "jax-js #180, onnx #7274, axlearn #842, candle 1cd8355e2",
        variants: gqa,
    },
    Suspect {
        id: "mla_scale",
        summary: "the scale of latent attention lacks the square of mscale, has it twice, or is that of a part of a head",
        ops: &[A::Scores],
        symptom: "token 0 is right; scores are off by one factor, and attention is too flat or too sharp",
        cause: "mscale_all_dim of rope_scaling is not read, or only for cosines and sines; or the width of a head is taken for that of a part",
        fix: "multiply by (0.1 mscale_all_dim ln(factor) + 1)² / sqrt(qk_nope_head_dim + qk_rope_head_dim), the square only with mscale_all_dim",
        seen: "mobius #548, HF #47435, optimum-intel #1877",
        variants: knobs::latent_scale,
    },
    Suspect {
        id: "softmax_scale",
        summary: "scores are multiplied by another constant",
        ops: &[A::Scores],
        symptom: "scores are off by one factor; attention is too sharp or too flat",
        cause: "the scale is left out, applied twice, or taken from another size",
        fix: "multiply by 1 / sqrt(head_dim), once",
        seen: "mlc #3426, HF #38290, HF #44397, llama.cpp #13951, TransformerLens #27",
        variants: knobs::score_scale,
    },
    Suspect {
        id: "attn_softcap",
        summary: "scores pass through c tanh(s / c) where the model has no cap, another one, or the reverse",
        ops: &[A::Scores],
        symptom: "large scores are too small (or too large), their order is kept",
        cause: "attn_logit_softcapping of config.json is not read, is not supported by a fused kernel, or is another model's",
        fix: "cap scores, after the scale and before the mask, where the model does, and only there",
        seen: "llama.cpp #8197, vLLM #5908, lmdeploy #2842, mistral.rs 692561460",
        variants: knobs::score_cap,
    },
    Suspect {
        id: "clip_missing",
        summary: "queries, keys or values are not clipped",
        ops: &[A::QClip, A::KClip, A::VClip],
        symptom: "only large values are off",
        cause: "clip_qkv of config.json is not read",
        fix: "clip queries, keys and values at clip_qkv",
        seen: "no public thread is known to us",
        variants: |scene| match scene.op() {
            Op::Clip(limit) => vec![Variant::new(format!("not clipped at {limit}"), Edit::identity())],
            _ => Vec::new(),
        },
    },
    Suspect {
        id: "low_precision_scores",
        summary: "scores are rounded to bf16 or f16",
        ops: &[A::Scores],
        symptom: "scores of a finer dump are off by up to 0.4 % each",
        cause: "queries and keys are multiplied in half precision",
        fix: "accumulate and keep scores in f32",
        seen: "llama.cpp #8412, llama.cpp #7805, Qwen3 #826",
        variants: |scene| {
            let formats = [(Rounding::Bf16, "bf16"), (Rounding::F16, "f16")];
            let rounded = |(format, name)| (Field::ScoreFormat(format), format!("scores rounded to {name}"));
            knobs::others(scene, formats.map(rounded))
        },
    },
    Suspect {
        id: "low_precision_softmax",
        summary: "the softmax is computed, or its result kept, in bf16 or f16",
        ops: &[A::Probs],
        symptom: "probabilities of a finer dump are off by up to 0.4 % each, and do not add up to 1",
        cause: "scores are not widened before the softmax, or probabilities are narrowed for the product with values",
        fix: "compute the softmax in f32",
        seen: "no public thread is known to us",
        variants: softmax_formats,
    },
    Suspect {
        id: "head_merge_order",
        summary: "the heads are joined without being transposed back",
        ops: &[A::Context],
        symptom: "rows of all positions are mixed, the first token's too",
        cause: "[head, token, head_dim] reshaped to [token, head * head_dim]",
        fix: "transpose to [token, head, head_dim] before joining",
        seen: "transformer-from-scratch #6, vLLM #11978",
        variants: |scene| {
            let orders = [
                (Field::Join(Join::Untransposed), "[head, token, channel] read as rows"),
                (Field::Join(Join::Interleaved), "channels of the heads in turn"),
            ];
            knobs::others(scene, orders)
        },
    },
];

fn softmax_formats(scene: &Scene) -> Vec<Variant> {
    let formats = [(Rounding::Bf16, "bf16"), (Rounding::F16, "f16")];
    let ways = |(format, name): (Rounding, &str)| {
        let (before, after) = (Edit::Prepare { index: 0, op: Op::Round(format) }, Edit::Then(Op::Round(format)));
        [
            Variant::new(format!("probabilities rounded to {name}"), after.clone()),
            Variant::new(format!("scores rounded to {name} first"), before.clone()),
            Variant::new(format!("scores and probabilities rounded to {name}"), Edit::All(vec![before, after])),
            Variant::new(format!("every step of it in {name}"), Edit::Put(vec![Op::NarrowSoftmax(format)])),
        ]
    };
    if matches!(scene.op(), Op::Softmax { sinks: None }) { formats.map(ways).concat() } else { Vec::new() }
}

/// For each query head the key head that it reads, and how many key heads of which width there are.
pub(super) fn heads(scene: &Scene) -> Option<(&[usize], usize, usize)> {
    let (groups, width) = scene.read(1)?.1.heads()?;
    match scene.op() {
        Op::Scores(Scoring { groups: map, .. }) | Op::Context { groups: map, .. } => Some((map, groups, width)),
        _ => None,
    }
}

fn gqa(scene: &Scene) -> Vec<Variant> {
    let Some((own, groups, _)) = heads(scene) else { return Vec::new() };
    let heads = own.len();
    let maps: [(String, Vec<usize>); 3] = [
        (format!("h mod {groups}"), (0..heads).map(|h| h % groups).collect()),
        ("0".into(), vec![0; heads]),
        (format!("h // {groups}"), (0..heads).map(|h| (h / groups).min(groups - 1)).collect()),
    ];
    let right = heads / groups.max(1);
    let maps = maps.map(|(read, map)| (format!("query head h reads kv head {read}; it must be h // {right}"), map));
    knobs::others(scene, maps.map(|(words, map)| (Field::Groups(map.into()), words)))
}
