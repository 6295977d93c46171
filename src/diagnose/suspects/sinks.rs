//! Mistakes in what joins the scores: sinks, and the slopes of `ALiBi`.

use super::{Scene, Suspect, Variant, knobs};
use crate::engine::{Edit, Field, Op, Role as A};
use crate::model::op::{Scoring, Vector};

pub(super) const SUSPECTS: &[Suspect] = &[
    Suspect {
        id: "sinks_missing",
        summary: "no sink takes part in the softmax, or one does that the model does not have",
        ops: &[A::Probs],
        symptom: "the probabilities of a row are off by one factor, which the first token shows, too",
        cause: "self_attn.sinks is not loaded, or the kernel has no sinks",
        fix: "let the sink of each head join the softmax where the model has sinks, and drop its column",
        seen: "vllm-metal #550, vllm-metal #212, fla #831",
        variants: missing,
    },
    Suspect {
        id: "sinks_order",
        summary: "each head has the sink of another one",
        ops: &[A::Probs],
        symptom: "the probabilities of a row are off by a factor that each head has of its own",
        cause: "sinks are laid out by key head where they stand by query head, or the reverse",
        fix: "give query head h the sink number h",
        seen: "mlx-swift-lm #130",
        variants: order,
    },
    Suspect {
        id: "alibi_missing",
        summary: "scores do not have the slopes of ALiBi",
        ops: &[A::Scores],
        symptom: "far keys have too large scores, the nearest ones are right",
        cause: "the port was written for a model with rotated or learned positions",
        fix: "add the slope of the head times the position of the key to the scores",
        seen: "no public thread is known to us",
        variants: |scene| knobs::others(scene, [(Field::Slopes(None), "no slopes")]),
    },
    Suspect {
        id: "alibi_slopes",
        summary: "heads have other slopes of ALiBi",
        ops: &[A::Scores],
        symptom: "scores are off by a share of the distance, which each head has of its own",
        cause: "a formula for a power of two of heads in a model that has another number, or slopes counted from the other end",
        fix: "compute the slopes as build_alibi_tensor of transformers does",
        seen: "no public thread is known to us",
        variants: slopes,
    },
];

fn missing(scene: &Scene) -> Vec<Variant> {
    match scene.op() {
        Op::Softmax { sinks: Some(_) } => {
            vec![Variant::new("no sink", Edit::Set(Field::Sinks(None)))]
        }
        Op::Softmax { sinks: None } => {
            let heads = scene.node().axes.first().map_or(0, |axis| axis.length(0, 0));
            let sinks = Some(Vector::Other(ndarray::Array1::zeros(heads).into()));
            vec![Variant::new("one is added to the sum of every row", Edit::Set(Field::Sinks(sinks)))]
        }
        _ => Vec::new(),
    }
}

fn order(scene: &Scene) -> Vec<Variant> {
    let (Op::Softmax { sinks: Some(sinks) }, Some((_, scores))) = (scene.op(), scene.read(0)) else {
        return Vec::new();
    };
    let (Op::Scores(Scoring { groups, .. }), Some(own)) = (&scores.op, scene.vector(sinks)) else { return Vec::new() };
    let heads = own.len();
    let key_heads = groups.iter().max().map_or(1, |last| last + 1);
    let each = (heads / key_heads).max(1);
    let ways: [(&str, Vec<usize>); 3] = [
        (
            "in the order of the heads of each key head in turn",
            (0..heads).map(|h| h % key_heads * each + h / key_heads).collect(),
        ),
        ("in the order of key heads in turn", (0..heads).map(|h| h % each * key_heads + h / each).collect()),
        ("from the last to the first", (0..heads).rev().collect()),
    ];
    let permuted = |(words, order): (&str, Vec<usize>)| {
        let other = own.select(ndarray::Axis(0), &order);
        let edit = Edit::Set(Field::Sinks(Some(Vector::Other(other.clone().into()))));
        (other != own).then(|| Variant::new(words, edit))
    };
    { ways }.into_iter().filter_map(permuted).collect()
}

fn slopes(scene: &Scene) -> Vec<Variant> {
    let Op::Scores(Scoring { slopes: Some(own), .. }) = scene.op() else { return Vec::new() };
    let heads = own.len() as f32;
    let power =
        |by: f32| (0..own.len()).map(move |head| (-8.0 * (head as f32 + by) / heads).exp2()).collect::<Vec<f32>>();
    let ways = [
        ("2^(-8 (h + 1) / heads)", power(1.0)),
        ("2^(-8 h / heads)", power(0.0)),
        ("from the last head to the first", own.iter().rev().copied().collect()),
        ("of the other sign", own.iter().map(|slope| -slope).collect()),
    ];
    knobs::others(scene, ways.map(|(words, slopes)| (Field::Slopes(Some(slopes.into())), words)))
}
