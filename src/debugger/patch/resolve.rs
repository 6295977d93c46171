//! From what was asked for to what is changed: names looked up, indices checked, values read.

use std::ops::RangeInclusive;
use std::path::Path;

use ndarray::{ArrayD, ArrayViewD, IxDyn};

use super::request::{Amount, Change, Half, PatchRequest, Place, Source, Unit};
use crate::debugger::state::Debugger;
use crate::debugger::view::Witness;
use crate::engine::{self, Feed, Graph, Op, Patch, Role, Site, Tokens};
use crate::formats::Archive;

/// What is changed, and what the user should know about it.
type Resolved = (Vec<Patch>, Vec<String>);

/// What a request changes: at least one element.
pub(super) fn resolve(debugger: &Debugger, request: &PatchRequest) -> Result<Resolved, String> {
    match request {
        PatchRequest::Patch { activation, place, change } => {
            resolve_at(debugger, debugger.sites(activation)?, place, change)
        }
        PatchRequest::Ablate { activations, place } => {
            let sites = activations.iter().map(|name| debugger.sites(name)).collect::<Result<Vec<_>, _>>()?.concat();
            resolve_at(debugger, sites, place, &Change::Zero)
        }
        PatchRequest::AblateUnits { unit: Unit::Head, of, place } => {
            let mut patches = Vec::new();
            for (layer, heads) in of {
                let sites = debugger.sites(&format!("{layer}.{}", Role::Context.short()))?;
                let mut place = place.clone();
                place.part.heads = Some(heads.clone());
                patches.extend(resolve_at(debugger, sites, &place, &Change::Zero)?.0);
            }
            Ok((patches, Vec::new()))
        }
        PatchRequest::AblateUnits { unit: Unit::Expert, of, place } => {
            let mut patches = Vec::new();
            for (layer, experts) in of {
                let (site, _) = routing(debugger.graph(), *layer, experts)?;
                let mut place = place.clone();
                place.part.channels = Some(experts.clone());
                patches.extend(resolve_at(debugger, vec![site], &place, &Change::Zero)?.0);
            }
            Ok((patches, Vec::new()))
        }
        PatchRequest::Force { experts, place } => force(debugger, experts, place).map(|patches| (patches, Vec::new())),
        PatchRequest::Skip { parts, place } => {
            let (graph, mut sites) = (debugger.graph(), Vec::new());
            for (layer, half) in parts {
                if *layer >= graph.layers() {
                    return Err(format!("there is no layer {layer}: they are 0 to {}", graph.layers() - 1));
                }
                let added = graph.added(*layer);
                sites.extend(match half {
                    Half::Both => &added[..],
                    Half::Attention => &added[..1.min(added.len())],
                    Half::Mlp => &added[added.len().saturating_sub(1)..],
                });
            }
            resolve_at(debugger, sites, place, &Change::Zero)
        }
        PatchRequest::Heal { activation, place } => {
            let dumps = &debugger.session.dumps;
            if dumps.reference.is_none() && dumps.candidate.is_some() {
                return Err(format!(
                    "there is no reference to heal from, only a candidate: patch {activation}{place} from candidate \
                     takes its values"
                ));
            }
            resolve_at(debugger, debugger.sites(activation)?, place, &Change::From(Source::Reference))
        }
    }
}

/// The op that chooses among the experts of a layer, which has these, and how many it chooses.
fn routing(graph: &Graph, layer: usize, experts: &RangeInclusive<usize>) -> Result<(Site, usize), String> {
    if layer >= graph.layers() {
        return Err(format!("there is no layer {layer}: they are 0 to {}", graph.layers() - 1));
    }
    let router = |site: Site| match &graph[site].op {
        Op::Route { router, .. } if graph[site].layer == Some(layer) => Some((site, router.top_k)),
        _ => None,
    };
    let Some((site, top_k)) = graph.sites().find_map(router) else {
        return Err(match graph.sites().find(|site| matches!(graph[*site].op, Op::Route { .. })) {
            None => "this model has no experts".into(),
            Some(_) => format!("layer {layer} has no experts"),
        });
    };
    let count = graph[site].axes.last().map_or(0, |axis| axis.length(0, 0));
    if *experts.end() >= count {
        return Err(format!("layer {layer} has no expert {}: they are 0 to {}", experts.end(), count - 1));
    }
    Ok((site, top_k))
}

/// Experts are chosen for the tokens of a place.
fn force(debugger: &Debugger, experts: &[(usize, RangeInclusive<usize>)], place: &Place) -> Result<Vec<Patch>, String> {
    check_place(debugger, place)?;
    let mut patches: Vec<Patch> = Vec::new();
    for (layer, numbers) in experts {
        let (site, top_k) = routing(debugger.graph(), *layer, numbers)?;
        let known = patches.iter_mut().find(|patch| patch.site == site);
        let mut chosen: Vec<usize> = match known.as_ref().map(|patch| &patch.change) {
            Some(engine::Change::Choose(chosen)) => chosen.clone(),
            _ => Vec::new(),
        };
        chosen.extend(numbers.clone().filter(|expert| !chosen.contains(expert)).collect::<Vec<usize>>());
        if chosen.len() > top_k {
            return Err(format!("layer {layer} gives a token {top_k} experts, not {}", chosen.len()));
        }
        let change = engine::Change::Choose(chosen);
        match known {
            Some(patch) => patch.change = change,
            None => patches.push(Patch { site, forward: place.step, part: place.part.clone(), change }),
        }
    }
    let untouched = |patch: &&Patch| !debugger.pass.fed.feeds().any(|feed| debugger.pass.touches(patch, feed));
    match patches.iter().find(untouched) {
        Some(patch) => Err(nothing(debugger, patch, place)),
        None => Ok(patches),
    }
}

fn resolve_at(debugger: &Debugger, sites: Vec<Site>, place: &Place, change: &Change) -> Result<Resolved, String> {
    check_place(debugger, place)?;
    let mut file = match change {
        Change::From(Source::File(path)) => Some(File::open(path)?),
        _ => None,
    };
    let (mut patches, mut notes) = (Vec::new(), Vec::new());
    for site in sites {
        place.part.check(site, debugger.graph())?;
        let part = place.part.clone();
        let patch = Patch { site, forward: place.step, part, change: plain(change) };
        let feeds: Vec<Feed> = debugger.pass.fed.feeds().filter(|feed| debugger.pass.touches(&patch, *feed)).collect();
        if feeds.is_empty() {
            return Err(nothing(debugger, &patch, place));
        }
        let Change::From(source) = change else {
            patches.push(patch);
            continue;
        };
        let before = patches.len();
        for feed in feeds {
            let values = match (source, &mut file) {
                (Source::File(_), Some(file)) => file_values(debugger, file, &patch, feed)?,
                (Source::Candidate, _) => Some(dump_values(debugger, Witness::Candidate, &patch, feed, &mut notes)?),
                _ => Some(dump_values(debugger, Witness::Reference, &patch, feed, &mut notes)?),
            };
            patches.extend(values.map(|values| {
                let change = engine::Change::Put(values.into_shared());
                Patch { forward: Some(feed.forward), change, ..patch.clone() }
            }));
        }
        if let (Some(file), true) = (&file, patches.len() == before) {
            let (path, name) = (&file.path, debugger.graph().name(site));
            return Err(format!("{path} has no {name}: layerstep inspect {path} lists what it has"));
        }
    }
    Ok((patches, notes))
}

/// Steps, tokens and keys must be of the session.
fn check_place(debugger: &Debugger, place: &Place) -> Result<(), String> {
    let (forwards, tokens) = (debugger.pass.fed.forwards(), debugger.pass.fed.ids().len());
    let within = |range: &RangeInclusive<usize>, word: &str| {
        let last = tokens - 1;
        if *range.end() > last {
            Err(format!("there is no {word} {}: they are 0 to {last}", range.end()))
        } else {
            Ok(())
        }
    };
    if let Tokens::At(positions) = &place.part.tokens {
        within(positions, "token")?;
    }
    if let Some(keys) = &place.part.keys {
        within(keys, "key")?;
    }
    match place.step {
        Some(step) if forwards == 1 && step > 0 => {
            Err(format!("there is no step {step}: nothing was decoded, all tokens are of step 0"))
        }
        Some(step) if step >= forwards => Err(format!("there is no step {step}: they are 0 to {}", forwards - 1)),
        _ => Ok(()),
    }
}

/// Why a patch of indices that exist changes nothing.
fn nothing(debugger: &Debugger, patch: &Patch, place: &Place) -> String {
    let graph = debugger.graph();
    let name = graph.short(patch.site);
    match place.step.and_then(|step| debugger.pass.fed.feeds().nth(step)) {
        Some(feed) if patch.picked(graph, feed).rows().is_empty() => {
            let last = feed.first + feed.tokens - 1;
            format!("step {} feeds tokens {} to {last}: none of them is meant", feed.forward, feed.first)
        }
        _ => format!("the mask hides all of {name}{place}"),
    }
}

/// What a dump has of an activation in one forward: every element that is to be put in place.
fn dump_values(
    debugger: &Debugger,
    witness: Witness,
    patch: &Patch,
    feed: Feed,
    notes: &mut Vec<String>,
) -> Result<ArrayD<f32>, String> {
    let (site, role, graph) = (patch.site, witness.name(), debugger.graph());
    let (node, name) = (&graph[site], graph.short(site));
    let at = if feed.forward == 0 { String::new() } else { format!(" in step {}", feed.forward) };
    let Some(dump) = debugger.session.dump(witness) else {
        return Err(format!("there is no {role}: give its dump as --{role}"));
    };
    let aligned = dump
        .read(feed.forward, site, clean_value(debugger, site, feed))
        .map_err(|error| debugger.session.unreadable(&error))?
        .ok_or_else(|| format!("the {role} does not have {name}{at}"))?;
    notes.extend(aligned.notes.iter().map(|note| format!("{role}: {name}{at}: {note}")));
    let part = aligned.part;
    let picked = patch.picked(graph, feed);
    let lacking: Vec<usize> = picked.rows().iter().copied().filter(|row| !part.rows.contains(row)).collect();
    if let (Some(row), count) = (lacking.first(), lacking.len()) {
        let more = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
        return Err(format!("the {role} does not have token {}{more} of {name}{at}", feed.first + row));
    }
    let shape = node.shape(feed.tokens, feed.first + feed.tokens);
    let stored = part.values.shape()[shape.len() - 1];
    let columns = part.first_key..part.first_key + stored;
    for row in picked.rows() {
        if let Some(key) = picked.columns(*row).into_iter().find(|column| !columns.contains(column)) {
            return Err(format!("the {role} does not have key {key} of {name}{at}, token {}", feed.first + row));
        }
    }
    Ok(part.spread(node, &shape))
}

/// Our own values of a forward, to find a dump's rows by; `None` where they are not there, or patched.
fn clean_value(debugger: &Debugger, site: Site, feed: Feed) -> Option<ArrayViewD<'_, f32>> {
    let patched = debugger.pass.run.patches().iter().any(|patch| patch.site == site);
    let here = feed.forward == debugger.pass.run.forward();
    debugger.ours(feed.forward, site).filter(|_| here && !patched).map(|value| value.view())
}

/// What a file has for one forward of an activation; `None` where another forward or activation must be meant.
fn file_values(debugger: &Debugger, file: &mut File, patch: &Patch, feed: Feed) -> Result<Option<ArrayD<f32>>, String> {
    let graph = debugger.graph();
    let Some(values) = file.read(graph, patch.site, feed)? else { return Ok(None) };
    let whole = graph[patch.site].shape(feed.tokens, feed.first + feed.tokens);
    let picked = patch.picked(graph, feed);
    // Axes of one element come and go when arrays are saved.
    let squeezed = |shape: &[usize]| shape.iter().copied().filter(|length| *length != 1).collect::<Vec<_>>();
    let found = values.shape().to_vec();
    let shaped = |values: ArrayD<f32>, shape: &[usize]| values.into_shape_with_order(IxDyn(shape)).ok();
    let values = values.as_standard_layout().into_owned();
    let fitted = if squeezed(&found) == squeezed(&whole) {
        shaped(values, &whole)
    } else if squeezed(&found) == squeezed(&picked.shape()) {
        shaped(values, &picked.shape()).map(|part| picked.spread(&part, &whole))
    } else {
        None
    };
    fitted.map(Some).ok_or_else(|| {
        let (path, name, part) = (&file.path, graph.short(patch.site), picked.shape());
        let or = if part == whole { String::new() } else { format!(", or {part:?} for the part") };
        format!("{path} has an array of shape {found:?} where {name} has {whole:?}{or}")
    })
}

/// A change that needs no values; zero stands for those that do.
fn plain(change: &Change) -> engine::Change {
    match change {
        Change::Zero | Change::From(_) => engine::Change::Zero,
        Change::Mean => engine::Change::Mean,
        Change::Scale(Amount(by)) => engine::Change::Scale(*by),
        Change::Set(Amount(to)) => engine::Change::Set(*to),
        Change::Add(Amount(more)) => engine::Change::Add(*more),
    }
}

/// A file that values are taken from.
struct File {
    path: String,
    archive: Archive,
    /// Whether an array has been taken.
    taken: bool,
}

impl File {
    fn open(path: &str) -> Result<Self, String> {
        let archive = Archive::open(Path::new(path)).map_err(|error| error.to_string())?;
        Ok(Self { path: path.into(), archive, taken: false })
    }

    /// The array that bears the activation's name, `@1` after it in the first decode step; else the only one of the file,
    /// which is that of the first forward and activation that are asked for.
    fn read(&mut self, graph: &Graph, site: Site, feed: Feed) -> Result<Option<ArrayD<f32>>, String> {
        let step = if feed.forward == 0 { String::new() } else { format!("@{}", feed.forward) };
        let names = [graph.name(site), graph.short(site)].map(|name| format!("{name}{step}"));
        let entries = self.archive.entries();
        let named = entries.iter().find(|entry| names.contains(&entry.name)).map(|entry| entry.name.clone());
        let only = || match entries {
            [only] if !self.taken => Some(only.name.clone()),
            _ => None,
        };
        let Some(name) = named.or_else(only) else { return Ok(None) };
        let values = self.archive.read(&name).map_err(|error| error.to_string())?.into_f32();
        self.taken = true;
        Ok(Some(values))
    }
}
