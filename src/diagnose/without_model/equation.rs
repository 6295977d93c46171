//! Ops without weights can be done again on a dump's own tensors: a dump that does not follow from itself is wrong there.
//!
//! Where a number is free (the scale of the scores, the weight of a norm, the function of the MLP, the pairs of RoPE), what
//! fits is found out, and said.

use ndarray::ArrayD;

use super::survey::{Survey, read};
use crate::diagnose::part::Part;
use crate::diagnose::precision::Precision;
use crate::dump::{self, Pair, Subject};
use crate::engine::{Activation as A, Site};

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
pub(super) struct Residual {
    /// Relative precision that would explain the difference.
    pub(super) unit: f64,
    /// Whether engines do this op in a lower precision than they keep its result.
    pub(super) loose: bool,
    pub(super) how: Option<String>,
}

impl Residual {
    /// `pairs` are (what is there, what should be, the sum of the sizes of what went in).
    pub(super) fn of(pairs: impl Iterator<Item = (f64, f64, f64)>) -> Self {
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
pub(super) struct Own<'a> {
    pair: &'a Pair,
    side: usize,
    pub(super) forward: usize,
}

impl Own<'_> {
    pub(super) fn part(&self, layer: usize, activation: A) -> Result<Option<Part>, dump::Error> {
        let subject = Subject::Site(Site::new(layer, activation));
        let [reference, candidate] = read(self.pair, self.forward, &subject)?.parts;
        Ok(if self.side == 0 { reference } else { candidate })
    }

    fn values(&self, layer: usize, activation: A) -> Result<Option<ArrayD<f32>>, dump::Error> {
        Ok(self.part(layer, activation)?.map(|part| part.values.into_owned()))
    }

    /// The residual stream as it enters a layer.
    fn entering(&self, layer: usize) -> Result<Option<ArrayD<f32>>, dump::Error> {
        match layer.checked_sub(1) {
            Some(before) => self.values(before, A::Block),
            None => self.values(0, A::EmbedTokens),
        }
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
    let layer = site.layer;
    let residual = match site.activation {
        A::ResidMid | A::Block => sum(&own, site)?,
        A::ActFn => elementwise::function(own.values(layer, A::ActFn)?, own.values(layer, A::GateProj)?),
        A::ActMul => match (own.values(layer, A::ActFn)?, own.values(layer, A::UpProj)?) {
            (Some(act), Some(up)) => elementwise::product(own.values(layer, A::ActMul)?, &act, &up),
            (None, Some(up)) => elementwise::gated(own.values(layer, A::ActMul)?, own.values(layer, A::GateProj)?, &up),
            _ => None,
        },
        A::InputNorm => elementwise::norm(own.values(layer, A::InputNorm)?, own.entering(layer)?),
        A::PostAttentionNorm => {
            elementwise::norm(own.values(layer, A::PostAttentionNorm)?, own.values(layer, A::ResidMid)?)
        }
        A::FinalNorm => {
            let last = pair.config().num_hidden_layers - 1;
            elementwise::norm(own.values(0, A::FinalNorm)?, own.values(last, A::Block)?)
        }
        A::Probs => attention::softmax(own.part(layer, A::Probs)?, own.part(layer, A::Scores)?, own.first()),
        _ if !pair.heads_known() => None,
        A::QRope | A::KRope => attention::rotation(&own, pair.config(), site)?,
        A::Scores => attention::scores(&own, pair.config(), layer)?,
        A::Context => attention::context(&own, pair.config(), layer)?,
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

/// `resid_mid` is what enters plus `o_proj`; the block's output is that plus `down_proj`.
fn sum(own: &Own, site: Site) -> Result<Option<Residual>, dump::Error> {
    let Some(out) = own.values(site.layer, site.activation)? else { return Ok(None) };
    let middle = if site.activation == A::Block { own.values(site.layer, A::ResidMid)? } else { None };
    let mut terms = match middle {
        Some(middle) => vec![Some(middle)],
        None => vec![own.entering(site.layer)?, own.values(site.layer, A::OProj)?],
    };
    if site.activation == A::Block {
        terms.push(own.values(site.layer, A::DownProj)?);
    }
    let Some(terms) = terms.into_iter().collect::<Option<Vec<_>>>() else { return Ok(None) };
    if terms.iter().any(|term| term.shape() != out.shape()) {
        return Ok(None);
    }
    let mut terms: Vec<_> = terms.iter().map(|term| term.iter()).collect();
    Ok(Some(Residual::of(out.iter().map(|out| {
        let parts: Vec<f64> = terms.iter_mut().filter_map(Iterator::next).map(|term| f64::from(*term)).collect();
        let size: f64 = parts.iter().map(|part| part.abs()).sum();
        (f64::from(*out), parts.iter().sum(), size + f64::from(*out).abs())
    }))))
}
