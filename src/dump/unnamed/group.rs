//! Tensors that are alike by their names: what the first of them is, all are.

use std::collections::{BTreeMap, HashMap};

use ndarray::{ArrayD, ArrayView1, Axis};

use crate::dump::name::Name;
use crate::dump::naming::patterns;
use crate::dump::part::Part;
use crate::dump::plan::Planned;
use crate::dump::shape::Frame;
use crate::dump::{Dump, Error};
use crate::engine::{Graph, Role, Site};
use crate::formats::Entry;

/// Values that are farther from an activation than this are not its own, in whatever precision.
const SAME: f64 = 2e-2;

/// Every other activation has to be this many times farther away.
const CLEARLY: f64 = 4.0;

/// Of two that a tensor must be one of, the nearer by this is it.
const NEARER: f64 = 2.0;

/// Rows of probabilities add up to 1 as nearly as 16 bits allow.
const SUM: f32 = 2e-2;

/// One of the tensors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    /// The number in its name, or its place in a stack.
    pub(super) number: Option<usize>,
    pub(super) forward: usize,
    /// Its place among the tensors that are not recognised.
    pub(super) at: usize,
    pub(super) part: Option<Part>,
}

impl Member {
    /// Its op, where `first` is that of the first tensor of its group, and `from` is taken from numbers to have layers.
    pub(super) fn site(&self, first: Site, from: usize, graph: &Graph) -> Option<Site> {
        match self.number.filter(|_| graph[first].layer.is_some()) {
            Some(number) => number.checked_sub(from).and_then(|layer| graph.twin(first, layer)),
            None => Some(first),
        }
    }
}

/// Tensors of one name but for the layer's number, or pieces of such.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// The name, with `{}` for the number.
    pub(super) name: String,
    pub(super) members: Vec<Member>,
    /// What its first tensor may be by its shape, and what is taken from numbers to have layers.
    pub(super) candidates: Vec<(Site, usize)>,
    /// It is one of the candidates for certain.
    pub(super) is_one: bool,
    /// How far its first tensor is from each of them.
    pub(super) found: Vec<(f64, Site, usize)>,
}

impl Group {
    pub(super) fn new(name: String, members: Vec<Member>) -> Self {
        Self { name, members, candidates: Vec::new(), is_one: false, found: Vec::new() }
    }

    /// The layers that its first tensor may be of, and what is taken from its number: names count from 0, or from 1. A
    /// number that is in one name only may as well count something else.
    fn first_layers(&self, layers: usize) -> Vec<(Option<usize>, usize)> {
        let numbers = self.members.iter().filter_map(|member| member.number);
        let Some((least, most)) = numbers.clone().min().zip(numbers.max()) else { return vec![(None, 0)] };
        let fits = |from: &usize| least >= *from && most - from < layers;
        let in_layers = [0, 1].into_iter().filter(fits).map(|from| (Some(least - from), from));
        in_layers.chain((least == most).then_some((None, 0))).collect()
    }

    /// The first of its tensors in the first forward.
    pub(super) fn first(&self) -> Option<&Member> {
        self.members.iter().filter(|member| member.forward == 0).min_by_key(|member| member.number)
    }

    /// Whether its tensors are arrays of a stack.
    pub(super) fn is_of_stack(&self) -> bool {
        self.members.iter().any(|member| matches!(member.part, Some(Part::Of { .. })))
    }

    /// Finds the ops of its layers that its first tensor fits by its shape.
    pub(super) fn look_for_ops(&mut self, dump: &Dump, frame: Frame) {
        let graph = &dump.graph;
        let layers = self.first_layers(graph.layers());
        let of_layers = layers.iter().flat_map(|(layer, from)| {
            graph.sites().filter(|site| graph[*site].layer == *layer).map(|site| (site, *from))
        });
        self.candidates = of_layers.collect();
        self.keep_what_fits(dump, frame);
    }

    /// Leaves out the candidates that its first tensor does not fit.
    pub(super) fn keep_what_fits(&mut self, dump: &Dump, frame: Frame) {
        let Some(first) = self.first().copied() else { return self.candidates.clear() };
        let fits = |site: Site| planned(dump, &first, site).is_some_and(|planned| dump.fitted(&planned, frame).is_ok());
        self.candidates.retain(|(site, _)| fits(*site));
    }

    /// The activation that is far nearer than all others.
    pub(super) fn nearest(&self) -> Option<(Site, usize)> {
        let (least, site, from) = self.found.iter().min_by(|a, b| a.0.total_cmp(&b.0)).copied()?;
        let others = |times: f64| self.found.iter().all(|(apart, other, _)| *other == site || *apart > times * least);
        let is_it = least < SAME && others(CLEARLY) || self.is_one && others(NEARER);
        is_it.then_some((site, from))
    }

    /// What a shape alone tells: rows that add up to 1 where scores have one for each key, and the only activation that is
    /// as wide as the vocabulary.
    pub(super) fn by_shape(&self, dump: &Dump, values: &ArrayD<f32>) -> Option<(Site, usize)> {
        let graph = &dump.graph;
        let is_output = |found: &[(f64, Site, usize)]| found.len() == 1 && graph.logits() == Some(found[0].1);
        let probs = || self.found.iter().find(|(_, site, _)| graph.is(*site, Role::Probs));
        let (_, site, from) = *if is_output(&self.found) { self.found.first() } else { probs() }?;
        let last = Axis(values.ndim().checked_sub(1)?);
        let adds_up = |row: ArrayView1<f32>| row.iter().all(|value| *value >= 0.0) && (row.sum() - 1.0).abs() < SUM;
        let is_log = |row: ArrayView1<f32>| (row.iter().map(|value| value.exp()).sum::<f32>() - 1.0).abs() < SUM;
        let rows = |is: &dyn Fn(ArrayView1<f32>) -> bool| values.lanes(last).into_iter().all(is);
        // Probabilities of the next token, or their logarithms, are no logits.
        let fits = if graph.is(site, Role::Probs) { rows(&adds_up) } else { !rows(&adds_up) && !rows(&is_log) };
        fits.then_some((site, from))
    }
}

/// The tensors that are not recognised, by their names but for one number each: that which most names differ in.
pub(super) fn groups(dump: &Dump) -> Vec<Group> {
    let names: Vec<Name> = dump.unmatched.iter().map(|unmatched| Name::split(&unmatched.name)).collect();
    let mut counts: HashMap<String, usize> = HashMap::new();
    for (pattern, _) in names.iter().flat_map(|name| patterns(&name.base)) {
        *counts.entry(pattern).or_default() += 1;
    }
    let mut groups: BTreeMap<String, Vec<Member>> = BTreeMap::new();
    for (at, name) in names.iter().enumerate() {
        // Of equals, the first.
        let best = patterns(&name.base).into_iter().rev().max_by_key(|(pattern, _)| counts.get(pattern).copied());
        let (pattern, number) = best.map_or((name.base.clone(), None), |(pattern, number)| (pattern, Some(number)));
        let member = Member { number, forward: name.forward.unwrap_or(0), at, part: None };
        groups.entry(pattern).or_default().push(member);
    }
    let named = |(pattern, members): (String, Vec<Member>)| {
        let one = members.windows(2).all(|pair| pair[0].number == pair[1].number);
        let own = members.first().filter(|_| one).map(|member| names[member.at].base.clone());
        Group::new(own.unwrap_or(pattern), members)
    };
    groups.into_iter().map(named).collect()
}

/// The tensor at a place among those that are not recognised, if it holds numbers of activations.
pub(super) fn entry<'a>(dump: &'a Dump, member: &Member) -> Option<&'a Entry> {
    let name = &dump.unmatched.get(member.at)?.name;
    dump.archive.entries().iter().find(|entry| entry.name == *name && entry.dtype.is_float())
}

/// A member as the tensor of an op.
pub(super) fn planned(dump: &Dump, member: &Member, site: Site) -> Option<Planned> {
    let entry = entry(dump, member)?;
    let planned = Planned::of(entry, site, member.forward, &dump.graph);
    match member.part {
        Some(part) => Some(Planned { stored: part.shape(&entry.shape)?, part: Some(part), ..planned }),
        None => Some(planned),
    }
}

/// The values of the first tensor of a group, which has candidates.
pub(super) fn first_values(dump: &Dump, group: &Group) -> Result<Option<(Planned, ArrayD<f32>)>, Error> {
    let site = group.candidates.first().map(|(site, _)| *site);
    let planned = site.zip(group.first()).and_then(|(site, first)| planned(dump, first, site));
    planned.map(|planned| Ok((planned.clone(), dump.values(&planned)?))).transpose()
}
