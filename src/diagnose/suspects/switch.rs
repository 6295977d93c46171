//! Suspects switched on: a run that makes a known mistake, to be looked at.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::scene::Scene;
use super::search::Accused;
use super::{Suspect, Variant, all, named};
use crate::diagnose::finding::ranges;
use crate::engine::{Activation, Alteration, Edit, Op, Site, Step};
use crate::model::Model;

/// Ops that read what other ops of the same suspect have made wrong: changed as well, they would undo it.
const UNDOING: &[(&str, &[Activation])] = &[("gate_up_swapped", &[Activation::ActFn, Activation::ActMul])];

/// Ids that are offered for one that is mistyped.
const OFFERED: usize = 4;

/// The suspect with this id.
///
/// # Errors
/// One sentence that names the nearest ids.
pub fn find(id: &str) -> Result<&'static Suspect, String> {
    const ALIKE: f64 = 0.8;
    if let Some(suspect) = named(id) {
        return Ok(suspect);
    }
    let alike = |suspect: &Suspect| match suspect.id.find(id) {
        Some(0) => 2.0,
        Some(_) if id.len() > 2 => 1.0,
        _ => strsim::jaro_winkler(id, suspect.id),
    };
    let mut near: Vec<(f64, &str)> = all().map(|suspect| (alike(suspect), suspect.id)).collect();
    near.retain(|(alike, _)| *alike >= ALIKE);
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    let near: Vec<&str> = near.into_iter().take(OFFERED).map(|(_, id)| id).collect();
    let hint = match near[..] {
        [] => "layerstep explain lists them".to_string(),
        [one] => format!("is it {one}?"),
        _ => format!("is it one of {}?", near.join(", ")),
    };
    Err(format!("no suspect is called {id:?}: {hint}"))
}

/// A suspect on every one of its ops in these layers, and what it computes instead of what; ops that no layer owns are
/// among them. Where a mistake can be made in several ways, `which` chooses, from 1.
///
/// # Errors
/// One sentence: nothing in this model can make the mistake, or not in so many ways.
pub fn alterations(
    model: &Arc<Model>,
    suspect: &Suspect,
    layers: &[usize],
    which: Option<usize>,
) -> Result<(String, Vec<Alteration>), String> {
    if suspect.ops.is_empty() {
        return Err(format!("{} cannot be switched on: it is a mistake of a dump, not of an op", suspect.id));
    }
    let ways: Vec<(Site, Vec<Variant>)> = sites(model, suspect, layers)
        .into_iter()
        .map(|site| (site, (suspect.variants)(&Scene::without_dump(model, site))))
        .filter(|(_, variants)| !variants.is_empty())
        .collect();
    let Some((_, most)) = ways.iter().max_by_key(|(_, variants)| variants.len()) else {
        return Err(format!("{} cannot be switched on: {}", suspect.id, why_not(model, suspect)));
    };
    let index = which.map_or(Some(0), |which| which.checked_sub(1));
    let Some(variant) = index.and_then(|index| most.get(index)) else {
        let listed: Vec<String> =
            most.iter().enumerate().map(|(index, variant)| format!("{} {}", index + 1, variant.words)).collect();
        return Err(format!("{} has {} ways here: {}", suspect.id, most.len(), listed.join("; ")));
    };
    let chosen = || ways.iter().filter_map(|(site, variants)| Some((*site, variants.get(index?)?)));
    // Of weights, every layer has its own words.
    let same = chosen().all(|(_, other)| other.words == variant.words);
    let words = if same { variant.words.clone() } else { suspect.summary.to_string() };
    Ok((words, chosen().map(|(site, variant)| on(site, &variant.edit)).collect()))
}

/// The mistake that was found in one place, made in others, too: the same op of other layers, or its twin for the keys.
/// Where an op has weights, those of its own layer are changed.
pub fn spread(model: &Arc<Model>, accused: &Accused, others: &[Site]) -> Vec<Alteration> {
    let Some(edit) = &accused.edit else { return Vec::new() };
    let suspect = named(accused.id);
    // Over a span, the summary says where the mistake is, too.
    let says = |words: &str| {
        let said = format!(": {words}");
        accused.summary.ends_with(&said) || accused.summary.contains(&format!("{said} ("))
    };
    let altered = |site: Site| {
        let scene = Scene::without_dump(model, site);
        let mut same = suspect.map(|suspect| (suspect.variants)(&scene)).unwrap_or_default();
        same.retain(|variant| says(&variant.words));
        match &same[..] {
            [variant] => Some(on(site, &variant.edit)),
            _ => (!has_weights(site)).then(|| on(site, edit)),
        }
    };
    let own = accused.sites.iter().map(|site| on(*site, edit));
    let others = others.iter().filter(|site| !accused.sites.contains(site));
    own.chain(others.filter_map(|site| altered(*site))).collect()
}

/// Where alterations are: `layers 0-3, 7`, `norm`, `layers 0-3 and lm_head`.
pub fn place(alterations: &[Alteration]) -> String {
    let sites: BTreeSet<Site> = alterations.iter().flat_map(|alteration| alteration.sites.iter().copied()).collect();
    let layers: BTreeSet<usize> = sites.iter().filter_map(|site| site.in_layer()).collect();
    let layers: Vec<usize> = layers.into_iter().collect();
    let word = match layers[..] {
        [] => None,
        [one] => Some(format!("layer {one}")),
        _ => Some(format!("layers {}", ranges(&layers))),
    };
    let others = sites.iter().filter(|site| site.in_layer().is_none()).map(|site| site.short());
    word.into_iter().chain(others).collect::<Vec<_>>().join(" and ")
}

fn sites(model: &Model, suspect: &Suspect, layers: &[usize]) -> Vec<Site> {
    let of_op = |op: &Activation| -> Vec<Site> {
        if op.row().per_layer {
            layers.iter().map(|layer| Site::new(*layer, *op)).collect()
        } else {
            vec![Site::whole(*op)]
        }
    };
    suspect.ops.iter().filter(|op| op.exists(&model.config) && !undoes(suspect, **op)).flat_map(of_op).collect()
}

/// Whether a suspect in all of its ops is none.
pub(super) fn undoes(suspect: &Suspect, op: Activation) -> bool {
    UNDOING.iter().any(|(id, ops)| *id == suspect.id && ops.contains(&op))
}

fn why_not(model: &Model, suspect: &Suspect) -> String {
    let lacks: Vec<&str> = suspect.ops.iter().filter(|op| !op.exists(&model.config)).map(|op| op.row().short).collect();
    if lacks.is_empty() {
        "this model has nothing that it changes, or only a dump tells by how much (key d, at the divergence)".into()
    } else {
        format!("this model has no {}", lacks.join(" and "))
    }
}

/// An edit at a site; where it was made for other rows than a forward has, the op stays as it is.
fn on(site: Site, edit: &Edit) -> Alteration {
    let edit = Arc::clone(edit);
    let fitting = move |step: &mut Step| {
        let right = step.clone();
        edit(step);
        let rows = step.span.ids.len();
        let fits = |op: &Op| !matches!(op, Op::Rope(rotation) if rotation.positions.len() != rows);
        if !step.ops.iter().chain(step.prepare.iter().map(|(_, op)| op)).all(fits) {
            *step = right;
        }
    };
    Alteration { sites: [site].into(), edit: Arc::new(fitting) }
}

/// Whether a changed op holds weights, which belong to one layer.
fn has_weights(site: Site) -> bool {
    use Activation as A;
    !matches!(
        site.activation,
        A::QRope | A::KRope | A::Scores | A::Probs | A::Context | A::ResidMid | A::ActFn | A::ActMul | A::Block
    )
}
