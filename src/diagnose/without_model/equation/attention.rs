//! Softmax, and, in the first forward, where all keys are those of the same forward, scores and context.

use ndarray::{Array3, ArrayD, Axis, Ix3};

use super::{Own, Residual};
use crate::diagnose::part::Part;
use crate::dump;
use crate::engine::{Activation as A, Site};
use crate::model::Config;

/// Probabilities are the softmax of the scores; none goes to a later token.
pub(super) fn softmax(probs: Option<Part>, scores: Option<Part>, first: usize) -> Option<Residual> {
    let (probs, scores) = (probs?, scores?);
    if probs.values.ndim() != 3
        || probs.values.shape() != scores.values.shape()
        || probs.first_key != scores.first_key
        || probs.rows != scores.rows
    {
        return None;
    }
    let mut terms = Vec::with_capacity(probs.values.len());
    for (probs, scores) in probs.values.lanes(Axis(2)).into_iter().zip(scores.values.lanes(Axis(2))) {
        let scores: Vec<f64> = scores.iter().map(|s| f64::from(*s)).collect();
        let highest = scores.iter().copied().filter(|s| s.is_finite()).fold(f64::NEG_INFINITY, f64::max);
        let powers: Vec<f64> = scores.iter().map(|s| (s - highest).exp()).collect();
        let total: f64 = powers.iter().sum();
        // A score's rounding moves its own probability, and all others by its share.
        let moved: f64 = scores.iter().zip(&powers).filter(|(_, p)| **p > 0.0).map(|(s, p)| s.abs() * p / total).sum();
        let row = probs.iter().zip(scores.iter().zip(powers)).map(|(p, (score, power))| {
            let (p, should) = (f64::from(*p), power / total);
            let size = if score.is_finite() { p.max(should) * (2.0 + score.abs() + moved) } else { 0.0 };
            (p, should, size)
        });
        terms.extend(row);
    }
    let later = probs.values.indexed_iter().any(|(at, p)| {
        let row = probs.rows.get(at[1]).copied().unwrap_or(usize::MAX);
        row < usize::MAX && probs.first_key + at[2] > first + row && *p > 1e-3
    });
    let residual = Residual { loose: true, ..Residual::of(terms.into_iter()) };
    let how = Some("attention to later tokens".into());
    Some(if later { Residual { unit: f64::INFINITY, how, ..residual } } else { residual })
}

/// `[token, head * head_dim]` or `[head, token, head_dim]`, as the latter.
fn heads(values: ArrayD<f32>, config: &Config) -> Option<Array3<f64>> {
    let values = values.mapv(f64::from);
    match values.ndim() {
        3 => values.into_dimensionality::<Ix3>().ok(),
        2 => {
            let (tokens, width) = (values.len_of(Axis(0)), values.len_of(Axis(1)));
            let d = config.head_dim;
            let values = values.as_standard_layout().into_owned();
            let split = values.into_shape_with_order((tokens, width / d, d)).ok()?;
            Some(split.permuted_axes([1, 0, 2]).as_standard_layout().into_owned())
        }
        _ => None,
    }
}

/// Whole tensors of the first forward.
fn whole(own: &Own, config: &Config, layer: usize, activation: A) -> Result<Option<Array3<f64>>, dump::Error> {
    let part = own.part(layer, activation)?;
    let part = part.filter(|part| part.rows.len() == own.pair.tokens(own.forward) && part.first_key == 0);
    Ok(part.and_then(|part| heads(part.values.into_owned(), config)))
}

/// The key head that a query head reads: `(query head, query heads, key heads)`, and what is unusual about it.
type KeyHead = (fn(usize, usize, usize) -> usize, Option<&'static str>);

/// The ways that are met, the usual one first.
const KEY_HEADS: [KeyHead; 2] =
    [(|h, of, kv| h * kv / of, None), (|h, _, kv| h % kv, Some("query head h reads key head h modulo their number"))];

/// Scores are `q kᵀ` times a number that is found out.
pub(super) fn scores(own: &Own, config: &Config, layer: usize) -> Result<Option<Residual>, dump::Error> {
    if own.forward > 0 {
        return Ok(None);
    }
    let get = |activation| whole(own, config, layer, activation);
    let (Some(scores), Some(q), Some(k)) = (get(A::Scores)?, get(A::QRope)?, get(A::KRope)?) else { return Ok(None) };
    let (of, kv) = (q.len_of(Axis(0)), k.len_of(Axis(0)));
    if scores.dim() != (of, q.len_of(Axis(1)), k.len_of(Axis(1))) || kv == 0 {
        return Ok(None);
    }
    let tried = KEY_HEADS.map(|(map, how)| {
        let (mut dot, mut square, mut terms) = (0.0, 0.0, Vec::new());
        for ((head, query, key), score) in scores.indexed_iter().filter(|((_, q, k), s)| k <= q && s.is_finite()) {
            let (a, b) = (q.slice(ndarray::s![head, query, ..]), k.slice(ndarray::s![map(head, of, kv), key, ..]));
            let product: f64 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
            let size: f64 = a.iter().zip(&b).map(|(a, b)| (a * b).abs()).sum();
            (dot, square) = (dot + product * score, square + product * product);
            terms.push((*score, product, size));
        }
        let scale: f64 = if square > 0.0 { dot / square } else { 0.0 };
        let fit = terms.into_iter().map(|(score, product, size)| (score, scale * product, 4.0 * scale.abs() * size));
        let said = format!("{scale:.4} times q·k");
        let how = how.map_or(said.clone(), |how| format!("{said}, where {how}"));
        Residual { loose: true, how: Some(how), ..Residual::of(fit) }
    });
    Ok(Some(plain_first(tried)))
}

/// Context is the values, summed by the probabilities.
pub(super) fn context(own: &Own, config: &Config, layer: usize) -> Result<Option<Residual>, dump::Error> {
    if own.forward > 0 {
        return Ok(None);
    }
    let get = |activation| whole(own, config, layer, activation);
    let (Some(out), Some(p), Some(v)) = (get(A::Context)?, get(A::Probs)?, get(A::VProj)?) else { return Ok(None) };
    let (of, kv) = (p.len_of(Axis(0)), v.len_of(Axis(0)));
    let tokens = v.len_of(Axis(1));
    if out.len_of(Axis(0)) != of || p.dim() != (of, tokens, tokens) || kv == 0 {
        return Ok(None);
    }
    let tried = KEY_HEADS.map(|(map, how)| {
        let terms = out.indexed_iter().map(|((head, token, channel), out)| {
            let products = (0..tokens).map(|key| p[[head, token, key]] * v[[map(head, of, kv), key, channel]]);
            let (sum, size) = products.fold((0.0, 0.0), |(sum, size), product| (sum + product, size + product.abs()));
            (*out, sum, 4.0 * size + out.abs())
        });
        Residual { loose: true, how: how.map(String::from), ..Residual::of(terms) }
    });
    Ok(Some(plain_first(tried)))
}

/// The usual way, unless it is the other that fits: an engine that reads other heads is wrong.
fn plain_first([usual, other]: [Residual; 2]) -> Residual {
    let fits = other.unit < 1e-2 && other.unit * 10.0 < usual.unit;
    if fits { Residual { how: other.how, ..usual } } else { usual }
}

/// The two channels of pair `i`, when half of the channels is so many.
type Pairing = fn(usize, usize) -> (usize, usize);

/// RoPE keeps the length of every pair of channels it turns; which pairs those are is found out.
pub(super) fn rotation(own: &Own, config: &Config, site: Site) -> Result<Option<Residual>, dump::Error> {
    let query = site.activation == A::QRope;
    let before = match (query, config.qk_norm) {
        (true, true) => A::QNorm,
        (false, true) => A::KNorm,
        (true, false) => A::QProj,
        (false, false) => A::KProj,
    };
    let get = |activation| -> Result<Option<Array3<f64>>, dump::Error> {
        Ok(own.values(site.layer, activation)?.and_then(|values| heads(values, config)))
    };
    let (Some(x), Some(y)) = (get(before)?, get(site.activation)?) else { return Ok(None) };
    let half = config.head_dim / 2;
    // At position 0 nothing is turned, so that every pairing fits.
    if x.dim() != y.dim() || half == 0 || own.first() + x.len_of(Axis(1)) < 2 {
        return Ok(None);
    }
    let pairings: [(Pairing, String); 2] = [
        (|i, half| (i, i + half), format!("RoPE over pairs (i, i+{half})")),
        (|i, _| (2 * i, 2 * i + 1), "RoPE over pairs (2i, 2i+1)".into()),
    ];
    let tried = pairings.into_iter().map(|(pairing, how)| {
        let lanes = x.lanes(Axis(2)).into_iter().zip(y.lanes(Axis(2)));
        let terms = lanes.flat_map(|(x, y)| {
            (0..half).map(move |i| {
                let (a, b) = pairing(i, half);
                let (before, after) = (x[a].hypot(x[b]), y[a].hypot(y[b]));
                (after, before, 4.0 * before.max(after))
            })
        });
        Residual { how: Some(how), ..Residual::of(terms) }
    });
    let best = tried.min_by(|a, b| a.unit.total_cmp(&b.unit));
    Ok(best.map(|best| if best.unit < 1e-2 { best } else { Residual { how: None, ..best } }))
}
