//! Mistakes in the embedding and in the head.

use ndarray::Ix2;

use super::{Scene, Suspect, Variant, knobs};
use crate::engine::{Edit, Field, Op, Role as A};
use crate::model::op::Weight;

pub(super) const SUSPECTS: &[Suspect] = &[
    Suspect {
        id: "embed_scale",
        summary: "embeddings are multiplied by sqrt(hidden), or another constant of the model",
        ops: &[A::EmbedTokens, A::Embeddings],
        symptom: "the embeddings point the right way and have the wrong length",
        cause: "Gemma's scaling is applied to a model without it, or twice, or left out of a model with it",
        fix: "take the rows of the table as they are",
        seen: "OpenTau #179, RLinf #1098, HF #29402",
        variants: knobs::embed_factor,
    },
    Suspect {
        id: "position_embedding_offset",
        summary: "learned positions are shifted",
        ops: &[A::EmbedPositions],
        symptom: "tokens are right, their sum with positions is not",
        cause: "positions start at 1, or at 2 as in OPT and RoBERTa; or they do not where the model's do",
        fix: "add the row of the table that the model has for position p to the token at position p",
        seen: "HF #20761, gpt-neox #650",
        variants: shifted_positions,
    },
    Suspect {
        id: "position_embedding_stuck",
        summary: "learned positions start again, or stay, while decoding",
        ops: &[A::EmbedPositions],
        symptom: "the prefill is right, decoded tokens are wrong",
        cause: "a decode step is not given the length of the cache",
        fix: "add the row of the token's own position, the number of tokens before it",
        seen: "no public thread is known to us",
        variants: stuck_positions,
    },
    Suspect {
        id: "position_embedding_missing",
        summary: "learned positions are not added",
        ops: &[A::EmbedPositions, A::Embeddings, A::EmbedSum],
        symptom: "tokens are right, their sum with positions is not",
        cause: "the table is left out, or was not loaded",
        fix: "add the row of the token's position to the token",
        seen: "no public thread is known to us",
        variants: positions_left_out,
    },
    Suspect {
        id: "token_types_missing",
        summary: "rows of the types of tokens are not added",
        ops: &[A::EmbedTypes, A::Embeddings, A::EmbedSum],
        symptom: "every token is off by the same vector before the first norm",
        cause: "token_type_embeddings are taken to matter for pairs of sentences only",
        fix: "add the row of type 0 to every token",
        seen: "no public thread is known to us",
        variants: types_left_out,
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
        ops: &[A::LmHead, A::Logits],
        symptom: "large logits are too small (or too large), the order is kept",
        cause: "final_logit_softcapping of another model, or not read",
        fix: "leave logits as the head gives them",
        seen: "llama.cpp #8197, unsloth #1218, ferrox #186",
        variants: knobs::logit_cap,
    },
    Suspect {
        id: "logit_scale",
        summary: "logits are multiplied by a constant",
        ops: &[A::LmHead, A::Logits],
        symptom: "the order of logits is kept, all are too large or too small by one factor",
        cause: "logit_scale or logits_scaling of another model, a temperature, or a table scaled in place that the head is tied to",
        fix: "leave logits as the head gives them",
        seen: "tensai #248, mistral.rs 308f27bd8, llama.cpp #21390",
        variants: knobs::logit_factor,
    },
];

fn head_untied(scene: &Scene) -> Vec<Variant> {
    let mut variants = vec![Variant::new("a head of zeros", Edit::times(0.0))];
    let graph = scene.graph();
    let is_tied =
        |weight: &Weight| matches!(weight, Weight::Param(param) if graph.params()[param.index()].tied.is_some());
    if let Op::Linear { weight, .. } = scene.op()
        && !is_tied(weight)
        && let Some(Op::Embed { table, .. }) = graph.whole(A::EmbedTokens).map(|site| &graph[site].op)
    {
        let words = "the embedding table, where the model has a head of its own";
        variants.push(Variant::new(words, Edit::Weight(table.clone())));
    }
    variants
}

/// A term of the sum that embeds, in which it counts otherwise.
fn term(scene: &Scene, of: A, ways: &[(f64, &str)]) -> Vec<Variant> {
    let Op::Sum { factors } = scene.op() else { return Vec::new() };
    let Some(index) = scene.node().reads.iter().position(|read| scene.graph().is(read.site(), of)) else {
        return Vec::new();
    };
    let way = |(factor, words): &(f64, &str)| {
        let mut factors = factors.clone();
        factors[index] = *factor;
        (Field::Factors(factors), (*words).to_string())
    };
    knobs::others(scene, ways.iter().map(way))
}

fn positions_left_out(scene: &Scene) -> Vec<Variant> {
    match scene.op() {
        Op::EmbedPositions { .. } => vec![Variant::new("zeros in the place of positions", Edit::times(0.0))],
        _ => term(scene, A::EmbedPositions, &[(0.0, "positions not added"), (2.0, "positions added twice")]),
    }
}

fn types_left_out(scene: &Scene) -> Vec<Variant> {
    match scene.op() {
        Op::EmbedRow { .. } => vec![Variant::new("zeros in the place of types", Edit::times(0.0))],
        _ => term(scene, A::EmbedTypes, &[(0.0, "types not added")]),
    }
}

fn shifted_positions(scene: &Scene) -> Vec<Variant> {
    let Op::EmbedPositions { offset: own, .. } = scene.op() else { return Vec::new() };
    let mut shifts = vec![1, -1, 2, -2];
    // From 0, where the table has other rows before that.
    shifts.extend((*own > 2).then_some(-own));
    shifts.extend(seen_shift(scene));
    // Those that start again have a name of their own.
    shifts.retain(|by| scene.right_until == 0 || *by != -scene.first.cast_signed());
    let shifted = |by: isize| {
        let (words, edit) = (format!("shifted by {by:+}"), Edit::Set(Field::Positions(own + by)));
        if scene.right_until == 0 {
            return Variant::new(words, edit);
        }
        let edit = Edit::From { position: scene.first, edit: Box::new(edit) };
        Variant::new(format!("{words} from token {} on", scene.first), edit)
    };
    shifts.into_iter().map(shifted).collect()
}

/// Positions of a decode step that start again at 0.
fn stuck_positions(scene: &Scene) -> Vec<Variant> {
    let Op::EmbedPositions { offset: own, .. } = scene.op() else { return Vec::new() };
    if scene.step == 0 && scene.tokens > 0 {
        return Vec::new();
    }
    // Without a forward, one that decodes the second token.
    let start = scene.first.max(1);
    let edit = Box::new(Edit::Set(Field::Positions(own - start.cast_signed())));
    let words = format!("positions start again at 0 with token {start}");
    vec![Variant::new(words, Edit::From { position: start, edit })]
}

/// How far the rows of the table that the dump has stand from those of their positions, if all stand equally far.
fn seen_shift(scene: &Scene) -> Option<isize> {
    let Op::EmbedPositions { table, offset } = scene.op() else { return None };
    let dumped = scene.dumped()?.into_dimensionality::<Ix2>().ok()?;
    let rows = scene.model.matrix(table).rows();
    let apart = |row: usize, seen: &ndarray::ArrayView1<f64>| {
        rows.row(row).iter().zip(seen).map(|(a, b)| (f64::from(*a) - b).powi(2)).sum::<f64>()
    };
    let nearest = |(at, seen): (usize, ndarray::ArrayView1<f64>)| {
        let found = (0..rows.nrows()).min_by(|a, b| apart(*a, &seen).total_cmp(&apart(*b, &seen)))?;
        Some(found.cast_signed() - offset - (scene.first + at).cast_signed())
    };
    let mut shifts = dumped.rows().into_iter().enumerate().map(nearest);
    let first = shifts.next()??;
    shifts.all(|shift| shift == Some(first)).then_some(first).filter(|shift| ![0, 1, -1, 2, -2].contains(shift))
}
