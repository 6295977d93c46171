//! Suspects over a span: where inputs of a wrong tensor were not dumped, each mistake is tried in the ops since the last
//! tensors that were, and the span is run with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::scene::Scene;
use super::search::{Accused, Apart, EXPLAINED, nearest, prefer_in_time, shown};
use super::switch::undoes;
use super::{Suspect, Variant, all, shape};
use crate::diagnose::gap::Gap;
use crate::diagnose::noise::{Expected, Terms, measure};
use crate::engine::{Alteration, Edit, Run, Site, Value};

/// Ops that are computed at most: a mistake in one of many layers is not looked for one by one.
const MOST_OPS: usize = 12_000;

/// The suspects that reproduce what the dump has at the end of the span, best first; none if none does.
pub(super) fn search(scene: &Scene, gap: &Gap, interrupt: &AtomicBool) -> Vec<Accused> {
    let states = gap.states_until(scene.site);
    let sites: Vec<Site> = states.iter().map(|(site, _)| *site).filter(|site| gap.dumped(*site).is_none()).collect();
    let mut all: Vec<(usize, &'static Suspect, Vec<Trial>)> =
        all().enumerate().map(|(order, suspect)| (order, suspect, trials(scene, suspect, &sites))).collect();
    // Large families last: there may be no time for them.
    all.sort_by_key(|(_, _, trials)| trials.len());
    let mut left = MOST_OPS;
    let mut found: Vec<(usize, Accused)> = Vec::new();
    'search: for (order, suspect, trials) in all {
        let mut best: Option<Accused> = None;
        for trial in trials {
            let is_tried = |site: &Site| trial.iter().any(|(tried, _)| tried == site);
            let Some(start) = states.iter().position(|(site, _)| is_tried(site)) else { continue };
            let Some(rest) = left.checked_sub(states.len() - start) else { break 'search };
            if interrupt.load(Ordering::Relaxed) {
                break 'search;
            }
            left = rest;
            if let Some(accused) = try_on(scene, gap, &states[start].1, suspect, &trial)
                && best.as_ref().is_none_or(|best| accused.residual < best.residual)
            {
                best = Some(accused);
            }
        }
        found.extend(best.map(|accused| (order, accused)));
    }
    found.sort_by_key(|(order, _)| *order);
    let mut found = nearest(found.into_iter().map(|(_, accused)| accused).collect(), scene.terms.least);
    prefer_in_time(&mut found, scene);
    // Where RoPE turns other pairs, the weights may as well have been permuted back twice, but hardly ever are.
    found.sort_by_key(|accused| accused.id == "qk_permuted");
    if found.is_empty() {
        found.extend(shape::describe(scene));
    }
    found
}

/// A mistake in some ops, in one way.
type Trial = Vec<(Site, Variant)>;

/// Where to make a mistake: in all layers of the span, in one, in one op.
fn trials(scene: &Scene, suspect: &Suspect, sites: &[Site]) -> Vec<Trial> {
    let graph = scene.graph();
    let of_suspect: Vec<Site> = sites.iter().copied().filter(|site| suspect.is_of(graph[*site].role)).collect();
    let together: Vec<Site> = of_suspect.iter().copied().filter(|site| !undoes(suspect, graph[*site].role)).collect();
    let mut places: Vec<Vec<Site>> = vec![together.clone()];
    for site in &of_suspect {
        let layer: Vec<Site> =
            together.iter().copied().filter(|other| graph[*other].layer == graph[*site].layer).collect();
        places.extend([layer, vec![*site]]);
    }
    let mut seen: Vec<Vec<Site>> = Vec::new();
    places.retain(|place| {
        !place.is_empty() && !seen.contains(place) && {
            seen.push(place.clone());
            true
        }
    });
    let ways = |site: &Site| {
        let bare = Scene::without_dump(&scene.model, *site);
        (suspect.variants)(&Scene {
            is_reference: scene.is_reference,
            step: scene.step,
            first: scene.first,
            right_until: scene.right_until,
            ..bare
        })
    };
    let of_place = |place: Vec<Site>| {
        let ways: Vec<(Site, Vec<Variant>)> = place.into_iter().map(|site| (site, ways(&site))).collect();
        let most = ways.first().map_or(0, |(_, first)| first.len());
        // Each op makes the mistake in its own way: of its own weights, for one.
        let way = move |index: usize| {
            ways.iter().filter_map(|(site, ways)| Some((*site, ways.get(index)?.clone()))).collect()
        };
        (0..most).map(way).collect::<Vec<Trial>>()
    };
    places.into_iter().flat_map(of_place).collect()
}

fn try_on(
    scene: &Scene,
    gap: &Gap,
    before: &Run<f64>,
    suspect: &Suspect,
    trial: &[(Site, Variant)],
) -> Option<Accused> {
    let (part, graph) = (scene.part.as_ref()?, scene.graph());
    let places: Vec<Site> = trial.iter().map(|(site, _)| *site).collect();
    let edit = together(trial)?;
    if trial.iter().any(|(site, variant)| variant.edit.check(&scene.model, *site).is_err()) {
        return None;
    }
    let alterations = [Alteration { sites: Arc::from(&places[..]), edit: edit.clone() }];
    let exact = gap.through(before.clone(), scene.site, &alterations)?;
    let model = scene.exact()?;
    if exact.shape() != model.shape() {
        return None;
    }
    let apart = Apart::of(scene, model, exact.view())?;
    if apart.explained() <= EXPLAINED {
        return None;
    }
    let draws = gap.altered_draws(scene.site, &alterations, scene.precision)?;
    let terms = Terms { kin: None, ..scene.terms };
    let noise = |unrounded: &[Value<f32>]| {
        let expected = Expected { exact: &exact, draws: &draws, unrounded };
        measure(scene.site, graph, scene.first, part, expected, terms)
    };
    let is_in_order =
        noise(&[]).is_in_order() || noise(&gap.unrounded(scene.site, &alterations, scene.precision)).is_in_order();
    let (summary, fix) = suspect.said(&Scene::without_dump(&scene.model, places[0]));
    is_in_order.then(|| Accused {
        id: suspect.id,
        name: graph.key(places[0], scene.step),
        explained: apart.explained(),
        residual: apart.residual(),
        summary: format!("{summary}: {} ({})", trial[0].1.words, shown(&places, graph)),
        fix,
        edit: Some(edit),
        sites: places,
    })
}

/// One edit of several ops, each in its own way; others are changed as the first is.
fn together(trial: &[(Site, Variant)]) -> Option<Edit> {
    if trial.iter().all(|(_, variant)| variant.edit == Edit::Keep) {
        return None;
    }
    Some(Edit::ByNode(trial.iter().map(|(site, variant)| (*site, variant.edit.clone())).collect()))
}
