//! Names that have two uses in the field: the one whose shape and values fit is taken, and that is said.

use std::collections::HashMap;
use std::sync::Arc;

use ndarray::{ArrayD, ArrayViewD, Axis};

use super::align::{choose_rows, error, lay_out, row_axis};
use super::bind::frame;
use super::error::{Error, shown};
use super::name::normal;
use super::plan::Planned;
use super::shape::{Frame, Rows, Wanted};
use super::{Dump, name};
use crate::engine::{Graph, LogitRows, Role, Run, Site, Value};
use crate::model::Model;

/// Names, and what they are: first what we take them for, then what others write under them. SGLang and vLLM call
/// `act_fn` what also multiplies, and `attn` what attention gives before its last projection; `q` may be anything between
/// the product and the scores; attention weights may be those before and after the softmax.
#[rustfmt::skip]
const USES: &[(&[&str], &[Role])] = &[
    (&["act_fn", "act"], &[Role::ActFn, Role::ActMul]),
    (&["attn", "attention"], &[Role::OProj, Role::Context]),
    (&["q", "query"], &[Role::QProj, Role::QNorm, Role::QRope]),
    (&["k", "key"], &[Role::KProj, Role::KNorm, Role::KRope]),
    (&["k_cache", "key_cache", "cache_k"], &[Role::KRope, Role::KNorm, Role::KProj]),
    (&["scores", "attn_scores", "attention_scores", "attn_logits"], &[Role::Scores, Role::Probs]),
    (&["attn_weights", "attention_weights", "attn_pattern", "pattern"], &[Role::Probs, Role::Scores]),
];

/// Another use has to be this many times nearer than the first.
const CLEARLY: f64 = 2.0;

/// Values that are farther away than this are not those of a use.
const RELATED: f64 = 0.5;

/// The uses of a name that is taken for a site.
fn uses(planned: &Planned, graph: &Graph) -> Option<&'static [Role]> {
    let name = normal(&name::Name::split(&planned.name).base);
    let is = |word: &&str| {
        let rest = name.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('_');
        rest.strip_suffix(*word).is_some_and(|before| before.is_empty() || before.ends_with('_'))
    };
    let fits = |(words, roles): &&(&'static [&'static str], &'static [Role])| {
        roles.first().is_some_and(|role| graph.is(planned.site, *role)) && words.iter().any(is)
    };
    USES.iter().find(fits).filter(|_| planned.expression.is_none() && planned.part.is_none()).map(|(_, roles)| *roles)
}

/// Lets shapes and values decide which use of a name is meant, in the first layer that has it; the others follow.
pub fn settle_uses(dump: &mut Dump, model: &Arc<Model>, ids: &[u32], steps: &[usize]) -> Result<(), Error> {
    let graph = Arc::clone(&dump.graph);
    let mut open: Vec<(Planned, &'static [Role])> = Vec::new();
    for planned in dump.named.iter().chain(&dump.doubles).filter(|planned| planned.forward == 0) {
        let Some(roles) = uses(planned, &graph) else { continue };
        let free = roles.iter().skip(1).filter_map(|role| graph.find(graph[planned.site].layer, *role));
        let free = free.filter(|site| !dump.named.iter().any(|other| (other.forward, other.site) == (0, *site)));
        if free.count() > 0 && !open.iter().any(|(_, known)| known == &roles) {
            open.push((planned.clone(), roles));
        }
    }
    let Some(prompt) = steps.first().and_then(|tokens| ids.get(..*tokens)).filter(|_| !open.is_empty()) else {
        return Ok(());
    };
    let last = open.iter().filter_map(|(planned, _)| graph[planned.site].layer).max();
    let mut run = Run::new(Arc::clone(model), prompt, LogitRows::All);
    let mut values: HashMap<Site, Value> = HashMap::new();
    let wanted = |site: Site| {
        let in_layer = |(planned, _): &(Planned, _)| graph[planned.site].layer == graph[site].layer;
        open.iter().any(in_layer)
    };
    while let Some(site) = run.step() {
        if wanted(site)
            && let Some(value) = run.get(site)
        {
            values.insert(site, value.clone());
        }
        if graph[site].layer > last {
            break;
        }
    }
    for (planned, roles) in open {
        if let Some(role) = meant(dump, &planned, roles, &values, steps)? {
            mean(dump, roles, role, &planned);
        }
    }
    Ok(())
}

/// The use of a name that fits, where it is not the first.
fn meant(
    dump: &Dump,
    planned: &Planned,
    roles: &[Role],
    values: &HashMap<Site, Value>,
    steps: &[usize],
) -> Result<Option<Role>, Error> {
    let graph = &dump.graph;
    let Some(frame) = stored_frame(dump, steps) else { return Ok(None) };
    let stored = dump.values(planned)?;
    let mut apart = Vec::with_capacity(roles.len());
    for role in roles {
        let site = graph.find(graph[planned.site].layer, *role);
        let ours = site.and_then(|site| Some((site, values.get(&site)?)));
        let distance = ours.map(|(site, ours)| nearest(dump, (planned, &stored), site, ours, frame, but_for_scale));
        apart.push(distance.unwrap_or(f64::INFINITY));
    }
    let Some((first, others)) = apart.split_first() else { return Ok(None) };
    let best = others.iter().zip(roles.iter().skip(1)).min_by(|(a, _), (b, _)| a.total_cmp(b));
    Ok(best.filter(|(other, _)| **other < RELATED && **other * CLEARLY < *first).map(|(_, role)| *role))
}

/// The first of the forwards of `steps` tokens, as it is stored.
pub(super) fn stored_frame(dump: &Dump, steps: &[usize]) -> Option<Frame> {
    let mut steps = steps.to_vec();
    if let (Some(pads), Some(first)) = (dump.pads, steps.first_mut()) {
        *first += pads.count();
    }
    frame(0, &steps, false)
}

/// How far a tensor of these values is from an activation, in the reading that is nearest; infinite where its shape fits
/// none.
pub(super) fn distance(dump: &Dump, tensor: (&Planned, &ArrayD<f32>), site: Site, ours: &Value, frame: Frame) -> f64 {
    nearest(dump, tensor, site, ours, frame, error)
}

/// The distance of values that may be multiplied by one number: queries often carry the scale of the scores.
fn but_for_scale(values: &ArrayViewD<f32>, ours: &ArrayViewD<f32>) -> f64 {
    if values.shape() != ours.shape() {
        return f64::INFINITY;
    }
    let wide = |value: &f32| f64::from(*value);
    let finite = || values.iter().map(wide).zip(ours.iter().map(wide)).filter(|(a, b)| a.is_finite() && b.is_finite());
    let (dot, a, b) = finite().fold((0.0, 0.0, 0.0), |(dot, a, b), (x, y)| (dot + x * y, a + x * x, b + y * y));
    let alike = if dot > 0.0 { dot * dot / (a * b) } else { 0.0 };
    (1.0 - alike).max(0.0).sqrt()
}

/// How far a tensor is from an activation by some measure, in the reading that is nearest.
fn nearest(
    dump: &Dump,
    (planned, values): (&Planned, &ArrayD<f32>),
    site: Site,
    ours: &Value,
    frame: Frame,
    apart: fn(&ArrayViewD<f32>, &ArrayViewD<f32>) -> f64,
) -> f64 {
    let as_site = Planned { site, wanted: Wanted::new(site, &dump.graph), ..planned.clone() };
    let Ok(as_site) = dump.fitted(&as_site, frame) else { return f64::INFINITY };
    let mut nearest = f64::INFINITY;
    for reading in &as_site.readings {
        let Some(mut laid) = lay_out(&values.view(), reading, &as_site.wanted, frame) else { continue };
        if let Some(pads) = dump.pads {
            laid = pads.cut(laid, &as_site.wanted, reading.holds, frame).0;
        }
        let axis: Axis = row_axis(&as_site.wanted);
        let found = if reading.holds == Rows::Some && laid.values.ndim() == ours.ndim() {
            choose_rows(&laid.values.view(), &ours.view(), axis).error
        } else {
            apart(&laid.values.view(), &ours.view())
        };
        nearest = nearest.min(found);
    }
    nearest
}

/// Takes all tensors of such names for another use, where nothing else is taken for that.
fn mean(dump: &mut Dump, roles: &[Role], role: Role, like: &Planned) {
    let graph = Arc::clone(&dump.graph);
    let taken: Vec<(usize, Site)> = dump.named.iter().map(|planned| (planned.forward, planned.site)).collect();
    let other = |planned: &Planned| {
        let same = uses(planned, &graph).is_some_and(|found| found == roles);
        let site = graph.find(graph[planned.site].layer, role).filter(|_| same)?;
        (!taken.contains(&(planned.forward, site))).then_some(site)
    };
    let take = |planned: &mut Planned, site: Site| {
        (planned.site, planned.wanted) = (site, Wanted::new(site, &graph));
        (planned.activation, planned.flavour) = (graph.name(site).to_string(), name::Flavour::Alias);
    };
    let is_double = dump.doubles.iter().any(|double| double.name == like.name);
    if is_double {
        let (found, rest): (Vec<Planned>, Vec<Planned>) =
            std::mem::take(&mut dump.doubles).into_iter().partition(|planned| other(planned).is_some());
        dump.doubles = rest;
        for mut planned in found {
            if let Some(site) = other(&planned) {
                dump.spare.retain(|spare| spare.name != planned.name);
                take(&mut planned, site);
                dump.named.push(planned);
            }
        }
    } else {
        for planned in &mut dump.named {
            if let Some(site) = other(planned) {
                take(planned, site);
            }
        }
    }
    let first = roles.first().map_or("", |role| role.short());
    dump.notes.push(format!(
        "{} and its like are {}, as shape and values say, not {first}: the name has both uses",
        shown(&like.name),
        role.short()
    ));
}
