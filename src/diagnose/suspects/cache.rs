//! Mistakes in the cache of keys and values: what its slots hold.

use std::ops::Range;

use ndarray::{Array2, Axis, Ix2, Ix3};

use super::attention::heads;
use super::{Scene, Suspect, Variant};
use crate::diagnose::finding::ranges;
use crate::diagnose::precision::Precision;
use crate::engine::{Edit, Field, Op, Role as A};
use crate::model::op::{Content, Held, Slots};

pub(super) const SUSPECTS: &[Suspect] = &[
    Suspect {
        id: "keys_not_rotated",
        summary: "keys in the cache are not rotated",
        ops: &[A::Scores],
        symptom: "the prefill is right, decode steps are off in every cached key but the first",
        cause: "keys are written to the cache before RoPE and read without it",
        fix: "rotate keys before they are written to the cache, or each time they are read",
        seen: "gpt-neox #363",
        variants: |scene| turned(scene, -1, "keys from before RoPE"),
    },
    Suspect {
        id: "keys_rotated_twice",
        summary: "keys in the cache are rotated once more when they are read",
        ops: &[A::Scores],
        symptom: "the prefill is right, decode steps are off in every cached key but the first",
        cause: "RoPE is applied to the whole cache, in which keys stand rotated",
        fix: "rotate a key once, by its own position",
        seen: "no public thread is known to us",
        variants: |scene| turned(scene, 1, "keys rotated by twice their position"),
    },
    Suspect {
        id: "kv_cache_stale",
        summary: "a slot of the cache holds zeros or what belongs to another token",
        ops: &[A::Scores, A::Context],
        symptom: "the prefill is right, decode steps are off in one key, or some",
        cause: "a slot is not written, written too late, or written to another place",
        fix: "write keys and values of a token to its slot before attention reads them",
        seen: "realizar #94, koboldcpp #2158, fla #766, HF #37574",
        variants: stale,
    },
];

/// Share of an error below which something has no part in it: less than that is rounding.
fn nothing(scene: &Scene) -> f64 {
    if scene.precision == Precision::F32 { 1e-6 } else { 2e-3 }
}

/// Keys up to which many slots are tried, where the dump does not tell them.
const FEW_KEYS: usize = 32;

/// Pairs of slots that are tried at most.
const MOST_EXCHANGES: usize = 1024;

/// Cached keys turned by so many times their position: those of the forwards before, or all.
fn turned(scene: &Scene, times: i64, words: &str) -> Vec<Variant> {
    let Some((_, Op::Rope(rotate))) = scene.read(1).map(|(site, node)| (site, &node.op)) else { return Vec::new() };
    let content = Content::Turned {
        frequencies: rotate.frequencies(scene.first + scene.tokens),
        pairs: rotate.pairs,
        times,
        by: 0,
    };
    let of = |slots: Slots, which: &str| {
        let held = Held { slots, head: None, content: content.clone() };
        Variant::new(format!("{words}, {which}"), Edit::Set(Field::Held(held)))
    };
    let mut variants = Vec::new();
    if scene.step > 0 || scene.tokens == 0 {
        variants.push(of(Slots::Before, "of the forwards before"));
    }
    // Over a span, the rotation itself may be missing as well.
    if scene.part.is_some() {
        variants.push(of(Slots::All, "all of them"));
    }
    variants
}

/// Some slots, of one head or of all, that hold something else.
fn variant(scene: &Scene, slots: &[usize], head: Option<usize>, content: Content) -> Variant {
    let what = match content {
        Content::Of(other) => format!("what belongs to token {other}"),
        Content::Moved(-1) => "what belongs to the token before".to_string(),
        Content::Moved(1) => "what belongs to the next token".to_string(),
        Content::Moved(by) => format!("what belongs {} tokens {}", by.abs(), if by < 0 { "before" } else { "behind" }),
        Content::Zeros | Content::Turned { .. } => "zeros".to_string(),
    };
    let whose = if slots.len() == 1 { "slot of token" } else { "slots of tokens" };
    let hold = if slots.len() == 1 { "holds" } else { "hold" };
    let of_head = head.map_or_else(String::new, |head| format!(", of key head {head}"));
    let held = Held { slots: Slots::Of(slots.into()), head, content };
    let edit = Edit::From { position: scene.first, edit: Box::new(Edit::Set(Field::Held(held))) };
    Variant::new(format!("the {whose} {}{of_head} {hold} {what}", ranges(slots)), edit)
}

/// The slot of the token that is fed holds something else: in the forwards behind it, so may each slot since.
pub(super) fn later_slots(edit: &Edit) -> Option<Variant> {
    let (position, edit) = match edit {
        Edit::From { position, edit } => (position, edit),
        Edit::ByNode(nodes) => match &nodes[..] {
            [(_, one)] => return later_slots(one),
            _ => return None,
        },
        _ => return None,
    };
    let Edit::Set(Field::Held(held)) = &**edit else { return None };
    let is_newest = matches!(&held.slots, Slots::Of(slots) if **slots == [*position]);
    let what = match held.content {
        Content::Zeros => "zeros",
        Content::Moved(-1) => "what belongs to the token before",
        _ => return None,
    };
    let words = format!("the slots of tokens from {position} on hold {what}");
    let held = Held { slots: Slots::From(*position), ..held.clone() };
    let edit = Edit::From { position: *position, edit: Box::new(Edit::Set(Field::Held(held))) };
    is_newest.then(|| Variant::new(words, edit))
}

fn stale(scene: &Scene) -> Vec<Variant> {
    let found = match (scene.op(), &scene.part) {
        (_, None) => return usual(scene),
        (Op::Scores(_), _) => stale_keys(scene),
        _ => stale_values(scene),
    };
    found.unwrap_or_default()
}

/// What one slot can hold instead of its own.
fn instead(slot: usize, keys: usize) -> impl Iterator<Item = Content> {
    std::iter::once(Content::Zeros).chain((0..keys).filter(move |key| *key != slot).map(Content::Of))
}

/// What several slots can hold instead of their own.
fn moved(keys: usize) -> impl Iterator<Item = Content> {
    const FURTHEST: usize = 16;
    let by = (1..=keys.min(FURTHEST).cast_signed()).flat_map(|by| [-by, by]);
    std::iter::once(Content::Zeros).chain(by.map(Content::Moved)).chain((0..keys.min(FEW_KEYS)).map(Content::Of))
}

/// The keys whose scores are off, and what could stand there instead.
fn stale_keys(scene: &Scene) -> Option<Vec<Variant>> {
    let (map, groups, _) = heads(scene)?;
    let y = scene.dumped()?.into_dimensionality::<Ix3>().ok()?;
    let f = scene.exact()?.into_dimensionality::<Ix3>().ok()?;
    let keys = f.len_of(Axis(2));
    let mut off = Array2::<f64>::zeros((groups, keys));
    for ((place, f), y) in f.indexed_iter().zip(&y).filter(|((_, f), _)| f.is_finite()) {
        off[[map[place.0], place.2]] += (y - f).powi(2);
    }
    let all = off.sum();
    let wrong = |part: ndarray::ArrayView1<f64>| part.sum() > nothing(scene) * all;
    let slots: Vec<usize> = (0..keys).filter(|key| wrong(off.column(*key))).collect();
    let in_heads: Vec<usize> = (0..groups).filter(|group| wrong(off.row(*group))).collect();
    let head = (groups > 1 && in_heads.len() == 1).then(|| in_heads[0]);
    let contents: Vec<Content> = match slots[..] {
        [] => return None,
        [slot] => instead(slot, keys).collect(),
        _ => moved(keys).collect(),
    };
    Some(contents.into_iter().map(|content| variant(scene, &slots, head, content)).collect())
}

/// The values whose exchange explains the error best: the error is their probabilities times one vector per key head.
fn stale_values(scene: &Scene) -> Option<Vec<Variant>> {
    let (map, groups, width) = heads(scene)?;
    let y = scene.dumped()?.into_dimensionality::<Ix2>().ok()?;
    let f = scene.exact()?.into_dimensionality::<Ix2>().ok()?;
    let probs = scene.input(0)?.into_dimensionality::<Ix3>().ok()?;
    let keys = probs.len_of(Axis(2));
    let channels = |head: usize| head * width..(head + 1) * width;
    let error = &y - &f;
    let of_group = |group: usize| (0..map.len()).filter(move |head| map[*head] == group);
    let size = |group: usize| {
        let part = |head: usize| error.slice(ndarray::s![.., channels(head)]).iter().map(|v| v * v).sum::<f64>();
        of_group(group).map(part).sum::<f64>()
    };
    let sizes: Vec<f64> = (0..groups).map(size).collect();
    let all: f64 = sizes.iter().sum();
    let wrong: Vec<usize> = (0..groups).filter(|group| sizes[*group] > nothing(scene) * all).collect();
    let head = (groups > 1 && wrong.len() == 1).then(|| wrong[0]);
    let explained = |key: usize| {
        let mut share = 0.0;
        for group in wrong.iter().copied() {
            for channel in 0..width {
                let (mut cross, mut size) = (0.0, 0.0);
                for head in of_group(group) {
                    for row in 0..y.nrows() {
                        let weight = probs[[head, row, key]];
                        cross += weight * error[[row, head * width + channel]];
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
    let enough = 0.9 * by_share.first()?.1;
    let alike = by_share.into_iter().take_while(|(_, share)| *share >= enough).take(MOST_EXCHANGES.div_ceil(keys));
    let one = |(key, _): (usize, f64)| instead(key, keys).map(move |content| variant(scene, &[key], head, content));
    let several = spans_of(keys).into_iter().flat_map(|slots| {
        let slots: Vec<usize> = slots.collect();
        [Content::Zeros, Content::Moved(-1), Content::Moved(1)].map(|content| variant(scene, &slots, head, content))
    });
    Some(alike.flat_map(one).chain(several).collect())
}

/// Slots side by side, two at least: all of them where there are few keys, else those at the ends.
fn spans_of(keys: usize) -> Vec<Range<usize>> {
    let starts = |end: usize| (0..end.saturating_sub(1)).map(move |start| start..end);
    if keys <= FEW_KEYS { (0..=keys).flat_map(starts).collect() } else { vec![0..keys, 0..keys - 1, 1..keys] }
}

/// What is tried where nothing tells which slot it is; keys and values in the same order.
fn usual(scene: &Scene) -> Vec<Variant> {
    if scene.step == 0 {
        return Vec::new();
    }
    let keys = scene.first + scene.tokens;
    let few = keys <= FEW_KEYS;
    let single: Vec<usize> = if few { (0..keys).collect() } else { vec![0, scene.first - 1, scene.first] };
    let before: Vec<usize> = (0..scene.first).collect();
    let groups = scene.read(1).and_then(|(_, node)| node.heads()).map_or(1, |(groups, _)| groups);
    let all = |slots: Vec<usize>, content: Content| (slots, None, content);
    let mut tried: Vec<(Vec<usize>, Option<usize>, Content)> =
        single.iter().map(|slot| all(vec![*slot], Content::Zeros)).collect();
    tried.extend(single.iter().skip(1).map(|slot| all(vec![*slot], Content::Moved(-1))));
    tried.extend([Content::Zeros, Content::Moved(-1), Content::Moved(1)].map(|content| all(before.clone(), content)));
    if groups > 1 {
        let of_head = |slot: &usize| {
            let slot = *slot;
            (0..groups).map(move |head| (vec![slot], Some(head), Content::Zeros))
        };
        tried.extend(single.iter().flat_map(of_head));
    }
    if few {
        let first = (2..scene.first).map(|count| (0..count).collect());
        let last = (2..scene.first).map(|start| (start..keys).collect());
        tried.extend(first.chain(last).map(|slots| all(slots, Content::Zeros)));
        let of = |slot: &usize| {
            let slot = *slot;
            (0..keys).map(move |other| (vec![slot], None, Content::Of(other)))
        };
        tried.extend(single.iter().flat_map(of));
    }
    let is_own = |slots: &[usize], content: &Content| matches!(content, Content::Of(other) if *slots == [*other]);
    tried.retain(|(slots, _, content)| !slots.is_empty() && !is_own(slots, content));
    tried.into_iter().map(|(slots, head, content)| variant(scene, &slots, head, content)).collect()
}
