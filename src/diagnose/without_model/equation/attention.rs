//! Softmax, and, in the first forward, where all keys are those of the same forward, scores and context.

use ndarray::{Array3, Axis, Ix3};

use super::{Own, Residual};
use crate::diagnose::part::Part;
use crate::dump;
use crate::engine::Site;
use crate::metrics;
use crate::model::op::{Rotate, Scoring};
use crate::ops::{self, Join, Mask, Pairs, Rounding, split_heads};

/// Probabilities are the softmax of the scores; none goes to a later token.
pub(super) fn softmax(probs: Option<Part>, scores: Option<Part>, first: usize) -> Option<Residual> {
    let (probs, scores) = (probs?, scores?);
    if probs.values.shape() != scores.values.shape() || probs.first_key != scores.first_key || probs.rows != scores.rows
    {
        return None;
    }
    let scores = scores.values.mapv(f64::from).into_dimensionality::<Ix3>().ok()?;
    let exact = ops::softmax(scores.view(), Rounding::None);
    let mut terms = Vec::with_capacity(probs.values.len());
    let rows = scores.lanes(Axis(2)).into_iter().zip(exact.lanes(Axis(2)));
    for (probs, (scores, exact)) in probs.values.lanes(Axis(2)).into_iter().zip(rows) {
        // A score's rounding moves its own probability, and all others by its share.
        let moved: f64 = scores.iter().zip(exact).filter(|(_, p)| **p > 0.0).map(|(s, p)| s.abs() * p).sum();
        let row = probs.iter().zip(scores.iter().zip(exact)).map(|(p, (score, should))| {
            let p = f64::from(*p);
            let size = if score.is_finite() { p.max(*should) * (2.0 + score.abs() + moved) } else { 0.0 };
            (p, *should, size)
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

/// The key head that a query head reads: `(query head, query heads, key heads)`, and what is unusual about it.
type KeyHead = (fn(usize, usize, usize) -> usize, Option<&'static str>);

/// The ways that are met, the usual one first.
const KEY_HEADS: [KeyHead; 2] =
    [(|h, of, kv| h * kv / of, None), (|h, _, kv| h % kv, Some("query head h reads key head h modulo their number"))];

/// Scores are `q kᵀ` times a number that is found out, capped where the op says so.
pub(super) fn scores(
    own: &Own,
    scoring: &Scoring,
    site: Site,
    q: Site,
    k: Site,
) -> Result<Option<Residual>, dump::Error> {
    let (Some(scores), Some(q), Some(k)) = (own.whole(site)?, own.whole(q)?, own.whole(k)?) else { return Ok(None) };
    let (of, kv) = (q.len_of(Axis(0)), k.len_of(Axis(0)));
    if scores.dim() != (of, q.len_of(Axis(1)), k.len_of(Axis(1))) || kv == 0 || q.len_of(Axis(2)) != k.len_of(Axis(2)) {
        return Ok(None);
    }
    let products = |q: &Array3<f64>, k: &Array3<f64>, groups: &[usize]| {
        let mask = Mask { first: 0, window: None, ahead: None };
        let how = ops::Scoring { scale: 1.0, cap: None, mask, groups: groups.into(), format: Rounding::None };
        ops::scores(q.view(), k.view().permuted_axes([1, 0, 2]), &how, Rounding::None)
    };
    let tried = KEY_HEADS.map(|(map, how)| {
        let groups: Vec<usize> = (0..of).map(|head| map(head, of, kv)).collect();
        let (exact, sizes) = (products(&q, &k, &groups), products(&q.abs(), &k.abs(), &groups));
        let terms = || {
            let all = scores.indexed_iter().zip(exact.iter().zip(&sizes));
            let seen = all.filter(|(((_, query, key), score), _)| key <= query && score.is_finite());
            seen.map(|((_, score), (product, size))| (*score, *product, *size))
        };
        let cap = scoring.cap.map_or(f64::INFINITY, |_| cap_of(&terms().map(|(s, p, _)| (s, p)).collect::<Vec<_>>()));
        let scale = scale_of(terms().map(|(score, product, _)| (score, product)), cap);
        let fit = terms().map(|(score, product, size)| (score, capped(scale * product, cap), 4.0 * scale.abs() * size));
        let said = format!("{scale:.4} times q·k");
        let shows = terms().any(|(score, ..)| score.abs() * 100.0 > cap);
        let said = if shows { format!("{said}, capped at {cap:.0}") } else { said };
        let how = how.map_or(said.clone(), |how| format!("{said}, where {how}"));
        Residual { loose: true, how: Some(how), ..Residual::of(fit) }
    });
    Ok(Some(plain_first(tried)))
}

fn capped(score: f64, cap: f64) -> f64 {
    if cap.is_finite() { cap * (score / cap).tanh() } else { score }
}

/// What products are multiplied by before the cap.
fn scale_of(pairs: impl Iterator<Item = (f64, f64)>, cap: f64) -> f64 {
    let before = |score: f64| if cap.is_finite() { cap * (score / cap).atanh() } else { score };
    let pairs = pairs.map(|(score, product)| (before(score), product)).filter(|(score, _)| score.is_finite());
    let (dot, square) = pairs.fold((0.0, 0.0), |(dot, square), (s, p)| (dot + p * s, square + p * p));
    if square > 0.0 { dot / square } else { 0.0 }
}

/// The cap with which scores come nearest to their products.
fn cap_of(pairs: &[(f64, f64)]) -> f64 {
    const SAMPLE: usize = 4096;
    const HIGHEST: f64 = 1e3;
    let sample: Vec<(f64, f64)> = pairs.iter().copied().step_by(pairs.len().div_ceil(SAMPLE).max(1)).collect();
    let largest = sample.iter().map(|(score, _)| score.abs()).fold(f64::MIN_POSITIVE, f64::max);
    let apart = |logarithm: f64| {
        let cap = logarithm.exp();
        let scale = scale_of(sample.iter().copied(), cap);
        sample.iter().map(|(score, product)| (score - capped(scale * product, cap)).powi(2)).sum::<f64>()
    };
    metrics::least(largest.ln(), (HIGHEST * largest).ln(), 100, apart).exp()
}

/// Context is the values, summed by the probabilities.
pub(super) fn context(own: &Own, site: Site, p: Site, v: Site) -> Result<Option<Residual>, dump::Error> {
    let (Some(out), Some(p), Some(v)) = (own.whole(site)?, own.whole(p)?, own.whole(v)?) else { return Ok(None) };
    let ((of, ..), (kv, tokens, width)) = (p.dim(), v.dim());
    if out.dim() != (of, tokens, width) || p.dim() != (of, tokens, tokens) || kv == 0 {
        return Ok(None);
    }
    let sums = |p: &Array3<f64>, v: &Array3<f64>, groups: &[usize]| {
        let joined = ops::context(p.view(), v.view().permuted_axes([1, 0, 2]), groups, Join::Heads, Rounding::None);
        split_heads(joined.view().into_dyn(), width)
    };
    let tried = KEY_HEADS.map(|(map, how)| {
        let groups: Vec<usize> = (0..of).map(|head| map(head, of, kv)).collect();
        let (exact, sizes) = (sums(&p, &v, &groups)?, sums(&p.abs(), &v.abs(), &groups)?);
        let terms = out.iter().zip(exact.iter().zip(&sizes));
        let terms = terms.map(|(out, (sum, size))| (*out, *sum, 4.0 * size + out.abs()));
        Some(Residual { loose: true, how: how.map(String::from), ..Residual::of(terms) })
    });
    let [usual, other] = tried;
    Ok(usual.zip(other).map(|(usual, other)| plain_first([usual, other])))
}

/// The usual way, unless it is the other that fits: an engine that reads other heads is wrong.
fn plain_first([usual, other]: [Residual; 2]) -> Residual {
    let fits = other.unit < 1e-2 && other.unit * 10.0 < usual.unit;
    if fits { Residual { how: other.how, ..usual } } else { usual }
}

/// RoPE keeps the length of every pair of channels it turns; which pairs those are is found out.
pub(super) fn rotation(own: &Own, rotate: &Rotate, site: Site, x: Site) -> Result<Option<Residual>, dump::Error> {
    let (Some(x), Some(y)) = (own.heads(x)?, own.heads(site)?) else { return Ok(None) };
    let half = rotate.frequencies.speeds().len().min(x.len_of(Axis(2)) / 2);
    // At position 0 nothing is turned, so that every pairing fits.
    if x.dim() != y.dim() || half == 0 || own.first() + x.len_of(Axis(1)) < 2 {
        return Ok(None);
    }
    let tried = [
        (Pairs::Halves, format!("RoPE over pairs (i, i+{half})")),
        (Pairs::Adjacent, "RoPE over pairs (2i, 2i+1)".into()),
    ];
    let tried = tried.into_iter().map(|(pairs, how)| {
        let lanes = x.lanes(Axis(2)).into_iter().zip(y.lanes(Axis(2)));
        let terms = lanes.flat_map(|(x, y)| {
            (0..half).map(move |i| {
                let (a, b) = pairs.channels(i, half);
                let (before, after) = (x[a].hypot(x[b]), y[a].hypot(y[b]));
                (after, before, 4.0 * before.max(after))
            })
        });
        Residual { how: Some(how), ..Residual::of(terms) }
    });
    Ok(super::nearest(tried))
}
