//! Suspects over a span: where inputs of a wrong tensor were not dumped, each mistake is tried in the ops since the last
//! tensors that were, and the span is run with it.

use std::sync::atomic::{AtomicBool, Ordering};

use super::scene::Scene;
use super::search::{Accused, Apart, EXPLAINED, WORTH_EMULATING, nearest, one, prefer_in_time, shown};
use super::{Suspect, Variant, all, dials, named, shape};
use crate::diagnose::gap::Gap;
use crate::diagnose::noise::{Expected, Terms, measure};
use crate::engine::{Alteration, Edit, Graph, Op, Role, Run, Site, Value};

/// Ops that are computed at most, by how many tokens they have: a mistake in one of many layers is not looked for one by one.
pub(super) fn most_ops(scene: &Scene) -> usize {
    (480_000 / scene.tokens.max(1)).clamp(12_000, 100_000)
}

/// Families of more trials than this are left out where another mistake has been found.
const LARGE: usize = 200;

/// Ops that read what other ops of the same suspect have made wrong: changed as well, they would undo it.
const UNDOING: &[(&str, &[Role])] = &[
    ("gate_up_swapped", &[Role::ActFn, Role::ActMul, Role::ExpertAct, Role::ExpertActMul]),
    // The matrix in another order, and its parts looked for where they then stand.
    ("fused_order", &[Role::QkvProj]),
];

/// Suspects that are one only in all of their ops of a layer.
const WHOLE: &[&str] = &["parallel_residual", "norm_site", "gate_norm_order"];

/// Suspects that go by another name where only norms are wrong.
const NEVER_NORMS: &[&str] = &["wrong_layer_weight"];

/// The suspects that reproduce what the dump has at the end of the span, best first; none if none does.
pub(super) fn search(scene: &Scene, gap: &Gap, interrupt: &AtomicBool) -> Vec<Accused> {
    let states = gap.states_until(scene.site);
    let sites: Vec<Site> = states.iter().map(|(site, _)| *site).filter(|site| gap.dumped(*site).is_none()).collect();
    let mut all: Vec<(usize, &'static Suspect, Vec<Trial>)> =
        all().enumerate().map(|(order, suspect)| (order, suspect, trials(scene, suspect, &sites))).collect();
    // Large families last: there may be no time for them.
    all.sort_by_key(|(_, _, trials)| trials.len());
    let mut left = most_ops(scene);
    let mut found = at_the_end(scene);
    'search: for (order, suspect, trials) in all {
        if trials.len() > LARGE && !found.is_empty() {
            break;
        }
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
    if found.is_empty() {
        let dialled = dials::search(scene, gap, &states, interrupt);
        found.extend(dialled.into_iter().map(|accused| (0, accused)));
    }
    found.sort_by_key(|(order, _)| *order);
    let mut found = nearest(found.into_iter().map(|(_, accused)| accused).collect(), scene.terms.least);
    prefer_in_time(&mut found, scene);
    // What the last op's own inputs tell is tried over the span, too.
    let mut told: Vec<(&str, Vec<Site>)> = Vec::new();
    found.retain(|accused| {
        let own = (accused.id, accused.sites.clone());
        let is_new = own.1.is_empty() || !told.contains(&own);
        told.push(own);
        is_new
    });
    // Where RoPE turns other pairs, the weights may as well have been permuted back twice, but hardly ever are.
    found.sort_by_key(|accused| accused.id == "qk_permuted");
    if found.is_empty() {
        found.extend(shape::describe(scene));
    }
    found
}

/// Mistakes in the last op, on what was dumped of its inputs and on what the rest must be: there, what was dumped tells
/// constants.
fn at_the_end(scene: &Scene) -> Vec<(usize, Accused)> {
    let local = Scene { gap: None, ..scene.clone() };
    all().enumerate().filter_map(|(order, suspect)| Some((order, one(&local, suspect)?))).collect()
}

/// The ops of a span, and the run before each.
pub(super) type States = [(Site, Run<f64>)];

/// A mistake that was found elsewhere, if it reproduces what the dump has here, too.
pub fn again(scene: &Scene, accused: &Accused) -> Option<Accused> {
    let (gap, suspect, edit) = (scene.gap.as_ref()?, named(accused.id)?, accused.edit.as_ref()?);
    let of_site = |site: &Site| (*site, Variant::new("", edit.clone()));
    let trial: Vec<(Site, Variant)> = accused.sites.iter().map(of_site).collect();
    let states = gap.states_until(scene.site);
    let start = states.iter().find(|(site, _)| accused.sites.contains(site))?;
    let found = try_on(scene, gap, &start.1, suspect, &trial)?;
    Some(Accused { summary: accused.summary.clone(), ..found })
}

/// A mistake in some ops, in one way.
pub(super) type Trial = Vec<(Site, Variant)>;

/// Where to make a mistake: in all layers of the span, in one, in one op.
fn trials(scene: &Scene, suspect: &Suspect, sites: &[Site]) -> Vec<Trial> {
    let graph = scene.graph();
    let of_suspect: Vec<Site> = sites.iter().copied().filter(|site| suspect.is_of(graph[*site].role)).collect();
    let together: Vec<Site> = of_suspect.iter().copied().filter(|site| !undoes(suspect, graph[*site].role)).collect();
    let mut places: Vec<Vec<Site>> = vec![together.clone()];
    for site in &of_suspect {
        let layer: Vec<Site> =
            together.iter().copied().filter(|other| graph[*other].layer == graph[*site].layer).collect();
        let kin = |site: Site| graph[site].role.map(Role::of_queries);
        let beside = |other: &&Site| graph[**other].reads == graph[*site].reads || kin(**other) == kin(*site);
        let half = |other: &&Site| is_behind_attention(**other, graph) == is_behind_attention(*site, graph);
        let beside: Vec<Site> = layer.iter().filter(beside).copied().collect();
        let half: Vec<Site> = layer.iter().filter(half).copied().collect();
        if WHOLE.contains(&suspect.id) {
            places.push(layer);
        } else {
            let is_norm = |site: &Site| matches!(graph[*site].op, Op::Norm { .. });
            let products: Vec<Site> = half.iter().filter(|site| !is_norm(site)).copied().collect();
            places.extend([layer, half, products, beside, vec![*site]]);
        }
    }
    let mut seen: Vec<Vec<Site>> = Vec::new();
    places.retain(|place| {
        let only_norms = place.iter().all(|site| matches!(graph[*site].op, Op::Norm { .. }));
        let is_alone = only_norms && NEVER_NORMS.contains(&suspect.id);
        !place.is_empty() && !is_alone && !seen.contains(place) && {
            seen.push(place.clone());
            true
        }
    });
    // One list for each op, whatever it is tried with.
    let ways = |site: &Site| {
        let bare = Scene::without_dump(&scene.model, *site);
        (suspect.variants)(&Scene {
            is_reference: scene.is_reference,
            step: scene.step,
            first: scene.first,
            tokens: scene.tokens,
            right_until: scene.right_until,
            ..bare
        })
    };
    let of_place = |place: Vec<Site>| {
        let ways: Vec<(Site, Vec<Variant>)> = place.into_iter().map(|site| (site, ways(&site))).collect();
        let most = ways.iter().map(|(_, ways)| ways.len()).max().unwrap_or(0);
        // Each op makes the mistake in its own way: of its own weights, for one.
        let way = move |index: usize| {
            ways.iter().filter_map(|(site, ways)| Some((*site, ways.get(index)?.clone()))).collect()
        };
        (0..most).map(way).collect::<Vec<Trial>>()
    };
    places.into_iter().flat_map(of_place).collect()
}

/// Whether a suspect in all of its ops is none.
pub(super) fn undoes(suspect: &Suspect, op: Option<Role>) -> bool {
    UNDOING.iter().any(|(id, ops)| *id == suspect.id && op.is_some_and(|op| ops.contains(&op)))
}

/// Whether an op belongs to the second half of its layer.
fn is_behind_attention(site: Site, graph: &Graph) -> bool {
    graph.find(graph[site].layer, Role::ResidMid).is_some_and(|mid| site >= mid)
}

/// What a trial computes at the end of the span.
fn computed(scene: &Scene, gap: &Gap, before: &Run<f64>, trial: &Trial) -> Option<(Alteration, Value<f64>)> {
    let places: Vec<Site> = trial.iter().map(|(site, _)| *site).collect();
    let alteration = Alteration { sites: places.into(), edit: together(trial)? };
    if trial.iter().any(|(site, variant)| variant.edit.check(&scene.model, *site).is_err()) {
        return None;
    }
    let exact = gap.through(before.clone(), scene.site, std::slice::from_ref(&alteration))?;
    (exact.shape() == scene.whole()?.shape()).then_some((alteration, exact))
}

/// How far the dump is from the model and from a trial.
pub(super) fn distances(scene: &Scene, gap: &Gap, before: &Run<f64>, trial: &Trial) -> Option<Apart> {
    let (_, exact) = computed(scene, gap, before, trial)?;
    Apart::of(scene, scene.whole()?, exact.view())
}

pub(super) fn try_on(scene: &Scene, gap: &Gap, before: &Run<f64>, suspect: &Suspect, trial: &Trial) -> Option<Accused> {
    let (part, graph) = (scene.part.as_ref()?, scene.graph());
    let (alteration, exact) = computed(scene, gap, before, trial)?;
    let mut apart = Apart::of(scene, scene.whole()?, exact.view())?;
    if apart.explained() <= WORTH_EMULATING {
        return None;
    }
    let places = alteration.sites.to_vec();
    let edit = alteration.edit.clone();
    let alterations = [alteration];
    let draws = gap.altered_draws(scene.site, &alterations, scene.precision)?;
    // As in single ops, the roundings of the dump's precision are no part of its error.
    if apart.explained() <= EXPLAINED {
        let wide = |value: &Value<f32>| value.mapv(f64::from);
        let model = wide(&scene.forced.as_ref()?.expected().draws[0]);
        let emulated = Apart::of(scene, model.view(), wide(&draws[0]).view())?;
        if emulated.explained() > apart.explained() {
            apart = emulated;
        }
    }
    if apart.explained() <= EXPLAINED {
        return None;
    }
    let terms = Terms { kin: None, ..scene.terms };
    let noise = |more: &[Value<f32>]| {
        let expected = Expected { exact: &exact, draws: &draws, more };
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
        refuted: false,
    })
}

/// One edit of several ops, each in its own way; others are changed as the first is.
fn together(trial: &[(Site, Variant)]) -> Option<Edit> {
    if trial.iter().all(|(_, variant)| variant.edit == Edit::Keep) {
        return None;
    }
    Some(Edit::ByNode(trial.iter().map(|(site, variant)| (*site, variant.edit.clone())).collect()))
}
