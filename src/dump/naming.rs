//! What the names of a dump have in common, read before any of them is: counters before them, the indices that `generate`
//! of transformers puts behind them, and those that an array of many lacks.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use super::alias::{INDEXED, Indexed, PER_STEP};
use super::name::{Absent, Flavour, Meaning, Name, hidden_state, meaning, normal, placed};
use crate::engine::Graph;
use crate::formats::Entry;

/// The names of a dump.
pub(super) struct Naming {
    /// Each tensor's, in the order of the archive.
    pub(super) names: Vec<Name>,
    /// It is a bare list of Hugging Face's hidden states, or one for each forward: the names are their indices.
    pub(super) list: bool,
    pub(super) notes: Vec<String>,
}

impl Naming {
    /// Reads the names of all entries together.
    pub(super) fn of(entries: &[Entry], graph: &Graph) -> Naming {
        let mut names: Vec<Name> = entries.iter().map(|entry| Name::split(&entry.name)).collect();
        let mut notes = Vec::new();
        let mut list = is_list(&names, graph.layers() + 1);
        if list {
            notes.push("a list of one more tensor than layers: read as Hugging Face's hidden states".into());
        } else if let Some(nested) = nested_list(&names, graph.layers() + 1) {
            (names, list) = (nested, true);
            notes.push("a list of forwards, each of one more tensor than layers: read as the hidden states that generate gives".into());
        } else if let Some(indexed) = by_step(&names) {
            names = indexed;
            notes.push(
                "two indices behind hidden_states: read as the forward and the state, as generate gives them".into(),
            );
        } else if let Some(plain) = without_counters(entries, &names, graph) {
            names = plain;
            notes.push("the names begin with a counter, which was passed over".into());
        }
        if let Some(lower) = from_zero(&names, graph) {
            names = lower;
            notes.push(format!(
                "its layers are numbered from 1 to {}: read as 0 to {}",
                graph.layers(),
                graph.layers() - 1
            ));
        }
        Naming { names, list, notes }
    }
}

/// The layer that a name says, as its number stands there.
fn layer_of(base: &str, graph: &Graph) -> Option<usize> {
    match meaning(base, graph) {
        Meaning::Site(site, _) | Meaning::Repeated(site, _) => graph[site].layer,
        Meaning::Chosen(layer) | Meaning::Absent(Absent::Layer(layer) | Absent::Role(Some(layer), _)) => Some(layer),
        _ => None,
    }
}

/// The names with each layer's number one less, where they are numbered from 1: there is one for the number of layers, and
/// none for 0. Indices of hidden states count something else.
fn from_zero(names: &[Name], graph: &Graph) -> Option<Vec<Name>> {
    let is_index = |base: &str| {
        let normal = normal(base);
        let stems = INDEXED.iter().flat_map(|(_, patterns)| patterns.iter()).filter_map(|name| name.split_once("{}"));
        stems.into_iter().any(|(stem, _)| normal.starts_with(stem))
    };
    let lower = |name: &Name| {
        let layer = layer_of(&name.base, graph)?;
        let runs = numbers(&name.base).into_iter().filter(|run| name.base[run.clone()].parse() == Ok(layer));
        let lowered = |run: Range<usize>| {
            let width = run.len();
            let base = format!("{}{:0width$}{}", &name.base[..run.start], layer.checked_sub(1)?, &name.base[run.end..]);
            (layer_of(&base, graph) == Some(layer - 1)).then_some(base)
        };
        Some((layer, runs.into_iter().find_map(lowered)))
    };
    let told: Vec<Option<(usize, Option<String>)>> =
        names.iter().map(|name| if is_index(&name.base) { None } else { lower(name) }).collect();
    let layers = || told.iter().flatten().map(|(layer, _)| *layer);
    if layers().min()? != 1 || layers().max()? != graph.layers() {
        return None;
    }
    let lowered = names.iter().zip(told).map(|(name, told)| match told {
        Some((_, Some(base))) => Name { base, ..name.clone() },
        _ => name.clone(),
    });
    Some(lowered.collect())
}

/// The places of the numbers in a name.
pub(super) fn numbers(name: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for (at, _) in name.bytes().enumerate().filter(|(_, byte)| byte.is_ascii_digit()) {
        match found.last_mut() {
            Some(last) if last.end == at => last.end += 1,
            _ => found.push(at..at + 1),
        }
    }
    found
}

/// A name with `{}` in the place of each of its numbers in turn, and that number.
pub(super) fn patterns(name: &str) -> Vec<(String, usize)> {
    let pattern = |at: Range<usize>| {
        let number = name[at.clone()].parse().ok()?;
        Some((format!("{}{{}}{}", &name[..at.start], &name[at.end..]), number))
    };
    numbers(name).into_iter().filter_map(pattern).collect()
}

/// Whether the names are the indices below `count`, in every forward.
fn is_list(names: &[Name], count: usize) -> bool {
    let mut found: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for name in names {
        let Some(index) = index(&name.base).filter(|index| *index < count) else { return false };
        if !found.entry(name.forward.unwrap_or(0)).or_default().insert(index) {
            return false;
        }
    }
    !found.is_empty() && found.values().all(|indices| indices.len() == count)
}

/// `3.1` of every name as state 1 of forward 3.
fn nested_list(names: &[Name], count: usize) -> Option<Vec<Name>> {
    let nested = names.iter().map(|name| {
        let (forward, state) = name.base.split_once('.').filter(|_| name.forward.is_none())?;
        index(state)?;
        Some(Name { base: state.to_owned(), forward: Some(index(forward)?), repeat: name.repeat })
    });
    let nested: Vec<Name> = nested.collect::<Option<_>>()?;
    is_list(&nested, count).then_some(nested)
}

/// `hidden_states.3.1` as state 1 of forward 3, and what else there is for every forward then.
fn by_step(names: &[Name]) -> Option<Vec<Name>> {
    let stems = || INDEXED.iter().flat_map(|(_, patterns)| patterns.iter()).filter_map(|name| name.strip_suffix("_{}"));
    let two = |name: &Name| {
        let normal = normal(&name.base);
        stems().find_map(|stem| {
            let (forward, state) = normal.strip_prefix(stem)?.strip_prefix('_')?.split_once('_')?;
            Some(Name {
                base: format!("{stem}_{}", index(state)?),
                forward: Some(index(forward)?),
                repeat: name.repeat,
            })
        })
    };
    let one = |name: &Name| {
        let normal = normal(&name.base);
        PER_STEP.iter().find_map(|(stem, base)| {
            let forward = index(normal.strip_prefix(stem)?.strip_prefix('_')?)?;
            Some(Name { base: (*base).to_owned(), forward: Some(forward), repeat: name.repeat })
        })
    };
    names
        .iter()
        .any(|name| two(name).is_some())
        .then(|| names.iter().map(|name| two(name).or_else(|| one(name)).unwrap_or_else(|| name.clone())).collect())
}

/// The names without what counts them, where more of them are known then: `00012__q_proj.3`, but not the layer of
/// `3.q_proj`. The first name coming again begins the next forward; another that does is a repeat.
fn without_counters(entries: &[Entry], names: &[Name], graph: &Graph) -> Option<Vec<Name>> {
    let counted: Vec<Option<(usize, &str)>> = names.iter().map(|name| counter(&name.base)).collect();
    let known = |base: &str| !matches!(meaning(base, graph), Meaning::Unknown);
    let both = names.iter().zip(&counted).filter_map(|(name, counted)| Some((name.base.as_str(), (*counted)?.1)));
    let (as_is, without) = both.fold((0, 0), |(as_is, without), (base, rest)| {
        (as_is + usize::from(known(base)), without + usize::from(known(rest)))
    });
    if without <= as_is {
        return None;
    }
    let mut order: Vec<usize> = (0..entries.len()).filter(|at| counted[*at].is_some()).collect();
    order.sort_by_key(|at| (names[*at].forward, counted[*at].map(|(number, _)| number)));
    let mut found = names.to_vec();
    let (mut forward, mut times): (usize, HashMap<(Option<usize>, &str), usize>) = (0, HashMap::new());
    let first = order.first().and_then(|at| counted[*at]).map(|(_, rest)| rest);
    for at in order {
        let (Some((_, rest)), told) = (counted[at], names[at].forward) else { continue };
        if told.is_none() && Some(rest) == first && times.contains_key(&(None, rest)) {
            forward += 1;
            times.clear();
        }
        let repeat = times.entry((told, rest)).or_default();
        *repeat += 1;
        let repeat = if *repeat > 1 { *repeat } else { names[at].repeat };
        found[at] = Name { base: rest.to_owned(), forward: told.or(Some(forward).filter(|n| *n > 0)), repeat };
    }
    Some(found)
}

/// The number that a name begins with, and what follows the sign behind it.
fn counter(base: &str) -> Option<(usize, &str)> {
    let rest = base.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = base.get(..base.len() - rest.len())?.parse().ok()?;
    let name = rest.trim_start_matches(['_', '-', '.', ' ']);
    (name.len() < rest.len() && !name.is_empty()).then_some((number, name))
}

fn index(text: &str) -> Option<usize> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// What an array of this name is a stack of, if it is one: names that hold an index behind them, without it.
pub(super) fn stacked(base: &str) -> Option<Indexed> {
    let name = normal(base);
    let same = |pattern: &&str| pattern.strip_suffix("_{}").is_some_and(|stem| stem == name);
    INDEXED.iter().find(|(_, patterns)| patterns.iter().any(same)).map(|(what, _)| *what)
}

impl Indexed {
    /// What the one of this index is.
    pub(super) fn meaning(self, index: usize, graph: &Graph) -> Meaning {
        match self {
            Self::HiddenState => hidden_state(index, graph),
            Self::Layer(role) => placed(Some(index), role, Flavour::Alias, graph),
        }
    }

    /// The layers of a model that has so many of them.
    pub(super) fn layers(self, count: usize) -> Option<usize> {
        match self {
            Self::HiddenState => count.checked_sub(1),
            Self::Layer(_) => Some(count),
        }
    }
}
