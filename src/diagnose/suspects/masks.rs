//! Mistakes in masks: which keys a query sees.

use ndarray::{ArrayD, Axis, Ix3};

use super::{Scene, Suspect, Variant};
use crate::engine::{Edit, Field, Keyed, Op, Role as A};
use crate::model::op::{Places, Scoring};

/// A wrong mask is first seen in the scores, or in the probabilities where scores were dumped from before the mask.
const MASKED: &[A] = &[A::Scores, A::Probs];

/// Keys up to which every length of a mask or a window is tried, where the dump does not tell it.
const FEW_KEYS: usize = 40;

pub(super) const SUSPECTS: &[Suspect] = &[
    Suspect {
        id: "causal_mask_missing",
        summary: "every token sees all tokens",
        ops: MASKED,
        symptom: "the last row is right, the first rows are off most",
        cause: "a prefill without a causal mask; decoding needs none, so short tests pass",
        fix: "hide keys after the query",
        seen: "mlxcel #998, vmlx #185, TinyLLM #17, HF #48748",
        variants: |scene| match scoring(scene) {
            Some(how) if how.ahead == Some(0) => masks(scene, [("no causal mask".into(), Field::Ahead(None))]),
            _ => Vec::new(),
        },
    },
    Suspect {
        id: "causal_on_encoder",
        summary: "tokens of an encoder see only those before them",
        ops: MASKED,
        symptom: "in the first layer the last row is right, and the first rows are off most",
        cause: "the mask of a decoder: is_causal left on, or use_bidirectional_attention not read",
        fix: "hide pads, and in layers with a window what is further than half of it to either side; nothing else",
        seen: "sentence-transformers #3513",
        variants: |scene| match scoring(scene) {
            Some(how) if how.ahead != Some(0) => masks(scene, [("a causal mask".into(), Field::Ahead(Some(0)))]),
            _ => Vec::new(),
        },
    },
    Suspect {
        id: "mask_off_by_one",
        summary: "the mask's diagonal, or the window's edge, is off by one",
        ops: MASKED,
        symptom: "each token sees the next one, or misses itself, or one key more or less at the window's edge",
        cause: "< for <= in the comparison of positions",
        fix: "a query sees itself and, with a window w, the w - 1 tokens before it",
        seen: "HF #39408, HF #29623, mlx-lm #390, candle 03e779709",
        variants: off_by_one,
    },
    Suspect {
        id: "mask_alignment",
        summary: "in a forward behind the first, the mask stands at the wrong end of the keys, or has another length",
        ops: MASKED,
        symptom: "the first part of a prompt is right; tokens of later parts, or decoded ones, see too few keys or too many",
        cause: "a causal mask from the upper left corner where there are more keys than queries, or the first part's key length used again",
        fix: "query j of a part behind n cached tokens sees keys 0 to n + j",
        seen: "pytorch #108108, onnx #8068, executorch #21749, SageAttention #372, imp #986",
        variants: aligned,
    },
    Suspect {
        id: "sliding_window",
        summary: "the sliding window is ignored, invented or of another length",
        ops: MASKED,
        symptom: "tokens up to the window are right, later ones are wrong",
        cause: "sliding_window or layer_types of config.json is not read, or read for the wrong layers",
        fix: "hide keys further back than sliding_window in the layers that have one",
        seen: "HF #26792, vLLM #3385, mistral.rs 39f766e93, executorch 3caaaca1f",
        variants: window,
    },
];

/// Other masks: on scores, or on probabilities, which are then computed from queries and keys.
pub(super) fn masks(scene: &Scene, masks: impl IntoIterator<Item = (String, Field)>) -> Vec<Variant> {
    let of_op = |field: Field| match scene.op() {
        Op::Softmax { .. } => Edit::Through(Box::new(Edit::Set(field))),
        _ => Edit::Set(field),
    };
    masks.into_iter().map(|(words, field)| Variant::new(words, of_op(field))).collect()
}

/// The op that scores keys: this one, or that which it reads.
pub(super) fn scoring(scene: &Scene) -> Option<&Scoring> {
    match (scene.op(), scene.read(0).map(|(_, node)| &node.op)) {
        (Op::Scores(how), _) | (_, Some(Op::Scores(how))) => Some(how),
        _ => None,
    }
}

fn off_by_one(scene: &Scene) -> Vec<Variant> {
    let Some(how) = scoring(scene) else { return Vec::new() };
    if how.ahead != Some(0) {
        let Some(own) = how.window else { return Vec::new() };
        return both_ways(scene, own, [own + 1, own.saturating_sub(1)]);
    }
    let mut off = Vec::new();
    // A diagonal that is off shows from the second token on.
    if scene.right_until <= 1 {
        off.push(("a query sees the token after it".to_string(), Field::Ahead(Some(1))));
        off.push(("a query does not see itself".to_string(), Field::Ahead(Some(-1))));
    }
    if let Some(own) = how.window {
        for width in [own + 1, own.saturating_sub(1)] {
            off.push((format!("a window of {width} where the model has {own}"), Field::Window(Some(width))));
        }
    }
    masks(scene, off)
}

/// Masks of forwards behind the first, where those before were right.
fn aligned(scene: &Scene) -> Vec<Variant> {
    let restarted =
        || ("query j sees keys 0 to j, as if none were cached".to_string(), Field::Places(Places::Restarted));
    if scene.tokens == 0 {
        return masks(scene, [restarted()]);
    }
    if scene.step == 0 {
        return Vec::new();
    }
    let keys = scene.first + scene.tokens;
    let shifted = |by: i64| {
        let words = if by < 0 {
            format!("each query sees {} keys too few", -by)
        } else {
            format!("each query sees {by} keys too many")
        };
        (words, Field::Places(Places::Shifted(by)))
    };
    let length =
        |length: usize| (format!("only keys 0 to {} of {keys} are seen", length - 1), Field::Length(Some(length)));
    let ends = scene.dumped().and_then(|y| ends(scene.op().facts().keyed, y));
    let found = match (&ends, scene.tokens) {
        (Some(ends), 1) => vec![length(ends[0].max(1))],
        (Some(ends), _) => {
            let by = |row: usize| ends[row].cast_signed() - (scene.first + row + 1).cast_signed();
            let mut found = vec![restarted()];
            if ends.iter().all(|end| *end == ends[0] && *end > 0) {
                found.push(length(ends[0]));
            }
            if (0..ends.len()).all(|row| by(row) == by(0) && by(0) != 0) {
                found.push(shifted(by(0) as i64));
            }
            found
        }
        (None, tokens) => {
            let mut found = if tokens > 1 { vec![restarted()] } else { Vec::new() };
            let lengths: Vec<usize> =
                if keys <= FEW_KEYS { (1..keys).rev().collect() } else { vec![keys - 1, scene.first, 1] };
            found.extend(lengths.into_iter().filter(|length| *length > 0).map(length));
            if tokens > 1 {
                found.extend([1, -1, 2, -2].map(shifted));
            }
            found
        }
    };
    let late = |variant: Variant| {
        let edit = Edit::From { position: scene.first, edit: Box::new(variant.edit) };
        Variant { edit, ..variant }
    };
    masks(scene, found).into_iter().map(late).collect()
}

/// Chunks left out, of another size, or taken for a window.
fn chunks(scene: &Scene, own: usize) -> Vec<Variant> {
    let sizes = [2 * own, own + 1, own - 1].into_iter().filter(|size| *size > 0);
    let other = |size: usize| (format!("chunks of {size} where the model has {own}"), Field::Chunk(Some(size)));
    let none = (format!("no chunks where the model has them, of {own}"), Field::Chunk(None));
    let mut variants = masks(scene, [none].into_iter().chain(sizes.map(other)));
    let as_window = Edit::All([Field::Chunk(None), Field::Window(Some(own))].map(Edit::Set).into());
    let edit = if matches!(scene.op(), Op::Softmax { .. }) { Edit::Through(Box::new(as_window)) } else { as_window };
    variants.push(Variant::new(format!("a window of {own} where the model has chunks of that"), edit));
    variants
}

fn window(scene: &Scene) -> Vec<Variant> {
    let Some((own, ahead, chunk)) = scoring(scene).map(|how| (how.window, how.ahead, how.chunk)) else {
        return Vec::new();
    };
    if let Some(chunk) = chunk {
        return chunks(scene, chunk);
    }
    if let (Some(own), true) = (own, ahead != Some(0)) {
        return both_ways(scene, own, [0, 2 * own - 1, 2 * own - 2, own.div_ceil(2)]);
    }
    let have = own.map_or_else(|| "none".to_string(), |own| own.to_string());
    let mut windows = Vec::new();
    if own.is_some() {
        windows.push((format!("no window where the model has one of {have}"), Field::Window(None)));
    }
    let keys = scene.first + scene.tokens;
    let seen = scene.dumped().and_then(|y| seen_keys(scene.op().facts().keyed, y));
    // Layers of one model may have different ones.
    let of_node = |op: &Op| if let Op::Scores(how) = op { how.window } else { None };
    let of_model = scene.graph().nodes().iter().filter_map(|node| of_node(&node.op));
    // A window that nothing has left yet is none.
    let any = if scene.part.is_none() && keys <= FEW_KEYS { 1..keys } else { 0..0 };
    let mut widths: Vec<usize> = Vec::new();
    for width in seen.into_iter().chain(of_model).chain(any) {
        if !widths.contains(&width) {
            widths.push(width);
        }
    }
    // Those that would have shown in the forwards before.
    widths.retain(|width| own.map_or(*width, |own| own.min(*width)) >= scene.right_until);
    let other = |width: usize| (format!("a window of {width} where the model has {have}"), Field::Window(Some(width)));
    windows.extend(widths.into_iter().filter(|width| Some(*width) != own).map(other));
    masks(scene, windows)
}

/// Other windows of an encoder, by how many positions each side has, the query's own counted; 0 is none.
fn both_ways<const N: usize>(scene: &Scene, own: usize, widths: [usize; N]) -> Vec<Variant> {
    let of = |width: usize| {
        let (words, window) = match width {
            0 => (format!("no window where the model has {} to each side", own - 1), None),
            width => (format!("{} to each side where the model has {}", width - 1, own - 1), Some(width)),
        };
        let fields = [Field::Window(window), Field::Ahead(window.map(|width| width.cast_signed() - 1))];
        let both = Edit::All(fields.map(Edit::Set).into());
        let edit = if matches!(scene.op(), Op::Softmax { .. }) { Edit::Through(Box::new(both)) } else { both };
        Variant::new(words, edit)
    };
    widths.into_iter().filter(|width| *width != own).map(of).collect()
}

fn is_seen(keyed: Keyed, value: f64) -> bool {
    if keyed == Keyed::Probs { value > 0.0 } else { value > -1e4 }
}

/// How many keys the last query sees.
fn seen_keys(keyed: Keyed, y: ArrayD<f64>) -> Option<usize> {
    let y = y.into_dimensionality::<Ix3>().ok()?;
    let last = y.index_axis(Axis(1), y.len_of(Axis(1)).checked_sub(1)?);
    last.rows().into_iter().map(|row| row.iter().filter(|value| is_seen(keyed, **value)).count()).max()
}

/// For each query, the end of the keys that it sees.
fn ends(keyed: Keyed, y: ArrayD<f64>) -> Option<Vec<usize>> {
    let y = y.into_dimensionality::<Ix3>().ok()?;
    let end = |query: usize| {
        let rows = y.index_axis(Axis(1), query);
        (0..y.len_of(Axis(2)))
            .rfind(|key| rows.column(*key).iter().any(|value| is_seen(keyed, *value)))
            .map_or(0, |last| last + 1)
    };
    Some((0..y.len_of(Axis(1))).map(end).collect())
}
