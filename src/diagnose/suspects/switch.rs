//! Suspects switched on: a run that makes a known mistake, to be looked at.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::over_span::undoes;
use super::scene::Scene;
use super::search::Accused;
use super::{Suspect, Variant, all, named};
use crate::diagnose::finding::ranges;
use crate::engine::{Alteration, Edit, Graph, Missed, Role, Site};
use crate::model::Model;

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
    let ways: Vec<(Site, Vec<Variant>)> = sites(&model.graph, suspect, layers)
        .into_iter()
        .map(|site| (site, (suspect.variants)(&Scene::without_dump(model, site))))
        .filter(|(_, variants)| !variants.is_empty())
        .collect();
    let Some((_, most)) = ways.iter().max_by_key(|(_, variants)| variants.len()) else {
        return Err(format!("{} cannot be switched on: {}", suspect.id, why_not(&model.graph, suspect)));
    };
    let index = which.map_or(Some(0), |which| which.checked_sub(1));
    let Some(variant) = index.and_then(|index| most.get(index)) else {
        let listed: Vec<String> =
            most.iter().enumerate().map(|(index, variant)| format!("{} {}", index + 1, variant.words)).collect();
        return Err(format!("{} has {} ways here: {}", suspect.id, most.len(), listed.join("; ")));
    };
    let chosen = || ways.iter().filter_map(|(site, variants)| Some((*site, variants.get(index?)?)));
    let missed = |missed: Missed| format!("{} cannot be switched on: {missed}", suspect.id);
    chosen().try_for_each(|(site, variant)| variant.edit.check(model, site)).map_err(missed)?;
    // Of weights, every layer has its own words.
    let same = chosen().all(|(_, other)| other.words == variant.words);
    let words = if same { variant.words.clone() } else { suspect.summary.to_string() };
    let changed = chosen().filter(|(_, variant)| variant.edit != Edit::Keep);
    Ok((words, changed.map(|(site, variant)| on(site, variant.edit.clone())).collect()))
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
    let graph = &model.graph;
    let layer = |site: Site| graph[site].layer.unwrap_or_default().cast_signed();
    let from = accused.sites.first().map_or(0, |site| layer(*site));
    let altered = |site: Site| {
        let scene = Scene::without_dump(model, site);
        let mut same = suspect.map(|suspect| (suspect.variants)(&scene)).unwrap_or_default();
        same.retain(|variant| says(&variant.words));
        let edit = match &same[..] {
            [variant] => variant.edit.clone(),
            _ if scene.op().has_weights() => return None,
            _ => edit.moved(graph, layer(site) - from)?,
        };
        edit.check(model, site).is_ok().then(|| on(site, edit))
    };
    let own = accused.sites.iter().map(|site| on(*site, edit.clone()));
    let others = others.iter().filter(|site| !accused.sites.contains(site));
    own.chain(others.filter_map(|site| altered(*site))).collect()
}

/// Where alterations are: `layers 0-3, 7`, `norm`, `layers 0-3 and lm_head`.
pub fn place(alterations: &[Alteration], graph: &Graph) -> String {
    let sites: BTreeSet<Site> = alterations.iter().flat_map(|alteration| alteration.sites.iter().copied()).collect();
    let layers: BTreeSet<usize> = sites.iter().filter_map(|site| graph[*site].layer).collect();
    let layers: Vec<usize> = layers.into_iter().collect();
    let word = match layers[..] {
        [] => None,
        [one] => Some(format!("layer {one}")),
        _ => Some(format!("layers {}", ranges(&layers))),
    };
    let others = sites.iter().filter(|site| graph[**site].layer.is_none()).map(|site| graph.short(*site).to_string());
    word.into_iter().chain(others).collect::<Vec<_>>().join(" and ")
}

fn sites(graph: &Graph, suspect: &Suspect, layers: &[usize]) -> Vec<Site> {
    let of_op = |op: &Role| -> Vec<Site> {
        if op.row().per_layer {
            layers.iter().filter_map(|layer| graph.in_layer(*layer, *op)).collect()
        } else {
            graph.whole(*op).into_iter().collect()
        }
    };
    suspect.ops.iter().filter(|op| !undoes(suspect, Some(**op))).flat_map(of_op).collect()
}

/// The ops of which a suspect comes first, where a model has none of them, say why it cannot be made.
fn why_not(graph: &Graph, suspect: &Suspect) -> String {
    let lacks: Vec<&str> = suspect.ops.iter().take_while(|op| !graph.has(**op)).map(|op| op.short()).collect();
    if lacks.is_empty() {
        "this model has nothing that it changes, or only a dump tells by how much (key d, at the divergence)".into()
    } else {
        format!("this model has no {}", lacks.join(" and "))
    }
}

fn on(site: Site, edit: Edit) -> Alteration {
    Alteration { sites: [site].into(), edit }
}
