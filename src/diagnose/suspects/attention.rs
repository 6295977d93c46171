//! Mistakes in attention: heads, masks, the scale, and the cache.

use ndarray::{ArrayD, Axis, Ix2, Ix3};

use super::{Scene, Suspect, Variant};
use crate::engine::{Activation as A, Input, Op, Site, Step};
use crate::ops::{Join, Mask, Rounding, Scoring, grouped};

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
        variants: |_| vec![masked("no causal mask", |mask| mask.ahead = None)],
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
        variants: scale,
    },
    Suspect {
        id: "low_precision_scores",
        summary: "scores are rounded to bf16 or f16",
        ops: &[A::Scores],
        symptom: "scores of a finer dump are off by up to 0.4 % each",
        cause: "queries and keys are multiplied in half precision",
        fix: "accumulate and keep scores in f32",
        seen: "llama.cpp #8412, llama.cpp #7805, Qwen3 #826",
        variants: |_| {
            let rounded =
                |format: Rounding, name: &str| scored(format!("scores rounded to {name}"), move |s| s.format = format);
            vec![rounded(Rounding::Bf16, "bf16"), rounded(Rounding::F16, "f16")]
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
        variants: |_| {
            let joined = |words: &str, order: Join| {
                Variant::new(words, move |step| {
                    if let Some(Op::Context { join, .. }) = step.ops.first_mut() {
                        *join = order;
                    }
                })
            };
            vec![
                joined("[head, token, channel] read as rows", Join::Untransposed),
                joined("channels of the heads in turn", Join::Interleaved),
            ]
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

fn scored(words: impl Into<String>, change: impl Fn(&mut Scoring) + Send + Sync + 'static) -> Variant {
    Variant::new(words, move |step| {
        for op in &mut step.ops {
            if let Op::Scores { how, .. } = op {
                change(how);
            }
        }
    })
}

/// Another mask: on scores, or on probabilities, which are then computed from queries and keys.
fn masked(words: impl Into<String>, change: impl Fn(&mut Mask) + Send + Sync + 'static) -> Variant {
    Variant::new(words, move |step: &mut Step| {
        let config = &step.model.config;
        let mut mask = Mask::causal(step.span.first, config.sliding_window[step.site.layer]);
        change(&mut mask);
        if step.site.activation == A::Probs {
            let layer = step.site.layer;
            step.inputs = vec![Input::Site(Site::new(layer, A::QRope)), Input::Keys(layer)];
            let how = Scoring::new(config.num_attention_heads, config.num_key_value_heads, config.head_dim, mask);
            step.ops = vec![Op::Scores { how, slots: Vec::new() }, Op::Softmax];
        } else if let Some(Op::Scores { how, .. }) = step.ops.first_mut() {
            how.mask = mask;
        }
    })
}

fn off_by_one(scene: &Scene) -> Vec<Variant> {
    let mut variants = vec![
        masked("a query sees the token after it", |mask| mask.ahead = Some(1)),
        masked("a query does not see itself", |mask| mask.ahead = Some(-1)),
    ];
    if let Some(own) = scene.config().sliding_window[scene.site.layer] {
        for width in [own + 1, own.saturating_sub(1)] {
            let words = format!("a window of {width} where the model has {own}");
            variants.push(masked(words, move |mask| mask.window = Some(width)));
        }
    }
    variants
}

fn window(scene: &Scene) -> Vec<Variant> {
    let own = scene.config().sliding_window[scene.site.layer];
    let mut variants = Vec::new();
    let have = own.map_or_else(|| "none".to_string(), |own| own.to_string());
    if own.is_some() {
        variants.push(masked(format!("no window where the model has one of {have}"), |mask| mask.window = None));
    }
    let seen = scene.dumped().and_then(|y| seen_keys(scene.activation(), y));
    if let Some(width) = seen.filter(|width| Some(*width) != own) {
        variants.push(masked(format!("a window of {width} where the model has {have}"), move |mask| {
            mask.window = Some(width);
        }));
    }
    variants
}

/// How many keys the last query sees.
fn seen_keys(activation: A, y: ArrayD<f64>) -> Option<usize> {
    let y = y.into_dimensionality::<Ix3>().ok()?;
    let last = y.index_axis(Axis(1), y.len_of(Axis(1)).checked_sub(1)?);
    let is_seen = |value: &f64| if activation == A::Probs { *value > 0.0 } else { *value > -1e4 };
    last.rows().into_iter().map(|row| row.iter().filter(|value| is_seen(value)).count()).max()
}

fn gqa(scene: &Scene) -> Vec<Variant> {
    let config = scene.config();
    let (heads, groups) = (config.num_attention_heads, config.num_key_value_heads);
    let maps: [(String, Vec<usize>); 3] = [
        (format!("head h reads key head h mod {groups}"), (0..heads).map(|h| h % groups).collect()),
        ("all heads read key head 0".into(), vec![0; heads]),
        (format!("head h reads key head h / {groups}"), (0..heads).map(|h| (h / groups).min(groups - 1)).collect()),
    ];
    let right = grouped(heads, groups);
    let read = |(words, map): (String, Vec<usize>)| {
        Variant::new(words, move |step| match step.ops.first_mut() {
            Some(Op::Scores { how, .. }) => how.groups.clone_from(&map),
            Some(Op::Context { groups, .. }) => groups.clone_from(&map),
            _ => {}
        })
    };
    maps.into_iter().filter(|(_, map)| *map != right).map(read).collect()
}

fn scale(scene: &Scene) -> Vec<Variant> {
    let config = scene.config();
    let (d, hidden) = (config.head_dim as f64, config.hidden_size as f64);
    let (heads, layer) = (config.num_attention_heads as f64, scene.site.layer as f64);
    let own = d.sqrt().recip();
    let candidates = [
        (1.0, "1: no scale".to_string()),
        (1.0 / d, "1 / head_dim: applied twice".into()),
        (d.sqrt(), "sqrt(head_dim): the inverse".into()),
        (hidden.sqrt().recip(), "1 / sqrt(hidden)".into()),
        ((hidden / heads).sqrt().recip(), "1 / sqrt(hidden / heads)".into()),
        (heads.sqrt().recip(), "1 / sqrt(heads)".into()),
        ((d / 2.0).sqrt().recip(), "1 / sqrt(head_dim / 2)".into()),
        (own / (layer + 1.0), format!("1 / sqrt(head_dim), divided by {}", layer + 1.0)),
        (own / std::f64::consts::LN_2, "1 / sqrt(head_dim) / ln 2, and the softmax not in powers of 2".into()),
    ];
    let other = |(scale, words): (f64, String)| {
        ((scale / own - 1.0).abs() > 1e-9).then(|| scored(words, move |scoring| scoring.scale = scale))
    };
    candidates.into_iter().filter_map(other).collect()
}

fn cache_stale(scene: &Scene) -> Vec<Variant> {
    let slots = match scene.activation() {
        A::Scores => stale_keys(scene),
        _ => stale_values(scene),
    };
    let held = |(slot, other): (usize, Option<usize>)| {
        let what = other.map_or_else(|| "zeros".to_string(), |other| format!("what belongs to token {other}"));
        let first = scene.first;
        Variant::new(format!("the slot of token {slot} holds {what}"), move |step| match step.ops.first_mut() {
            Some(Op::Scores { slots, .. } | Op::Context { slots, .. }) if step.span.first >= first => {
                slots.push((slot, other));
            }
            _ => {}
        })
    };
    slots.unwrap_or_default().into_iter().map(held).collect()
}

/// The key whose scores are furthest off, and every slot that could stand there instead.
fn stale_keys(scene: &Scene) -> Option<Vec<(usize, Option<usize>)>> {
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
fn stale_values(scene: &Scene) -> Option<Vec<(usize, Option<usize>)>> {
    let config = scene.config();
    let y = scene.dumped()?.into_dimensionality::<Ix2>().ok()?;
    let f = scene.exact()?.into_dimensionality::<Ix2>().ok()?;
    let probs = scene.input(0)?.into_dimensionality::<Ix3>().ok()?;
    let keys = probs.len_of(Axis(2));
    let (rows, width) = (y.nrows(), config.head_dim);
    let repeat = config.num_attention_heads / config.num_key_value_heads;
    let explained = |key: usize| {
        let mut share = 0.0;
        for group in 0..config.num_key_value_heads {
            for channel in 0..width {
                let (mut cross, mut size) = (0.0, 0.0);
                for head in group * repeat..(group + 1) * repeat {
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

fn others(slot: usize, keys: usize) -> Vec<(usize, Option<usize>)> {
    std::iter::once(None).chain((0..keys).filter(|key| *key != slot).map(Some)).map(|other| (slot, other)).collect()
}
