//! Mistakes of a whole dump: nothing was written into it, or its layers stand under each other's names. They make every
//! tensor wrong, and are told in one sentence.

use std::collections::HashMap;
use std::sync::Arc;

use super::finding::{Finding, Kind, all_ranges};
use super::part::{Part, compare_parts};
use super::precision::Precision;
use super::suspects::search::Accused;
use super::trail::Trail;
use crate::dump;
use crate::engine::{LogitRows, Role, Run, Site};

/// A tensor is that of a layer when it is as near as this, of a dump in f32; over a whole pass errors grow.
const NEAR: f64 = 1e-3;

/// The same in coarser precision.
const NEAR_COARSE: f64 = 0.1;

/// What is wrong with the whole dump of `trail` takes the place of its findings. `steps` are the tokens of each forward.
pub(super) fn of_whole(trail: &Trail, ids: &[u32], steps: &[usize], findings: &mut [Finding]) {
    let wrong = |finding: &Finding| matches!(finding.kind, Kind::Wrong | Kind::Mislabelled);
    let Some(first) = findings.iter().position(wrong) else { return };
    let graph = &trail.model.graph;
    let name = graph.key(findings[first].site, findings[first].step);
    let (kind, words, of, accused) = if trail.read > 1 && trail.blank == trail.read {
        let words = format!("all {} tensors of the dump are zeros", trail.read);
        let summary = "nothing was copied into the dump, or it was written before anything was computed".into();
        (Kind::Wrong, words, Vec::new(), Accused { id: "unknown", name, summary, ..Accused::default() })
    } else {
        let layers = findings.iter().filter(|finding| wrong(finding)).filter_map(|finding| graph[finding.site].layer);
        let layers: Vec<usize> = layers.collect();
        if layers.iter().all(|layer| *layer == layers[0]) {
            return;
        }
        // What could be read before can be read again; if not, the findings stay.
        let Ok(Some((order, tensors))) = order(trail, &ids[..steps[0]]) else { return };
        let words = in_words(&order);
        let accused = Accused { name, explained: 1.0, ..Accused::of_id("ref_layer_off_by_one") };
        let of = order.iter().map(|(named, _)| *named).collect();
        (Kind::Mislabelled, format!("{words}: read so, all {tensors} tensors of the prefill agree"), of, accused)
    };
    for finding in &mut findings[first + 1..] {
        finding.kind = Kind::Equivalent;
        finding.harmless = None;
    }
    let first = &mut findings[first];
    first.kind = kind;
    first.suspects = vec![accused];
    first.scene = None;
    first.instead = Some((words, of));
}

/// `layers 0 and 1 stand under each other's names`.
fn in_words(order: &[(usize, usize)]) -> String {
    match order {
        [(a, b), _] if order.len() == 2 => format!("layers {a} and {b} stand under each other's names"),
        _ => {
            let names: Vec<usize> = order.iter().map(|(named, _)| *named).collect();
            let really: Vec<String> = order.iter().map(|(_, really)| really.to_string()).collect();
            format!("under the names of layers {} stand layers {}", all_ranges(&names), really.join(", "))
        }
    }
}

/// Which layer of the model each layer of the dump really is, where these are others and everything agrees then; and how
/// many tensors do.
type Order = (Vec<(usize, usize)>, usize);

fn order(trail: &Trail, prefill: &[u32]) -> Result<Option<Order>, dump::Error> {
    let graph = &trail.model.graph;
    let near = if trail.typical == Precision::F32 { NEAR } else { NEAR_COARSE };
    let dumped = |site: Site| trail.dump.planned(0, site).is_some();
    let whole = |site: &Site| (0..graph.layers()).filter_map(|layer| graph.twin(*site, layer)).all(dumped);
    let probes = [Role::Block, Role::ResidMid, Role::QProj];
    let probe = probes.into_iter().filter_map(|role| graph.in_layer(0, role)).find(whole);
    let Some(probe) = probe else { return Ok(None) };
    let mut ours = HashMap::new();
    let mut run: Run = Run::new(Arc::clone(&trail.model), prefill, LogitRows::All);
    while let Some(site) = run.step() {
        if let Some(layer) = graph[site].layer.filter(|layer| graph.twin(probe, *layer) == Some(site)) {
            ours.extend(run.get(site).map(|value| (layer, Part::whole(value.clone(), &graph[site], prefill.len()))));
        }
    }
    let apart = |site: Site, a: &Part, b: &Part| compare_parts(site, graph, 0, a, b).map(|(found, ..)| found.error);
    let mut really = Vec::new();
    for site in (0..graph.layers()).filter_map(|layer| graph.twin(probe, layer)) {
        let Some(found) = trail.dump.read(0, site, None)? else { return Ok(None) };
        let is = |layer: &usize| {
            ours.get(layer).and_then(|value| apart(site, &found.part, value)).is_some_and(|error| error <= near)
        };
        let Some(layer) = (0..graph.layers()).find(is).filter(|layer| !really.contains(layer)) else { return Ok(None) };
        really.push(layer);
    }
    if really.iter().copied().eq(0..graph.layers()) {
        return Ok(None);
    }
    let mut run: Run = Run::new(Arc::clone(&trail.model), prefill, LogitRows::All);
    let mut tensors = 0;
    while let Some(site) = run.step() {
        let named = graph[site].layer.and_then(|layer| really.iter().position(|really| *really == layer));
        let under = named.map_or(Some(site), |layer| graph.twin(site, layer));
        let Some(under) = under.filter(|under| dumped(*under)) else { continue };
        let Some(found) = trail.dump.read(0, under, None)? else { continue };
        let Some(value) = run.get(site) else { continue };
        let value = Part::whole(value.clone(), &graph[site], prefill.len());
        if apart(site, &found.part, &value).is_none_or(|error| error > near) {
            return Ok(None);
        }
        tensors += 1;
    }
    Ok(Some((really.into_iter().enumerate().filter(|(named, really)| named != really).collect(), tensors)))
}
