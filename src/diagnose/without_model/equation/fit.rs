//! The constants that are free, and what fits: which function, which heads, which scale and cap, which pairs of RoPE.

use std::sync::Arc;

use ndarray::{ArrayD, Axis};

use super::{Own, Residual, Way};
use crate::diagnose::suspects::fit::{cap, factor};
use crate::engine::{Field, Op, Site};
use crate::metrics;
use crate::model::op::Rotate;
use crate::ops::{Activation, Pairs};

/// The functions that models apply. Of the gelu the form with a hyperbolic tangent, which differs from the exact one by
/// less than a thousandth.
const FUNCTIONS: [(&str, Activation); 3] =
    [("silu", Activation::Silu), ("gelu", Activation::GeluTanh), ("relu", Activation::Relu)];

/// A relative precision that is near enough to say what was found out.
const NEAR: f64 = 1e-2;

/// A cap that leaves what models compute as it is.
const UNCAPPED: f64 = 1e12;

/// What engines may compute at `site`, where `out` came out: the usual way first.
pub(super) fn ways(own: &Own, site: Site, out: &ArrayD<f64>) -> Option<Vec<Way>> {
    let (graph, node) = (own.survey.graph(), &own.survey.graph()[site]);
    let (x, y) = (node.reads.first()?.site(), node.reads.last()?.site());
    let way = |constants| Way { site, constants, how: None };
    let functions = |site: Site, of: String| {
        let way = |(name, f)| Way { site, constants: vec![Field::Function(f)], how: Some(format!("{name} of {of}")) };
        FUNCTIONS.map(way).into()
    };
    Some(match &node.op {
        Op::Activate(_) => functions(site, graph[x].label.clone()),
        Op::Multiply if matches!(graph[x].op, Op::Activate(_)) && own.part(x).is_none() => {
            let of = graph[x].reads.first()?.site();
            functions(x, format!("{}, times {}", graph[of].label, graph[y].label))
        }
        Op::Cap(_) => {
            let cap = cap(out.view(), own.values(x)?.view());
            let how = Some(cap.map_or("no cap".into(), |cap| format!("a cap of {cap:.0}")));
            vec![Way { how, ..way(vec![Field::Cap(Some(cap.unwrap_or(UNCAPPED)))]) }]
        }
        Op::Scores(how) => {
            let ways = key_heads(&how.groups).into_iter();
            let fitted = ways.map(|(groups, how)| scores(own, way(vec![Field::Groups(groups)]), out, how));
            fitted.collect::<Option<_>>()?
        }
        Op::Context { groups, .. } => {
            let ways = key_heads(groups).into_iter();
            ways.map(|(groups, how)| Way { how: how.map(String::from), ..way(vec![Field::Groups(groups)]) }).collect()
        }
        _ => vec![way(Vec::new())],
    })
}

/// What was computed, of all that was tried.
pub(super) fn chosen(op: &Op, tried: Vec<Residual>) -> Option<Residual> {
    let mut tried = tried.into_iter();
    if matches!(op, Op::Activate(_) | Op::Multiply) {
        return nearest(tried);
    }
    // The usual way, unless it is the other that fits: an engine that reads other heads is wrong.
    let usual = tried.next()?;
    let other = tried.next().filter(|other| other.unit < NEAR && other.unit * 10.0 < usual.unit);
    Some(if let Some(other) = other { Residual { how: other.how, ..usual } } else { usual })
}

/// What is nearest of several things that an engine may do, its name kept if it is near at all.
fn nearest(tried: impl Iterator<Item = Residual>) -> Option<Residual> {
    let best = tried.min_by(|a, b| a.unit.total_cmp(&b.unit))?;
    Some(if best.unit < NEAR { best } else { Residual { how: None, ..best } })
}

/// The key heads that query heads may read, the model's first, and what is unusual about them.
fn key_heads(usual: &Arc<[usize]>) -> Vec<(Arc<[usize]>, Option<&'static str>)> {
    let count = usual.iter().max().map_or(1, |last| last + 1);
    let other = (0..usual.len()).map(|head| head % count).collect::<Arc<[usize]>>();
    let mut ways = vec![(Arc::clone(usual), None)];
    if other != *usual {
        ways.push((other, Some("query head h reads key head h modulo their number")));
    }
    ways
}

/// Scores are `q kᵀ` times a number that is found out, capped where the op says so.
fn scores(own: &Own, mut way: Way, out: &ArrayD<f64>, unusual: Option<&str>) -> Option<Way> {
    let is_capped = matches!(&own.survey.graph()[way.site].op, Op::Scores(how) if how.cap.is_some());
    way.constants.extend([Field::Scale(1.0), Field::Cap(None)]);
    let products = own.redo(way.site, &way, out.shape())?.values;
    let pairs: Vec<(f64, f64)> = out.iter().copied().zip(products).filter(|(s, p)| (s + p).is_finite()).collect();
    let cap = if is_capped { cap_of(&pairs) } else { f64::INFINITY };
    let scale = scale_of(pairs.iter().copied(), cap);
    way.constants.extend([Field::Scale(scale), Field::Cap(Some(cap).filter(|cap| cap.is_finite()))]);
    let shows = pairs.iter().any(|(score, _)| score.abs() * 100.0 > cap);
    let capped = if shows { format!(", capped at {cap:.0}") } else { String::new() };
    let unusual = unusual.map_or_else(String::new, |how| format!(", where {how}"));
    Some(Way { how: Some(format!("{scale:.4} times q·k{capped}{unusual}")), ..way })
}

fn capped(score: f64, cap: f64) -> f64 {
    if cap.is_finite() { cap * (score / cap).tanh() } else { score }
}

/// What products are multiplied by before the cap.
fn scale_of(pairs: impl Iterator<Item = (f64, f64)>, cap: f64) -> f64 {
    let before = |score: f64| if cap.is_finite() { cap * (score / cap).atanh() } else { score };
    factor(pairs.map(|(score, product)| (before(score), product))).unwrap_or(0.0)
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

/// Probabilities are the softmax of the scores; none goes to a later token.
pub(super) fn softmax(own: &Own, site: Site) -> Option<Residual> {
    let (probs, scores) = (own.part(site)?, own.part(own.survey.graph()[site].reads.first()?.site())?);
    if probs.values.ndim() != 3 || probs.first_key != scores.first_key || probs.rows != scores.rows {
        return None;
    }
    let exact = own.redo(site, &Way { site, constants: Vec::new(), how: None }, probs.values.shape())?.values;
    let mut terms = Vec::with_capacity(probs.values.len());
    let rows = scores.values.lanes(Axis(2)).into_iter().zip(exact.lanes(Axis(2)));
    for (probs, (scores, exact)) in probs.values.lanes(Axis(2)).into_iter().zip(rows) {
        let sizes = || scores.iter().map(|score| f64::from(score.abs()));
        // A score's rounding moves its own probability, and all others by its share.
        let moved: f64 = sizes().zip(exact).filter(|(_, p)| **p > 0.0).map(|(size, p)| size * p).sum();
        terms.extend(probs.iter().zip(sizes().zip(exact)).map(|(p, (size, should))| {
            let p = f64::from(*p);
            (p, *should, if size.is_finite() { p.max(*should) * (2.0 + size + moved) } else { 0.0 })
        }));
    }
    let residual = Residual { loose: true, ..Residual::of(terms.into_iter()) };
    let later = probs.values.indexed_iter().any(|(at, p)| {
        let row = probs.rows.get(at[1]).copied().unwrap_or(usize::MAX);
        row < usize::MAX && probs.first_key + at[2] > own.first() + row && *p > 1e-3
    });
    let how = Some("attention to later tokens".into());
    Some(if later { Residual { unit: f64::INFINITY, how, ..residual } } else { residual })
}

/// RoPE keeps the length of every pair of channels it turns; which pairs those are is found out.
pub(super) fn rotation(own: &Own, site: Site, rotate: &Rotate) -> Option<Residual> {
    let (x, y) = (own.heads(own.survey.graph()[site].reads.first()?.site())?, own.heads(site)?);
    let half = rotate.frequencies(0).speeds().len().min(x.len_of(Axis(2)) / 2);
    // At position 0 nothing is turned, so that every pairing fits.
    if x.dim() != y.dim() || half == 0 || own.first() + x.len_of(Axis(1)) < 2 {
        return None;
    }
    let tried = [
        (Pairs::Halves, format!("RoPE over pairs (i, i+{half})")),
        (Pairs::Adjacent, "RoPE over pairs (2i, 2i+1)".into()),
    ];
    nearest(tried.into_iter().map(|(pairs, how)| {
        let lanes = x.lanes(Axis(2)).into_iter().zip(y.lanes(Axis(2)));
        let terms = lanes.flat_map(|(x, y)| {
            (0..half).map(move |i| {
                let (a, b) = pairs.channels(i, half);
                let (before, after) = (x[a].hypot(x[b]), y[a].hypot(y[b]));
                (after, before, 4.0 * before.max(after))
            })
        });
        Residual { how: Some(how), ..Residual::of(terms) }
    }))
}
