//! Mistakes in the embedding and in the head.

use std::borrow::Cow;

use half::bf16;

use super::{Scene, Suspect, Variant, fit};
use crate::engine::{Activation as A, Op};

pub(super) const SUSPECTS: &[Suspect] = &[
    Suspect {
        id: "embed_scale",
        summary: "embeddings are multiplied by sqrt(hidden), or another constant of the model",
        ops: &[A::EmbedTokens],
        symptom: "the embeddings point the right way and have the wrong length",
        cause: "Gemma's scaling is applied to a model without it, or twice",
        fix: "take the rows of the table as they are",
        seen: "OpenTau #179, RLinf #1098, HF #29402",
        variants: embed_scale,
    },
    Suspect {
        id: "head_untied",
        summary: "the head uses the wrong one of embedding table and lm_head, or zeros",
        ops: &[A::LmHead],
        symptom: "everything up to the final norm agrees, logits are noise, or perplexity equals the vocabulary",
        cause: "tie_word_embeddings is read the wrong way, or the head was never loaded",
        fix: "use lm_head.weight where tie_word_embeddings is false, the embedding table where it is true",
        seen: "imp #1282, tinygrad #13796, sglang #1508, pegainfer #544",
        variants: head_untied,
    },
    Suspect {
        id: "logit_softcap",
        summary: "logits pass through c tanh(z / c)",
        ops: &[A::LmHead],
        symptom: "large logits are too small, the order is kept",
        cause: "final_logit_softcapping of another model",
        fix: "leave logits as the head gives them",
        seen: "llama.cpp #8197, unsloth #1218, ferrox #186",
        variants: logit_softcap,
    },
];

fn embed_scale(scene: &Scene) -> Vec<Variant> {
    let root = (scene.config().hidden_size as f64).sqrt();
    let rounded = bf16::from_f64(root).to_f64();
    let constants = [
        (root, "sqrt(hidden)"),
        (rounded, "sqrt(hidden) rounded to bf16"),
        (root.recip(), "1 / sqrt(hidden)"),
        (root * root, "hidden"),
    ];
    let times = |(constant, name): (f64, &str)| {
        Variant::new(format!("times {name}, {constant:.4}"), move |step| {
            if let Some(Op::Embed { factor, .. }) = step.ops.first_mut() {
                *factor = constant;
            }
        })
    };
    constants.into_iter().map(times).collect()
}

fn head_untied(scene: &Scene) -> Vec<Variant> {
    let mut variants = vec![Variant::new("a head of zeros", |step| step.ops.push(Op::Sum { factors: vec![0.0] }))];
    if !scene.config().tie_word_embeddings {
        variants.push(Variant::new("the embedding table, where the model has a head of its own", |step| {
            let table = &step.model.embed_tokens;
            if let Some(Op::Linear { weight, .. }) = step.ops.first_mut() {
                *weight = Cow::Borrowed(table);
            }
        }));
    }
    variants
}

fn logit_softcap(scene: &Scene) -> Vec<Variant> {
    let with = |limit: f64| {
        Variant::new(format!("capped at {limit}"), move |step| {
            if let Some(Op::Linear { cap, .. }) = step.ops.first_mut() {
                *cap = Some(limit);
            }
        })
    };
    let mut variants: Vec<Variant> = [30.0, 50.0].map(with).into();
    if let Some(cap) = scene.dumped().and_then(|y| fit::cap(y.view(), scene.exact()?)) {
        variants.extend([fit::rounded(cap, 1), fit::rounded(cap, 2), fit::rounded(cap, 3), cap].map(with));
    }
    variants
}
