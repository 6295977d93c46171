//! A map for the tensors that no rule of names takes: what equals them in our own pass over the ids of the dump.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use ndarray::ArrayD;

use super::Dump;
use super::error::{Error, shown};
use super::name::Name;
use super::naming::numbers;
use super::plan::Planned;
use super::unnamed::Recognised;
use super::uses::{distance, stored_frame};
use crate::engine::{Graph, LogitRows, Run, Site};
use crate::formats::{Array, Entry};
use crate::model::Model;

/// Tensors that are farther apart than this are not the same.
const SAME: f64 = 1e-2;

/// The text of a map file for the tensors that no rule of names takes; the ids are bound. Of those that are recognised by
/// their values, layers have one line; of the others, those of the first forward are compared, and what equals nothing
/// stands there as a comment.
pub fn suggested_map(dump: &Dump, model: &Arc<Model>, ids: &[u32]) -> Result<String, Error> {
    let Some(prompt) = dump.steps.first().and_then(|tokens| ids.get(..*tokens)) else {
        return Err(Error::Unbound { file: dump.archive.path().to_owned() });
    };
    let Some(frame) = stored_frame(dump, &dump.steps) else { return Ok(String::new()) };
    let unknown: Vec<_> = dump.unmatched.iter().chain(&dump.set_aside).collect();
    let entry = |name: &str| dump.archive.entries().iter().find(|entry| entry.name == name);
    let mut found: Vec<Option<(f64, Site)>> = vec![None; unknown.len()];
    let mut tensors: Vec<Option<(&Entry, ArrayD<f32>)>> = Vec::with_capacity(unknown.len());
    for unknown in &unknown {
        let entry = entry(&unknown.name).filter(|entry| entry.dtype.is_float());
        let values = entry.map(|entry| dump.archive.read(&entry.name)).transpose()?;
        tensors.push(entry.zip(values.map(Array::into_f32)));
    }
    let mut run = Run::new(Arc::clone(model), prompt, LogitRows::All);
    while let Some(site) = run.step() {
        let Some(ours) = run.get(site) else { continue };
        for (tensor, found) in tensors.iter().zip(&mut found) {
            let Some((entry, values)) = tensor else { continue };
            let apart = distance(dump, (&Planned::of(entry, site, 0, &dump.graph), values), site, ours, frame);
            let free = |site| dump.planned(0, site).is_none();
            // Of equals, one that the dump does not have under its name.
            let better =
                found.is_none_or(|(least, at)| apart < least || (apart <= 2.0 * least && !free(at) && free(site)));
            if apart < SAME && better {
                *found = Some((apart, site));
            }
        }
    }
    let mut text = String::from("# What the tensors are that no rule knows, by comparing them with our own pass.\n");
    for recognised in &dump.recognised {
        text.push_str(&lines(dump, recognised));
    }
    for (unknown, found) in unknown.iter().zip(found) {
        let name = serde_json::Value::String(unknown.name.clone());
        let _ = match found {
            Some((apart, site)) if dump.planned(0, site).is_some() => {
                let (name, short) = (shown(&unknown.name), dump.graph.short(site));
                writeln!(text, "# {name} equals {short} to {apart:.1e}, which is there under its name")
            }
            Some((apart, site)) => {
                let is = serde_json::Value::String(dump.graph.name(site).to_string());
                writeln!(text, "{name} = {is}  # equals {} to {apart:.1e}", dump.graph.short(site))
            }
            None => writeln!(text, "# {} {:?}: equals nothing", shown(&unknown.name), unknown.shape),
        };
    }
    Ok(text)
}

/// The lines of tensors that are alike: one where the layer's number is all that differs, else one for each.
fn lines(dump: &Dump, recognised: &Recognised) -> String {
    let quoted = |text: &str| serde_json::Value::String(text.to_owned()).to_string();
    if let Some((pattern, name)) = pattern(dump, recognised) {
        return format!("{} = {}\n", quoted(&pattern), quoted(&name));
    }
    let (mut text, mut said) = (String::new(), BTreeSet::new());
    for (name, _, part, site) in &recognised.tensors {
        let base = Name::split(name).base;
        let stored =
            dump.archive.entries().iter().find(|entry| entry.name == *name).map(|entry| entry.shape.as_slice());
        let piece = part.map(|part| part.in_a_map(stored.unwrap_or_default()));
        let line = match piece {
            Some(None) => format!("# {}: columns by heads, for which a map has no words", shown(&recognised.pattern)),
            Some(Some(piece)) => format!("{} = {}", quoted(&(base + &piece)), quoted(dump.graph.name(*site))),
            None => format!("{} = {}", quoted(&base), quoted(dump.graph.name(*site))),
        };
        // The forwards of a name have the same line.
        if said.insert(line.clone()) {
            let _ = writeln!(text, "{line}");
        }
    }
    text
}

/// A pattern for all of them, and for nothing else in the dump, and the name that it stands for.
fn pattern(dump: &Dump, recognised: &Recognised) -> Option<(String, String)> {
    let (before, behind) = recognised.pattern.split_once("{}")?;
    let (tensor, number, part, first) = recognised.tensors.first()?;
    let stored = dump.archive.entries().iter().find(|entry| entry.name == *tensor)?;
    let piece = part.map_or_else(|| Some(String::new()), |part| part.in_a_map(&stored.shape))?;
    let behind = behind.strip_suffix(piece.as_str())?;
    let name = in_layers(&dump.graph, *first, if recognised.from == 0 { "{N}" } else { "{N-1}" })?;
    let is_plain = !behind.contains(['{', '*']) && !before.contains(['{', '*']);
    let is_like = |name: &str| {
        let base = Name::split(name).base;
        let number = base.strip_prefix(before).and_then(|rest| rest.strip_suffix(behind));
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let taken: BTreeSet<&str> = recognised.tensors.iter().map(|(name, ..)| name.as_str()).collect();
    let mut alike = dump.archive.entries().iter().filter(|entry| is_like(&entry.name));
    let fits = number.is_some() && is_plain && alike.all(|entry| taken.contains(entry.name.as_str()));
    fits.then(|| (format!("{before}{{N}}{behind}{piece}"), name))
}

/// The names of an op in all layers, with `mark` for the layer's number.
fn in_layers(graph: &Graph, site: Site, mark: &str) -> Option<String> {
    let [first, second] = [0, 1].map(|layer| graph.twin(site, layer).map(|twin| graph.name(twin)));
    let (first, second) = first.zip(second)?;
    let with = |run: &std::ops::Range<usize>, text: &str| format!("{}{text}{}", &first[..run.start], &first[run.end..]);
    let run = numbers(first).into_iter().find(|run| with(run, "1") == second)?;
    Some(with(&run, mark))
}
