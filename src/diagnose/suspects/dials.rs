//! Mistakes that have a size, over a span: the constant that brings the end of the span nearest to the dump is looked for,
//! where none that somebody writes down does.

use std::sync::atomic::{AtomicBool, Ordering};

use super::over_span::{States, Trial, distances, most_ops, try_on};
use super::scene::Scene;
use super::search::{Accused, nearest};
use super::{Variant, fit, named};
use crate::diagnose::gap::Gap;
use crate::engine::{Edit, Field, Op, Role as A, Site};
use crate::metrics;
use crate::model::spec::Rope;

/// A constant of some ops of a layer.
struct Dial {
    /// The suspect that another one is.
    id: &'static str,
    /// The ops that have it.
    ops: &'static [A],
    /// The range in which it is looked for, and on how many steps first.
    range: (f64, f64, u32),
    /// It is looked for by its logarithm.
    by_logarithm: bool,
    /// The change of an op.
    edit: fn(&Op, f64) -> Option<Edit>,
    /// What is said of it.
    words: fn(f64) -> String,
}

/// A factor of one side of an addition.
const FACTOR: Dial = Dial {
    id: "residual_scale",
    ops: &[A::ResidMid],
    range: (-1.0, 3.0, 16),
    by_logarithm: false,
    edit: |_, c| Some(factors(vec![1.0, c])),
    words: |c| format!("what is added times {c:.6}"),
};

/// The constant below the root of a norm.
const EPS: Dial = Dial {
    id: "norm_eps",
    ops: &[A::InputNorm],
    range: (-18.0, 4.0, 22),
    by_logarithm: true,
    edit: |_, eps| Some(Edit::Set(Field::Eps(eps as f32))),
    words: |eps| format!("eps {eps:e}"),
};

const DIALS: &[Dial] = &[
    FACTOR,
    Dial { edit: |_, c| Some(factors(vec![c, c])), words: |c| format!("the sum times {c:.6}"), ..FACTOR },
    Dial { edit: |_, c| Some(factors(vec![c, 1.0])), words: |c| format!("the stream times {c:.6}"), ..FACTOR },
    Dial { ops: &[A::Block], ..FACTOR },
    EPS,
    Dial { ops: &[A::MlpNorm], ..EPS },
    // What config.json says of eps holds for every norm of a layer.
    Dial { ops: &[A::InputNorm, A::QNorm, A::KNorm, A::AttnOutNorm, A::MlpNorm, A::MlpOutNorm], ..EPS },
    Dial { ops: &[A::FinalNorm], ..EPS },
    // Of blocks that end in norms.
    Dial { ops: &[A::ResidMid], ..EPS },
    Dial { ops: &[A::Block], ..EPS },
    Dial { ops: &[A::ResidMid, A::Block], ..EPS },
    Dial {
        id: "rope_theta",
        ops: &[A::QRope, A::KRope],
        range: (2.0, 20.0, 36),
        by_logarithm: true,
        edit: |op, theta| {
            let Op::Rope(rotate) = op else { return None };
            Some(Edit::Set(Field::Rope(Rope { theta, ..rotate.rope.clone() })))
        },
        words: |theta| format!("theta {theta}"),
    },
    Dial {
        id: "attn_softcap",
        ops: &[A::Scores],
        range: (-2.0, 5.0, 14),
        by_logarithm: true,
        edit: |_, cap| Some(Edit::Set(Field::Cap(Some(cap)))),
        words: |cap| format!("capped at {cap}"),
    },
];

fn factors(factors: Vec<f64>) -> Edit {
    Edit::Set(Field::Factors(factors))
}

/// Less than this share of the error explained at the best of the first steps is not worth more of them.
const WORTH_REFINING: f64 = 0.3;

/// The constants that bring the end of a span to what the dump has, best first.
pub(super) fn search(scene: &Scene, gap: &Gap, states: &States, interrupt: &AtomicBool) -> Vec<Accused> {
    let graph = scene.graph();
    let mut layers: Vec<Option<usize>> = states.iter().map(|(site, _)| graph[*site].layer).collect();
    layers.dedup();
    let mut left = most_ops(scene);
    let mut found = Vec::new();
    for (dial, layer) in DIALS.iter().flat_map(|dial| layers.iter().map(move |layer| (dial, *layer))) {
        let is_of =
            |site: &Site| graph[*site].layer == layer && graph[*site].role.is_some_and(|role| dial.ops.contains(&role));
        let open = |site: &Site| gap.dumped(*site).is_none();
        // A sum has no eps, and a norm no factors.
        let turns = |site: &Site| {
            let edit = (dial.edit)(&graph[*site].op, 1.0);
            edit.is_some_and(|edit| edit.check(&scene.model, *site).is_ok())
        };
        let sites: Vec<Site> = states.iter().map(|(site, _)| *site).filter(is_of).filter(open).filter(turns).collect();
        let Some(start) = states.iter().position(|(site, _)| sites.first() == Some(site)) else { continue };
        let cost = (states.len() - start) * dial.range.2 as usize;
        if left < cost || interrupt.load(Ordering::Relaxed) {
            break;
        }
        left -= cost;
        found.extend(turned(scene, gap, states, start, dial, &sites));
    }
    nearest(found, scene.terms.least)
}

/// The best place of a dial, if it reproduces what the dump has.
fn turned(scene: &Scene, gap: &Gap, states: &States, start: usize, dial: &Dial, sites: &[Site]) -> Option<Accused> {
    let graph = scene.graph();
    let value = |at: f64| if dial.by_logarithm { at.exp() } else { at };
    let trial = |value: f64| -> Option<Trial> {
        let of_site =
            |site: &Site| Some((*site, Variant::new((dial.words)(value), (dial.edit)(&graph[*site].op, value)?)));
        sites.iter().map(of_site).collect()
    };
    let left = |at: f64| {
        let apart = trial(value(at)).and_then(|trial| distances(scene, gap, &states[start].1, &trial));
        apart.map_or(f64::INFINITY, |apart| 1.0 - apart.explained())
    };
    let (low, high, steps) = dial.range;
    let step = (high - low) / f64::from(steps);
    let on_grid = (0..=steps).map(|index| low + f64::from(index) * step);
    let (best, rest) = on_grid.map(|at| (at, left(at))).min_by(|a, b| a.1.total_cmp(&b.1))?;
    if rest.is_nan() || rest > 1.0 - WORTH_REFINING {
        return None;
    }
    let told = value(metrics::least(best - step, best + step, 2, left));
    let suspect = named(dial.id)?;
    let tried = [fit::rounded(told, 1), fit::rounded(told, 2), fit::rounded(told, 3), told].into_iter();
    let accused = tried.filter_map(|value| try_on(scene, gap, &states[start].1, suspect, &trial(value)?));
    nearest(accused.collect(), scene.terms.least).into_iter().next()
}
