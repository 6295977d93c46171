//! Ops without weights can be done again on a dump's own tensors: a dump that does not follow from itself is wrong there.
//!
//! Where a number is free (the scale of the scores, the weight of a norm, the function of the MLP, the pairs of RoPE), what
//! fits is found out, and said.

use ndarray::{Array3, ArrayD, ArrayViewD};

use super::survey::{Survey, read};
use crate::diagnose::part::Part;
use crate::diagnose::precision::Precision;
use crate::dump::{self, Pair, Subject};
use crate::engine::{Op, Site};
use crate::ops::{self, Rounding, split_heads};

mod attention;
mod elementwise;

pub(super) use elementwise::fitted_norm;

/// Whether a dump's tensor follows from its other tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closure {
    /// It cannot be told.
    Unknown,
    /// It does, as far as this precision allows.
    Holds(Precision),
    /// It does not.
    Fails,
}

/// One op of one dump, done again.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Check {
    pub(super) closure: Closure,
    /// What was found out: "silu of gate_proj".
    pub(super) how: Option<String>,
}

/// How far a tensor is from what it should be, in units of the last place of what went into it.
struct Residual {
    /// Relative precision that would explain the difference.
    unit: f64,
    /// Whether engines do this op in a lower precision than they keep its result.
    loose: bool,
    how: Option<String>,
}

impl Residual {
    /// `pairs` are (what is there, what should be, the sum of the sizes of what went in).
    fn of(pairs: impl Iterator<Item = (f64, f64, f64)>) -> Self {
        let (mut difference, mut sizes) = (0.0, 0.0);
        for (is, should, size) in pairs.filter(|(is, should, _)| is.is_finite() && should.is_finite()) {
            difference += (is - should) * (is - should);
            sizes += size * size;
        }
        let unit = if difference == 0.0 { 0.0 } else { (difference / sizes).sqrt() };
        Self { unit, loose: false, how: None }
    }
}

/// Up to so many units of the last place, an equation holds.
const HOLDS: f64 = 2.0;

/// From so many on, it fails.
const FAILS: f64 = 32.0;

/// The same of bf16, for an op that may be done in it.
const FAILS_LOOSELY: f64 = 4.0;

/// The tensors of one side of one forward.
struct Own<'a> {
    pair: &'a Pair,
    side: usize,
    forward: usize,
}

impl Own<'_> {
    fn part(&self, site: Site) -> Result<Option<Part>, dump::Error> {
        let [reference, candidate] = read(self.pair, self.forward, &Subject::Site(site))?.parts;
        Ok(if self.side == 0 { reference } else { candidate })
    }

    fn values(&self, site: Site) -> Result<Option<ArrayD<f64>>, dump::Error> {
        Ok(self.part(site)?.map(|part| part.values.mapv(f64::from)))
    }

    /// `[head, token, channel]`
    fn heads(&self, site: Site) -> Result<Option<Array3<f64>>, dump::Error> {
        Ok(self.part(site)?.and_then(|part| self.split(site, &part)))
    }

    /// The same, if it has all rows and keys.
    fn whole(&self, site: Site) -> Result<Option<Array3<f64>>, dump::Error> {
        let is_whole = |part: &Part| part.rows.len() == self.pair.tokens(self.forward) && part.first_key == 0;
        Ok(self.part(site)?.filter(is_whole).and_then(|part| self.split(site, &part)))
    }

    fn split(&self, site: Site, part: &Part) -> Option<Array3<f64>> {
        let width = self.pair.graph()[site].heads().map_or(0, |(_, width)| width);
        split_heads(part.values.mapv(f64::from).view(), width)
    }

    /// Position of the forward's first token.
    fn first(&self) -> usize {
        self.pair.steps().iter().take(self.forward).sum()
    }
}

/// Does the op at `site` again on the tensors of a dump: side 0 is the reference.
pub(super) fn check(
    pair: &Pair,
    survey: &Survey,
    side: usize,
    forward: usize,
    site: Site,
) -> Result<Check, dump::Error> {
    let own = Own { pair, side, forward };
    let graph = pair.graph();
    let (op, reads) = (&graph[site].op, graph[site].reads.iter().map(|read| read.site()).collect::<Vec<Site>>());
    let residual = match (op, reads.as_slice()) {
        (Op::Sum { .. }, _) => sum(&own, site)?,
        (Op::Activate(_), [x]) => {
            let of = format!("of {}", graph[*x].label);
            elementwise::function(own.values(site)?, own.values(*x)?, None, &of)
        }
        (Op::Multiply, [a, b]) => product(&own, site, *a, *b)?,
        (Op::Norm { head_dim: None, .. }, [x]) => elementwise::norm(op, own.values(site)?, own.values(*x)?),
        (Op::Cap(_), [x]) => elementwise::cap(own.values(site)?, own.values(*x)?),
        (Op::Columns(columns), [x]) => elementwise::columns(own.values(site)?, own.values(*x)?, columns),
        (Op::Combine, [x, routing]) => combined(own.values(site)?, own.values(*x)?, own.values(*routing)?),
        (Op::Softmax, [scores]) => attention::softmax(own.part(site)?, own.part(*scores)?, own.first()),
        _ if !pair.heads_known() => None,
        (Op::Rope(rotate), [x]) => attention::rotation(&own, rotate, site, *x)?,
        (Op::Scores(scoring), [q, k]) if forward == 0 => attention::scores(&own, scoring, site, *q, *k)?,
        (Op::Context { .. }, [p, v]) if forward == 0 => attention::context(&own, site, *p, *v)?,
        _ => None,
    };
    Ok(residual
        .map_or(Check { closure: Closure::Unknown, how: None }, |residual| judged(residual, survey.coarsest[side])))
}

/// `own` is the coarsest precision of the dump.
fn judged(residual: Residual, own: Precision) -> Check {
    let Residual { unit, loose, how } = residual;
    let coarser = [Precision::F32, Precision::F16, Precision::Bf16];
    let mut allowed = coarser.into_iter().filter(|precision| *precision == own || (loose && *precision > own));
    let holds = allowed.find(|precision| unit <= HOLDS * precision.unit());
    let most = if loose { FAILS_LOOSELY * Precision::Bf16.unit() } else { FAILS * own.unit() };
    let fails = unit > most || unit.is_nan();
    let closure = match holds {
        Some(precision) => Closure::Holds(precision),
        None if fails => Closure::Fails,
        None => Closure::Unknown,
    };
    Check { closure, how }
}

/// What is nearest of several things that an engine may do, its name kept if it is near at all.
fn nearest(tried: impl Iterator<Item = Residual>) -> Option<Residual> {
    let best = tried.min_by(|a, b| a.unit.total_cmp(&b.unit))?;
    Some(if best.unit < 1e-2 { best } else { Residual { how: None, ..best } })
}

/// The sum of what is added up.
fn sum(own: &Own, site: Site) -> Result<Option<Residual>, dump::Error> {
    let (Some(out), Some(parts)) = (own.values(site)?, parts(own, site)?) else { return Ok(None) };
    if parts.iter().any(|(part, _)| part.shape() != out.shape()) {
        return Ok(None);
    }
    let factors: Vec<f64> = parts.iter().map(|(_, factor)| *factor).collect();
    let views: Vec<ArrayViewD<f64>> = parts.iter().map(|(part, _)| part.view()).collect();
    let should = ops::weighted_sum(&views, &factors, Rounding::None);
    let sizes =
        parts.iter().fold(out.mapv(f64::abs), |sizes, (part, factor)| sizes + part.mapv(|v| (v * factor).abs()));
    Ok(Some(Residual::of(out.iter().zip(&should).zip(&sizes).map(|((out, should), size)| (*out, *should, *size)))))
}

/// A part of a sum, and its factor.
type Summand = (ArrayD<f64>, f64);

/// What a sum adds up: in the place of a sum that was not dumped, what that adds up. The stream has to be there.
fn parts(own: &Own, site: Site) -> Result<Option<Vec<Summand>>, dump::Error> {
    let graph = own.pair.graph();
    let Op::Sum { factors } = &graph[site].op else { return Ok(None) };
    let mut found = Vec::new();
    for (read, factor) in graph[site].reads.iter().map(|read| read.site()).zip(factors) {
        let inner = match own.values(read)? {
            Some(values) => vec![(values, 1.0)],
            None if graph.is_stream(read) => return Ok(None),
            None => match parts(own, read)? {
                Some(inner) => inner,
                None => return Ok(None),
            },
        };
        found.extend(inner.into_iter().map(|(values, own)| (values, own * factor)));
    }
    Ok(Some(found))
}

/// The experts' outputs, weighted and added up.
fn combined(out: Option<ArrayD<f64>>, x: Option<ArrayD<f64>>, routing: Option<ArrayD<f64>>) -> Option<Residual> {
    let (out, x, routing) = (out?, x?, routing?);
    let ([tokens, _, width], [rows, _]) = (x.shape(), routing.shape()) else { return None };
    if out.shape() != [*tokens, *width] || tokens != rows {
        return None;
    }
    let combine = |x: &ArrayD<f64>, routing: &ArrayD<f64>| ops::combine(x.view(), routing.view(), Rounding::None);
    let (exact, sizes) = (combine(&x, &routing), combine(&x.abs(), &routing.abs()));
    let terms = out.iter().zip(exact.iter().zip(&sizes));
    let terms = terms.map(|(out, (sum, size))| (*out, *sum, 4.0 * size + out.abs()));
    Some(Residual { loose: true, ..Residual::of(terms) })
}

/// The product of two; where the first is an activation function that was not dumped, of what that reads.
fn product(own: &Own, site: Site, a: Site, b: Site) -> Result<Option<Residual>, dump::Error> {
    let graph = own.pair.graph();
    let (out, first, second) = (own.values(site)?, own.values(a)?, own.values(b)?);
    let inner = graph[a].reads.first().filter(|_| matches!(graph[a].op, Op::Activate(_)));
    Ok(match (first, second, inner) {
        (Some(first), Some(second), _) => elementwise::product(out, first, second),
        (None, Some(second), Some(x)) => {
            let of = format!("of {}, times {}", graph[x.site()].label, graph[b].label);
            elementwise::function(out, own.values(x.site())?, Some(second), &of)
        }
        _ => None,
    })
}
