//! Matches the names of a dump with the activations of a model, and settles what happens when several names mean one.

use std::collections::{BTreeMap, HashMap};

use super::alias::KEYS_AND_VALUES;
use super::error::{Error, shown};
use super::map::{Expression, Map, Mapped};
use super::name::{Absent, Flavour, Meaning, Name, canonical, guesses, hidden_state, index_in, meaning, normal};
use super::naming::{Naming, stacked};
use super::part::{Part, Slice};
use super::plan::{Planned, Unmatched};
use crate::engine::{Graph, Op, Role, Site};
use crate::formats::{Archive, Entry};

/// What the names of a dump say.
#[derive(Debug, Default)]
pub(super) struct Matched {
    pub(super) taken: Vec<Planned>,
    pub(super) spare: Vec<Unmatched>,
    pub(super) unmatched: Vec<Unmatched>,
    /// Forward and name of tensors that hold ids.
    pub(super) id_tensors: Vec<(usize, String)>,
    pub(super) notes: Vec<String>,
    /// Tensors of names that another tensor has the activation of: some names have another use.
    pub(super) doubles: Vec<Planned>,
    /// What the names ask for that the model does not have.
    pub(super) absent: Vec<Absent>,
    /// The layers that an array of all hidden states says the model has.
    pub(super) stacked: Option<usize>,
    /// Why the first rule of the map that says what cannot be is wrong.
    pub(super) refused: Option<Error>,
}

/// A claim on an activation; of several the smallest rank wins.
struct Claim<'a> {
    rank: usize,
    entry: &'a Entry,
    /// Which piece of it, where it holds several activations.
    part: Option<Part>,
    forward: usize,
    site: Site,
    flavour: Flavour,
    expression: Option<Expression>,
}

impl<'a> Claim<'a> {
    /// One of the arrays along the first axis of a tensor.
    fn of_stack(entry: &'a Entry, index: usize, forward: usize, site: Site, flavour: Flavour) -> Self {
        let part = Some(Part::Of { axis: 0, index });
        Self { rank: 4, entry, part, forward, site, flavour, expression: None }
    }
}

/// The tensors of one name that ggml repeats: name and layer, in the order they were written.
type Repeats<'a> = BTreeMap<(String, usize), (Site, Site, Vec<(usize, &'a Entry)>)>;

/// Finds the activation of every tensor.
pub(super) fn matching(archive: &Archive, graph: &Graph, map: Option<&Map>) -> Matched {
    let mut matched = Matched::default();
    let mut claims: Vec<Claim> = Vec::new();
    let mut repeats: Repeats = BTreeMap::new();
    let mut chosen: HashMap<(usize, usize), String> = HashMap::new();
    let entries = archive.entries();
    let Naming { names, list, notes } = Naming::of(entries, graph);
    let ggml = names.iter().any(|name| GGML.contains(&name.base.as_str()));
    for (entry, name) in entries.iter().zip(names) {
        if let Some(why) = ggml.then(|| passed_over_by_ggml(&name.base)).flatten().filter(|_| map.is_none()) {
            matched.spare.push(unused(entry, why.into()));
            continue;
        }
        let forward = name.forward.unwrap_or(0);
        let plain = Name::split(&entry.name).base;
        let names = [Some(entry.name.as_str()), archive.stored_name(&entry.name), Some(&plain), Some(&name.base)];
        let mapped = map.map(|map| names.into_iter().flatten().map(|name| map.find(name, graph)));
        let mapped = mapped.and_then(|mut found| found.find(|found| !found.is_empty())).unwrap_or_default();
        if !mapped.is_empty() {
            for mapped in mapped {
                match claimed(entry, mapped, forward, graph, &mut matched) {
                    Ok(claim) => claims.extend(claim),
                    Err(problem) => {
                        let (file, name) = (entry.file.clone(), entry.name.clone());
                        matched.refused.get_or_insert(Error::Tensor { file, name, problem });
                    }
                }
            }
            continue;
        }
        let integers = !entry.dtype.is_float();
        if let Some(parts) = parts(entry, &name, graph, &mut matched) {
            claims.extend(parts);
            continue;
        }
        let meaning = match name.base.parse() {
            Ok(index) if list => hidden_state(index, graph),
            _ => meaning(&name.base, graph),
        };
        match meaning {
            Meaning::Ids => matched.id_tensors.push((forward, entry.name.clone())),
            Meaning::Ignored(why) => matched.spare.push(unused(entry, why)),
            Meaning::Chosen(layer) => {
                chosen.entry((forward, layer)).or_insert_with(|| entry.name.clone());
                matched.spare.push(unused(entry, "ids of experts".into()));
            }
            Meaning::Unknown => matched.unmatched.push(unmatched(entry, None, &name.base, graph)),
            Meaning::Absent(absent) => {
                if !integers {
                    matched.absent.push(absent);
                }
                matched.unmatched.push(unmatched(entry, Some(absent.why(graph)), &name.base, graph));
            }
            Meaning::Site(..) | Meaning::Repeated(..) if integers => {
                let reason = format!("it holds {}, no floating point numbers", entry.dtype.name());
                matched.unmatched.push(unmatched(entry, Some(reason), &name.base, graph));
            }
            Meaning::Site(site, flavour) => {
                let kind = if flavour == Flavour::Canonical { 1 } else { 2 + usize::from(flavour != Flavour::Alias) };
                let rank = name.repeat.saturating_sub(1).saturating_mul(10).saturating_add(kind);
                claims.push(Claim { rank, entry, part: None, forward, site, flavour, expression: None });
            }
            Meaning::Repeated(projection, rotated) => {
                let group = repeats.entry((name.base.clone(), forward)).or_insert((projection, rotated, Vec::new()));
                group.2.push((name.repeat, entry));
            }
        }
    }
    settle_repeats(repeats, graph, &mut claims, &mut matched);
    matched.notes.extend(notes);
    if claims.iter().any(|claim| claim.entry.name.contains("hook_")) {
        matched.notes.push(
            "names of TransformerLens: from_pretrained folds norm weights into the matrices, use from_pretrained_no_processing"
                .into(),
        );
    }
    settle(claims, graph, &chosen, &mut matched);
    matched
}

/// What the map makes of a tensor; none where it is to be passed over. An error is why it cannot be what the map says.
fn claimed<'a>(
    entry: &'a Entry,
    mapped: Mapped,
    forward: usize,
    graph: &Graph,
    matched: &mut Matched,
) -> Result<Option<Claim<'a>>, String> {
    let Mapped::To { name, slice, expression } = mapped else {
        matched.spare.push(unused(entry, "the map says so".into()));
        return Ok(None);
    };
    let target = Name::split(&name);
    let forward = target.forward.unwrap_or(forward);
    let why = match canonical(&target.base, graph) {
        Meaning::Site(site, flavour) => {
            let piece = |slice: Slice| {
                let no_such = || format!("has shape {:?}, which lacks what the map takes of it", entry.shape);
                slice.of(&entry.shape).ok_or_else(no_such)
            };
            let part = slice.map(piece).transpose()?;
            return Ok(Some(Claim { rank: 0, entry, part, forward, site, flavour, expression }));
        }
        Meaning::Absent(absent) => {
            matched.absent.push(absent);
            absent.why(graph)
        }
        _ => "there is no such activation".into(),
    };
    Err(format!("is taken for \"{}\" by the map, but {why}", shown(&target.base)))
}

/// The activations that lie one behind the other in an array, if it holds as many as the model has; or keys and values.
fn parts<'a>(entry: &'a Entry, name: &Name, graph: &Graph, matched: &mut Matched) -> Option<Vec<Claim<'a>>> {
    let layer = index_in(&normal(&name.base), KEYS_AND_VALUES).filter(|_| entry.dtype.is_float());
    if let (Some(layer), [2, _, _, _, ..]) = (layer, entry.shape.as_slice()) {
        let keys = if graph.has(Role::KRope) { Role::KRope } else { Role::KProj };
        let claim = |(part, role): (usize, Role)| {
            let (forward, flavour) = (name.forward.unwrap_or(0), Flavour::Alias);
            let site = graph.in_layer(layer, role)?;
            Some(Claim::of_stack(entry, part, forward, site, flavour))
        };
        return [keys, Role::VProj].into_iter().enumerate().map(claim).collect();
    }
    let indexed = stacked(&name.base).filter(|_| entry.dtype.is_float())?;
    let [count, _, _, ..] = *entry.shape.as_slice() else { return None };
    let layers = indexed.layers(count);
    matched.stacked = matched.stacked.max(layers);
    if layers != Some(graph.layers()) {
        return None;
    }
    matched.notes.push(format!("{} is a stack of {count}: read one by one", shown(&entry.name)));
    let forward = name.forward.unwrap_or(0);
    let claim = |part: usize| match indexed.meaning(part, graph) {
        Meaning::Site(site, flavour) => Some(Claim::of_stack(entry, part, forward, site, flavour)),
        _ => None,
    };
    Some((0..count).filter_map(claim).collect())
}

/// Gives each tensor of a repeated name its activation.
fn settle_repeats<'a>(repeats: Repeats<'a>, graph: &Graph, claims: &mut Vec<Claim<'a>>, matched: &mut Matched) {
    for ((_, forward), (projection, rotated, mut tensors)) in repeats {
        tensors.sort_by_key(|(repeat, _)| *repeat);
        let tensors: Vec<&Entry> = tensors.into_iter().map(|(_, entry)| entry).collect();
        for (place, site) in repeated(&tensors, projection, rotated, graph).into_iter().enumerate() {
            let Some(entry) = tensors.get(place).copied() else { continue };
            match site {
                Some(site) => {
                    let flavour = Flavour::Alias;
                    claims.push(Claim { rank: 2, entry, part: None, forward, site, flavour, expression: None });
                }
                None => matched.spare.push(unused(entry, "between the product and the rotation".into())),
            }
        }
    }
}

/// Nodes that every graph of llama.cpp has and nobody else.
const GGML: [&str; 4] = ["result_norm", "result_output", "attn_norm-0", "ffn_inp-0"];

/// Nodes of ggml that are no activations: why.
fn passed_over_by_ggml(base: &str) -> Option<&'static str> {
    let number = |rest: &str| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit());
    let numbered = |prefix: &str| base.strip_prefix(prefix).is_some_and(number);
    if base == "norm" || numbered("norm-") {
        Some("before the norm's weight, in ggml")
    } else if numbered("node_") || numbered("leaf_") {
        Some("a node of ggml without a name")
    } else {
        None
    }
}

/// Which activation each tensor of a repeated ggml name is. The last is after the rotation. Before it stand the product,
/// the product plus bias where the model has one, and what else was given the name.
fn repeated(tensors: &[&Entry], projection: Site, rotated: Site, graph: &Graph) -> Vec<Option<Site>> {
    let last = tensors.len().saturating_sub(1);
    let mut sites = vec![None; tensors.len()];
    let biased = matches!(graph[projection].op, Op::Linear { bias: Some(_), .. });
    let (first, end) = if projection == rotated {
        (last, None)
    } else if let [only] = tensors {
        // A program that keeps one tensor per name keeps the last; it is per head then.
        let per_head = only.shape.iter().filter(|n| **n != 1).count() >= 3;
        if per_head { (usize::MAX, Some(0)) } else { (0, None) }
    } else {
        (usize::from(biased && last >= 2), Some(last))
    };
    if let Some(site) = sites.get_mut(first) {
        *site = Some(projection);
    }
    if let Some(site) = end.and_then(|end| sites.get_mut(end)) {
        *site = Some(rotated);
    }
    sites
}

/// Gives every activation to the best of its claims.
fn settle(mut claims: Vec<Claim>, graph: &Graph, chosen: &HashMap<(usize, usize), String>, matched: &mut Matched) {
    claims.sort_by_key(|claim| claim.rank);
    let mut owners: HashMap<(usize, Site), String> = HashMap::new();
    for claim in claims {
        let Claim { rank, entry, part, forward, site, flavour, expression } = claim;
        let node = &graph[site];
        let planned = |chosen: Option<String>| Planned {
            stored: part.and_then(|part| part.shape(&entry.shape)).unwrap_or_else(|| entry.shape.clone()),
            part,
            mapped: rank == 0,
            by_convention: flavour == Flavour::LastHiddenState,
            flavour,
            expression: expression.clone(),
            chosen,
            ..Planned::of(entry, site, forward, graph)
        };
        if let Some(owner) = owners.get(&(forward, site)) {
            matched.spare.push(unused(entry, format!("{} is taken for {}", shown(owner), node.name)));
            matched.doubles.push(planned(None));
            continue;
        }
        let ids = node.layer.filter(|_| flavour == Flavour::Ranked).map(|layer| chosen.get(&(forward, layer)).cloned());
        if ids == Some(None) {
            matched.spare.push(unused(entry, "of which experts it is, ffn_moe_topk would tell".into()));
            continue;
        }
        owners.insert((forward, site), entry.name.clone());
        matched.taken.push(planned(ids.flatten()));
    }
    if let (Some(last), Some(block)) =
        (matched.taken.iter().find(|planned| planned.by_convention), graph.entering(graph.layers()))
    {
        let (taken, block) = (&last.activation, graph.name(block));
        let note = format!("{} is taken for {taken}, as Hugging Face has it, not for {block}", shown(&last.name));
        matched.notes.push(note);
    }
}

fn unused(entry: &Entry, reason: String) -> Unmatched {
    Unmatched { name: entry.name.clone(), shape: entry.shape.clone(), reason: Some(reason), guesses: Vec::new() }
}

fn unmatched(entry: &Entry, reason: Option<String>, base: &str, graph: &Graph) -> Unmatched {
    let guesses = if reason.is_none() { guesses(base, graph) } else { Vec::new() };
    Unmatched { name: entry.name.clone(), shape: entry.shape.clone(), reason, guesses }
}
