//! Mistakes in attention: heads, masks, the scale, and the cache.

use ndarray::{ArrayD, Axis, Ix2, Ix3};

use super::{Scene, Suspect, Variant, knobs};
use crate::engine::{Edit, Field, Keyed, Op, Role as A};
use crate::model::op::{Scoring, Slot};
use crate::ops::{Join, Rounding};

/// A wrong mask is first seen in the scores, or in the probabilities where scores were dumped from before the mask.
const MASKED: &[A] = &[A::Scores, A::Probs];

pub(super) const SUSPECTS: &[Suspect] = &[
    Suspect {
        id: "causal_mask_missing",
        summary: "every token sees all tokens",
        ops: MASKED,
        symptom: "the last row is right, the first rows are off most",
        cause: "a prefill without a causal mask; decoding needs none, so short tests pass",
        fix: "hide keys after the query",
        seen: "mlxcel #998, vmlx #185, TinyLLM #17, HF #48748",
        variants: |scene| masks(scene, [("no causal mask".into(), Field::Ahead(None))]),
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
        id: "sliding_window",
        summary: "the sliding window is ignored, invented or of another length",
        ops: MASKED,
        symptom: "tokens up to the window are right, later ones are wrong",
        cause: "sliding_window or layer_types of config.json is not read, or read for the wrong layers",
        fix: "hide keys further back than sliding_window in the layers that have one",
        seen: "HF #26792, vLLM #3385, mistral.rs 39f766e93, executorch 3caaaca1f",
        variants: window,
    },
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
    Suspect {
        id: "kv_cache_stale",
        summary: "a slot of the cache holds zeros or what belongs to another token",
        ops: &[A::Scores, A::Context],
        symptom: "the prefill is right, decode steps are off in one key",
        cause: "a slot is not written, written too late, or written to another place",
        fix: "write keys and values of a token to its slot before attention reads them",
        seen: "realizar #94, koboldcpp #2158, fla #766",
        variants: cache_stale,
    },
];

/// Other masks: on scores, or on probabilities, which are then computed from queries and keys.
fn masks(scene: &Scene, masks: impl IntoIterator<Item = (String, Field)>) -> Vec<Variant> {
    let of_op = |field: Field| match scene.op() {
        Op::Softmax => Edit::Through(Box::new(Edit::Set(field))),
        _ => Edit::Set(field),
    };
    masks.into_iter().map(|(words, field)| Variant::new(words, of_op(field))).collect()
}

/// The op that scores keys: this one, or that which it reads.
fn scoring(scene: &Scene) -> Option<&Scoring> {
    match (scene.op(), scene.read(0).map(|(_, node)| &node.op)) {
        (Op::Scores(how), _) | (_, Some(Op::Scores(how))) => Some(how),
        _ => None,
    }
}

fn off_by_one(scene: &Scene) -> Vec<Variant> {
    let Some(how) = scoring(scene) else { return Vec::new() };
    let mut off = vec![
        ("a query sees the token after it".to_string(), Field::Ahead(Some(1))),
        ("a query does not see itself".to_string(), Field::Ahead(Some(-1))),
    ];
    if let Some(own) = how.window {
        for width in [own + 1, own.saturating_sub(1)] {
            off.push((format!("a window of {width} where the model has {own}"), Field::Window(Some(width))));
        }
    }
    masks(scene, off)
}

fn window(scene: &Scene) -> Vec<Variant> {
    let Some(own) = scoring(scene).map(|how| how.window) else { return Vec::new() };
    let have = own.map_or_else(|| "none".to_string(), |own| own.to_string());
    let mut windows = Vec::new();
    if own.is_some() {
        windows.push((format!("no window where the model has one of {have}"), Field::Window(None)));
    }
    let seen = scene.dumped().and_then(|y| seen_keys(scene.op().facts().keyed, y));
    // Layers of one model may have different ones.
    let of_node = |op: &Op| if let Op::Scores(how) = op { how.window } else { None };
    let mut widths: Vec<usize> = seen.into_iter().collect();
    for width in scene.graph().nodes().iter().filter_map(|node| of_node(&node.op)) {
        if !widths.contains(&width) {
            widths.push(width);
        }
    }
    let other = |width: usize| (format!("a window of {width} where the model has {have}"), Field::Window(Some(width)));
    windows.extend(widths.into_iter().filter(|width| Some(*width) != own).map(other));
    masks(scene, windows)
}

/// How many keys the last query sees.
fn seen_keys(keyed: Keyed, y: ArrayD<f64>) -> Option<usize> {
    let y = y.into_dimensionality::<Ix3>().ok()?;
    let last = y.index_axis(Axis(1), y.len_of(Axis(1)).checked_sub(1)?);
    let is_seen = |value: &f64| if keyed == Keyed::Probs { *value > 0.0 } else { *value > -1e4 };
    last.rows().into_iter().map(|row| row.iter().filter(|value| is_seen(value)).count()).max()
}

/// For each query head the key head that it reads, and how many key heads of which width there are.
fn heads(scene: &Scene) -> Option<(&[usize], usize, usize)> {
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

fn cache_stale(scene: &Scene) -> Vec<Variant> {
    let slots = match scene.op() {
        Op::Scores(_) => stale_keys(scene),
        _ => stale_values(scene),
    };
    let held = |slot: Slot| {
        let what = slot.1.map_or_else(|| "zeros".to_string(), |other| format!("what belongs to token {other}"));
        let edit = Edit::From { position: scene.first, edit: Box::new(Edit::Set(Field::Slot(slot))) };
        Variant::new(format!("the slot of token {} holds {what}", slot.0), edit)
    };
    slots.unwrap_or_default().into_iter().map(held).collect()
}

/// The key whose scores are furthest off, and every slot that could stand there instead.
fn stale_keys(scene: &Scene) -> Option<Vec<Slot>> {
    let y = scene.dumped()?.into_dimensionality::<Ix3>().ok()?;
    let f = scene.exact()?.into_dimensionality::<Ix3>().ok()?;
    let keys = f.len_of(Axis(2));
    let off = |key: usize| {
        let pairs = y.index_axis(Axis(2), key).into_owned();
        let exact = f.index_axis(Axis(2), key);
        pairs.iter().zip(&exact).filter(|(_, f)| f.is_finite()).map(|(y, f)| (y - f).powi(2)).sum::<f64>()
    };
    let worst = (0..keys).max_by(|a, b| off(*a).total_cmp(&off(*b)))?;
    Some(others(worst, keys))
}

/// Pairs of slots that are tried at most.
const MOST_EXCHANGES: usize = 1024;

/// The value whose exchange explains the error best: the error is its probabilities times one vector per key head.
fn stale_values(scene: &Scene) -> Option<Vec<Slot>> {
    let (map, groups, width) = heads(scene)?;
    let y = scene.dumped()?.into_dimensionality::<Ix2>().ok()?;
    let f = scene.exact()?.into_dimensionality::<Ix2>().ok()?;
    let probs = scene.input(0)?.into_dimensionality::<Ix3>().ok()?;
    let keys = probs.len_of(Axis(2));
    let rows = y.nrows();
    let explained = |key: usize| {
        let mut share = 0.0;
        for group in 0..groups {
            for channel in 0..width {
                let (mut cross, mut size) = (0.0, 0.0);
                for head in (0..map.len()).filter(|head| map[*head] == group) {
                    for row in 0..rows {
                        let weight = probs[[head, row, key]];
                        cross += weight * (y[[row, head * width + channel]] - f[[row, head * width + channel]]);
                        size += weight * weight;
                    }
                }
                share += if size > 0.0 { cross * cross / size } else { 0.0 };
            }
        }
        share
    };
    let mut by_share: Vec<(usize, f64)> = (0..keys).map(|key| (key, explained(key))).collect();
    by_share.sort_by(|a, b| b.1.total_cmp(&a.1));
    // With few rows several keys explain it alike.
    let enough = 0.9 * by_share[0].1;
    let alike = by_share.into_iter().take_while(|(_, share)| *share >= enough).take(MOST_EXCHANGES.div_ceil(keys));
    Some(alike.flat_map(|(key, _)| others(key, keys)).collect())
}

fn others(slot: usize, keys: usize) -> Vec<Slot> {
    std::iter::once(None).chain((0..keys).filter(|key| *key != slot).map(Some)).map(|other| (slot, other)).collect()
}
