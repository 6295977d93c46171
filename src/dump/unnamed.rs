//! Names that no rule knows: what their tensors are is told by shapes and values, beside our own pass, in the first layer
//! that has them; the others follow. What equals nothing is left to a map.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use ndarray::{ArrayView1, Axis};

use super::Dump;
use super::error::{Error, shown};
use super::name::{Flavour, Name};
use super::naming::numbers;
use super::plan::{Planned, Unmatched};
use super::uses::{distance, stored_frame};
use crate::engine::{Class, LogitRows, Role, Run, Site};
use crate::formats::Entry;
use crate::model::Model;

/// Values that are farther from an activation than this are not its own, in whatever precision.
const SAME: f64 = 2e-2;

/// Every other activation has to be this many times farther away.
const CLEARLY: f64 = 4.0;

/// Rows of probabilities add up to 1 as nearly as 16 bits allow.
const SUM: f32 = 2e-2;

/// Tensors of one name but for the layer's number.
struct Group {
    /// The name, with `{}` for the number.
    name: String,
    /// Number, forward, and place among the tensors that are not recognised.
    tensors: Vec<(Option<usize>, usize, usize)>,
    /// What its first tensor may be: how far it is, and what is taken from numbers to have layers.
    found: Vec<(f64, Site, usize)>,
}

impl Group {
    /// The layers that its first tensor may be of, and what is taken from its number: names count from 0, or from 1.
    fn first_layers(&self, layers: usize) -> Vec<(Option<usize>, usize)> {
        let numbers = self.tensors.iter().filter_map(|(number, ..)| *number);
        let Some((least, most)) = numbers.clone().min().zip(numbers.max()) else { return vec![(None, 0)] };
        let fits = |from: &usize| least >= *from && most - from < layers;
        [0, 1].into_iter().filter(fits).map(|from| (Some(least - from), from)).collect()
    }

    /// The first of its tensors in the first forward.
    fn first(&self) -> Option<usize> {
        let first = self.tensors.iter().filter(|(_, forward, _)| *forward == 0).min_by_key(|(number, ..)| *number);
        first.map(|(.., at)| *at)
    }

    /// The activation that is far nearer than all others.
    fn nearest(&self) -> Option<(Site, usize)> {
        let (least, site, from) = self.found.iter().min_by(|a, b| a.0.total_cmp(&b.0)).copied()?;
        let clearly = self.found.iter().all(|(apart, other, _)| *other == site || *apart > CLEARLY * least);
        (least < SAME && clearly).then_some((site, from))
    }
}

/// The tensors that are not recognised, by their names but for one number each: that which most names differ in.
fn groups(dump: &Dump) -> Vec<Group> {
    let names: Vec<Name> = dump.unmatched.iter().map(|unmatched| Name::split(&unmatched.name)).collect();
    let without = |base: &str| -> Vec<(String, usize)> {
        let pattern =
            |at: Range<usize>| Some((format!("{}{{}}{}", &base[..at.start], &base[at.end..]), base[at].parse().ok()?));
        numbers(base).into_iter().filter_map(pattern).collect()
    };
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for (pattern, _) in names.iter().flat_map(|name| without(&name.base)) {
        *counts.entry(pattern).or_default() += 1;
    }
    let mut groups: BTreeMap<String, Vec<(Option<usize>, usize, usize)>> = BTreeMap::new();
    for (at, name) in names.iter().enumerate() {
        // Of equals, the first.
        let best = without(&name.base).into_iter().rev().max_by_key(|(pattern, _)| counts.get(pattern).copied());
        let (pattern, number) = best.map_or((name.base.clone(), None), |(pattern, number)| (pattern, Some(number)));
        groups.entry(pattern).or_default().push((number, name.forward.unwrap_or(0), at));
    }
    groups.into_iter().map(|(name, tensors)| Group { name, tensors, found: Vec::new() }).collect()
}

/// Takes back what words say that fits no shape though its rows are those of the forward: such a name is somebody's own. Its
/// values tell then, or nothing does.
pub fn doubt_names(dump: &mut Dump, steps: &[usize]) {
    let Some(frame) = stored_frame(dump, steps) else { return };
    let is_word = |planned: &Planned| planned.flavour == Flavour::Alias && !planned.mapped && planned.part.is_none();
    let misfits = |planned: &Planned| matches!(dump.fitted(planned, frame), Err(Error::Shape { .. }));
    let first = dump.named.iter().filter(|planned| planned.forward == 0 && is_word(planned));
    let (wrong, right): (Vec<&Planned>, Vec<&Planned>) = first.partition(|planned| misfits(planned));
    let class = |planned: &Planned| dump.graph.class(planned.site);
    let mut doubted: HashSet<Class> =
        wrong.into_iter().filter(|planned| planned.stored.contains(&frame.tokens)).map(class).collect();
    doubted.retain(|of| !right.iter().any(|planned| class(planned) == *of));
    let (left, named) = std::mem::take(&mut dump.named)
        .into_iter()
        .partition(|planned| is_word(planned) && doubted.contains(&dump.graph.class(planned.site)));
    dump.named = named;
    dump.unmatched.extend(Vec::into_iter(left).map(|planned: Planned| {
        let reason = format!("its shape is not that of {}, which its name says", planned.activation);
        Unmatched { name: planned.name, shape: planned.stored, reason: Some(reason), guesses: Vec::new() }
    }));
}

/// Takes tensors whose names no rule knows for the activations that their values are, where nothing else is taken for
/// those: `steps` of `ids` were fed.
pub fn name_by_values(dump: &mut Dump, model: &Arc<Model>, ids: &[u32], steps: &[usize]) -> Result<(), Error> {
    let Some(prompt) = steps.first().and_then(|tokens| ids.get(..*tokens)) else { return Ok(()) };
    let Some(frame) = stored_frame(dump, steps) else { return Ok(()) };
    doubt_names(dump, steps);
    let graph = Arc::clone(&dump.graph);
    let mut groups = groups(dump);
    // By group, the sites that its first tensor fits by its shape.
    let mut fitting: BTreeMap<Site, Vec<(usize, usize)>> = BTreeMap::new();
    for (group, of) in groups.iter().enumerate() {
        let Some(entry) = of.first().and_then(|at| entry(dump, at)) else { continue };
        for (layer, from) in of.first_layers(graph.layers()) {
            for site in graph.sites().filter(|site| graph[*site].layer == layer) {
                if dump.fitted(&Planned::of(&entry, site, 0, &graph), frame).is_ok() {
                    fitting.entry(site).or_default().push((group, from));
                }
            }
        }
    }
    let Some(last) = fitting.keys().next_back().copied() else { return Ok(()) };
    let mut run = Run::new(Arc::clone(model), prompt, LogitRows::All);
    while let Some(site) = run.step() {
        let Some(ours) = run.get(site) else { continue };
        for (group, from) in fitting.get(&site).into_iter().flatten() {
            let Some(entry) = groups[*group].first().and_then(|at| entry(dump, at)) else { continue };
            let apart = distance(dump, &Planned::of(&entry, site, 0, &graph), site, ours, frame)?;
            groups[*group].found.push((apart, site, *from));
        }
        if site >= last {
            break;
        }
    }
    let mut said = Vec::new();
    let mut known = Vec::new();
    for group in &groups {
        let by_values = group.nearest();
        let Some((site, from)) = by_values.or_else(|| by_shape(dump, group)) else { continue };
        let taken = take(dump, group, site, from);
        if !taken.is_empty() {
            let how = if by_values.is_some() { "" } else { ", by its shape" };
            said.push(format!("{} for {}{how}", shown(&group.name), graph[site].label));
            known.extend(taken);
        }
    }
    if !said.is_empty() {
        dump.unmatched.retain(|unmatched| !known.contains(&unmatched.name));
        dump.notes.push(format!("names that no rule knows are taken for what their values are: {}", said.join("; ")));
    }
    Ok(())
}

/// The tensor at a place among those that are not recognised, if it holds numbers of activations.
fn entry(dump: &Dump, at: usize) -> Option<Entry> {
    let name = &dump.unmatched.get(at)?.name;
    dump.archive.entries().iter().find(|entry| entry.name == *name && entry.dtype.is_float()).cloned()
}

/// What a shape alone tells: rows that add up to 1 where scores have one for each key, and the only activation that is
/// as wide as the vocabulary.
fn by_shape(dump: &Dump, group: &Group) -> Option<(Site, usize)> {
    let graph = &dump.graph;
    let is_output = |found: &[(f64, Site, usize)]| found.len() == 1 && graph.output() == Some(found[0].1);
    let probs = || group.found.iter().find(|(_, site, _)| graph.is(*site, Role::Probs));
    let (_, site, from) = *if is_output(&group.found) { group.found.first() } else { probs() }?;
    let entry = entry(dump, group.first()?)?;
    let values = dump.values(&Planned::of(&entry, site, 0, graph)).ok()?;
    let last = Axis(values.ndim().checked_sub(1)?);
    let adds_up = |row: ArrayView1<f32>| row.iter().all(|value| *value >= 0.0) && (row.sum() - 1.0).abs() < SUM;
    let is_log = |row: ArrayView1<f32>| (row.iter().map(|value| value.exp()).sum::<f32>() - 1.0).abs() < SUM;
    let rows = |is: &dyn Fn(ArrayView1<f32>) -> bool| values.lanes(last).into_iter().all(is);
    // Probabilities of the next token, or their logarithms, are no logits.
    let fits = if graph.is(site, Role::Probs) { rows(&adds_up) } else { !rows(&adds_up) && !rows(&is_log) };
    fits.then_some((site, from))
}

/// Takes all tensors of a group for an op of their layers, where nothing else is: their names.
fn take(dump: &mut Dump, group: &Group, first: Site, from: usize) -> Vec<String> {
    let graph = Arc::clone(&dump.graph);
    let mut taken = Vec::new();
    for (number, forward, at) in &group.tensors {
        let site = match number.filter(|_| graph[first].layer.is_some()) {
            Some(number) => number.checked_sub(from).and_then(|layer| graph.twin(first, layer)),
            None => Some(first),
        };
        let free = |site: &Site| !dump.named.iter().any(|other| (other.forward, other.site) == (*forward, *site));
        if let Some(site) = site.filter(free)
            && let Some(entry) = entry(dump, *at)
        {
            dump.named.push(Planned::of(&entry, site, *forward, &graph));
            taken.push(entry.name);
        }
    }
    taken
}
