//! Names that no rule knows: what their tensors are is told by shapes and values, beside our own pass, in the first layer
//! that has them; the others follow. What equals nothing is left to a map.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use ndarray::ArrayD;

use super::Dump;
use super::error::{Error, shown};
use super::name::Flavour;
use super::part::Part;
use super::plan::{Planned, Unmatched};
use super::uses::{distance, stored_frame};
use crate::engine::{Class, LogitRows, Run, Site};
use crate::model::Model;

mod group;
mod pieces;

use group::{Group, first_values, groups, planned};

/// Tensors that were taken for what their values are.
#[derive(Clone, Debug)]
pub(super) struct Recognised {
    /// Their name, with `{}` for the layer's number where they have one.
    pub(super) pattern: String,
    /// What is taken from the number to have the layer.
    pub(super) from: usize,
    /// The name of each, its number, the piece of it, and what it is.
    pub(super) tensors: Vec<(String, Option<usize>, Option<Part>, Site)>,
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
    doubt_names(dump, steps);
    let mut said = Vec::new();
    let mut known = HashSet::new();
    let mut taken_sites: HashSet<(usize, Site)> = dump.named.iter().map(|other| (other.forward, other.site)).collect();
    for Found { group, site, from, by_shape } in recognised(dump, model, prompt)? {
        let taken = take(dump, &group, site, from, &mut taken_sites);
        if !taken.tensors.is_empty() {
            let how = if by_shape { ", by its shape" } else { "" };
            said.push(format!("{} for {}{how}", shown(&group.name), dump.graph[site].label));
            known.extend(taken.tensors.iter().map(|(name, ..)| name.clone()));
            dump.recognised.push(taken);
        }
    }
    if !said.is_empty() {
        dump.unmatched.retain(|unmatched| !known.contains(&unmatched.name));
        dump.notes.push(format!("names that no rule knows are taken for what their values are: {}", said.join("; ")));
    }
    Ok(())
}

/// How many kinds of tensors without a known name have the values that our pass over `prompt` gives behind the first
/// attention: only there do they tell what stood before a token.
pub(super) fn told_behind_attention(dump: &Dump, model: &Arc<Model>, prompt: &[u32]) -> Result<usize, Error> {
    let attends = dump.graph.sites().find(|site| dump.graph[*site].has_keys());
    let found = recognised(dump, model, prompt)?;
    Ok(found.iter().filter(|found| !found.by_shape && attends.is_some_and(|first| found.site > first)).count())
}

/// What a group is.
struct Found {
    group: Group,
    site: Site,
    from: usize,
    by_shape: bool,
}

/// What the groups are, by the values of our pass over `prompt`.
fn recognised(dump: &Dump, model: &Arc<Model>, prompt: &[u32]) -> Result<Vec<Found>, Error> {
    let Some(frame) = stored_frame(dump, &[prompt.len()]) else { return Ok(Vec::new()) };
    // Each as it stands, and the ways to take it apart.
    let mut ways: Vec<Vec<Vec<Group>>> = Vec::new();
    for group in groups(dump) {
        let mut apart = pieces::ways(dump, &group);
        apart.insert(0, vec![group]);
        for group in apart.iter_mut().flatten() {
            if group.candidates.is_empty() {
                group.look_for_ops(dump, frame);
            } else {
                group.keep_what_fits(dump, frame);
            }
        }
        ways.push(apart);
    }
    let mut all: Vec<&mut Group> = ways.iter_mut().flatten().flatten().collect();
    let mut tensors: Vec<Option<(Planned, ArrayD<f32>)>> = Vec::with_capacity(all.len());
    let mut fitting: BTreeMap<Site, Vec<(usize, usize)>> = BTreeMap::new();
    for (at, group) in all.iter().enumerate() {
        tensors.push(first_values(dump, group)?);
        for (site, from) in &group.candidates {
            fitting.entry(*site).or_default().push((at, *from));
        }
    }
    let Some(last) = fitting.keys().next_back().copied() else { return Ok(Vec::new()) };
    let mut run = Run::new(Arc::clone(model), prompt, LogitRows::All);
    while let Some(site) = run.step() {
        let Some(ours) = run.get(site) else { continue };
        for (at, from) in fitting.get(&site).into_iter().flatten() {
            if let Some((planned, values)) = &tensors[*at] {
                let apart = distance(dump, (planned, values), site, ours, frame);
                all[*at].found.push((apart, site, *from));
            }
        }
        if site >= last {
            break;
        }
    }
    let mut tensors = tensors.into_iter();
    let mut found = Vec::new();
    for apart in ways {
        let own: Vec<Option<(Planned, ArrayD<f32>)>> = tensors.by_ref().take(apart.iter().flatten().count()).collect();
        let Some((whole, pieces)) = apart.split_first() else { continue };
        // Of equals, the first.
        let best = pieces.iter().rev().max_by_key(|way| told(way)).filter(|way| told(way) > 0);
        let way = if told(whole) > 0 { whole } else { best.unwrap_or(whole) };
        let by_values = way.iter().filter_map(|group| Some((group, group.nearest()?, false)));
        let by_shape = || {
            let (group, (_, values)) = way.first().zip(own.first().and_then(Option::as_ref))?;
            Some((group, group.by_shape(dump, values)?, true))
        };
        let by_shape = if told(way) > 0 { None } else { by_shape() };
        found.extend(by_values.chain(by_shape).map(|(group, (site, from), by_shape)| Found {
            group: group.clone(),
            site,
            from,
            by_shape,
        }));
    }
    Ok(found)
}

/// How many groups of a way have the values of an activation. Of a stack the first has to: it holds the layers.
fn told(way: &[Group]) -> usize {
    let is_stack = way.first().is_some_and(|first| first.is_of_stack() && first.nearest().is_none());
    if is_stack { 0 } else { way.iter().filter(|group| group.nearest().is_some()).count() }
}

/// Takes all tensors of a group for an op of their layers, where nothing else is.
fn take(
    dump: &mut Dump,
    group: &Group,
    first: Site,
    from: usize,
    taken_sites: &mut HashSet<(usize, Site)>,
) -> Recognised {
    let graph = Arc::clone(&dump.graph);
    let mut taken = Recognised { pattern: group.name.clone(), from, tensors: Vec::new() };
    for member in &group.members {
        let site = member.site(first, from, &graph);
        let Some(site) = site.filter(|site| !taken_sites.contains(&(member.forward, *site))) else { continue };
        if let Some(planned) = planned(dump, member, site) {
            taken_sites.insert((member.forward, site));
            taken.tensors.push((planned.name.clone(), member.number, member.part, site));
            dump.named.push(planned);
        }
    }
    taken
}
