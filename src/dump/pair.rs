//! Two dumps of one model that is not at hand: their tensors side by side, in one layout.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use ndarray::{ArrayD, IxDyn};

use super::error::{Error, no_weights, shown};
use super::guess::guess;
use super::name::Name;
use super::plan::{Planned, Unmatched};
use super::{Aligned, Dump, Options, RowSubset};
use crate::engine::{Graph, Role, Site};
use crate::formats::{Archive, Entry};
use crate::model::Model;

/// Two dumps, and the sizes that their names and shapes tell.
#[derive(Debug)]
pub struct Pair {
    /// What is right.
    pub reference: Dump,
    /// What is under suspicion.
    pub candidate: Dump,
    /// Without weights, and sizes only: its numbers that are no sizes mean nothing.
    model: Model,
    head_dim: usize,
    heads_known: bool,
    /// Tensors that fit no reading, by forward and activation: reference, candidate.
    misfits: [BTreeMap<(usize, Site), Planned>; 2],
}

/// What is compared: an activation, or tensors of one name that no rule knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// An activation.
    Site(Site),
    /// A name that stands in both dumps.
    Named {
        /// The name, without the decode step.
        name: String,
        /// The first number in it, if there is such a layer.
        layer: Option<usize>,
    },
}

/// One subject in both dumps.
#[derive(Clone, Debug, Default)]
pub struct Twins {
    /// Reference, candidate.
    pub sides: [Option<Aligned>; 2],
    /// Whether they stand in the layout of the activation table; else as they are stored.
    pub laid_out: bool,
}

impl Subject {
    /// The layer it belongs to.
    pub fn layer(&self, graph: &Graph) -> Option<usize> {
        match self {
            Self::Site(site) => graph[*site].layer,
            Self::Named { layer, .. } => *layer,
        }
    }

    /// The activation, if it is one.
    pub fn site(&self) -> Option<Site> {
        if let Self::Site(site) = self { Some(*site) } else { None }
    }
}

impl Pair {
    /// Opens two dumps. `typed` is the number of ids on the command line, for dumps that name none.
    pub fn open(reference: &Path, candidate: &Path, options: &Options, typed: Option<usize>) -> Result<Pair, Error> {
        Pair::from_archives(Archive::open(reference)?, Archive::open(candidate)?, options, typed)
    }

    /// Two dumps whose files are open already.
    pub fn from_archives(
        reference: Archive,
        candidate: Archive,
        options: &Options,
        typed: Option<usize>,
    ) -> Result<Pair, Error> {
        if options.map.is_none() {
            no_weights(&reference)?;
            no_weights(&candidate)?;
        }
        let (reference, candidate) = (reference.by_forwards(None), candidate.by_forwards(None));
        let guess = guess([&reference, &candidate], options, typed)?;
        let mut misfits = Vec::with_capacity(2);
        let mut dumps = Vec::with_capacity(2);
        for (archive, steps) in [reference, candidate].into_iter().zip(&guess.steps) {
            let mut dump = Dump::from_archive(archive, &guess.model.graph, options)?;
            let left = dump.bind_what_fits(steps)?;
            misfits.push(left.into_iter().map(|planned| ((planned.forward, planned.site), planned)).collect());
            dumps.push(dump);
        }
        let (Ok([reference, candidate]), Ok(misfits)) = (<[Dump; 2]>::try_from(dumps), misfits.try_into()) else {
            unreachable!("two archives were given")
        };
        let (model, head_dim, heads_known) = (guess.model, guess.head_dim, guess.heads_known);
        Ok(Pair { reference, candidate, model, head_dim, heads_known, misfits })
    }

    /// The model, as far as names and shapes tell. It has no weights, and numbers that are no sizes mean nothing.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Its ops.
    pub fn graph(&self) -> &Arc<Graph> {
        &self.model.graph
    }

    /// The name of a subject, for a terminal.
    pub fn name(&self, subject: &Subject) -> String {
        match subject {
            Subject::Site(site) => self.graph().name(*site).to_string(),
            Subject::Named { name, .. } => shown(name),
        }
    }

    /// The width of a head; as wide as q and k allow where it is not told.
    pub fn head_dim(&self) -> usize {
        self.head_dim
    }

    /// Whether the width of a head is told.
    pub fn heads_known(&self) -> bool {
        self.heads_known
    }

    /// Tokens of the forwards.
    pub fn steps(&self) -> &[usize] {
        let (a, b) = (self.reference.steps(), self.candidate.steps());
        if a.len() >= b.len() { a } else { b }
    }

    /// Everything that either dump holds, by forward, in the order of the program. A name that no rule knows stands before
    /// the output of its layer, else at the end.
    pub fn subjects(&self) -> Vec<(usize, Subject)> {
        let mut sites: BTreeSet<(usize, Site)> = BTreeSet::new();
        for (dump, misfits) in [&self.reference, &self.candidate].into_iter().zip(&self.misfits) {
            sites.extend(dump.all_planned().iter().map(|planned| (planned.forward, planned.site)));
            sites.extend(misfits.keys());
        }
        let place = |site: Site| 2 * site.index() + 1;
        let mut found: Vec<((usize, usize), Subject)> =
            sites.into_iter().map(|(forward, site)| ((forward, place(site)), Subject::Site(site))).collect();
        for (forward, name, layer) in self.names_in_both() {
            let block = layer.and_then(|layer| self.graph().in_layer(layer, Role::Block));
            let place = block.map_or(usize::MAX, |block| place(block) - 1);
            found.push(((forward, place), Subject::Named { name, layer }));
        }
        found.sort_by_key(|(place, _)| *place);
        found.into_iter().map(|((forward, _), subject)| (forward, subject)).collect()
    }

    /// Tensors that no rule knows and whose names are equal in both dumps.
    fn names_in_both(&self) -> Vec<(usize, String, Option<usize>)> {
        let floats =
            |dump: &Dump, unknown: &Unmatched| entry(dump, &unknown.name).is_some_and(|entry| entry.dtype.is_float());
        let other: BTreeSet<&str> = self.candidate.unmatched().iter().map(|unknown| unknown.name.as_str()).collect();
        let both = self.reference.unmatched().iter().filter(|unknown| other.contains(unknown.name.as_str()));
        let both = both.filter(|unknown| floats(&self.reference, unknown) && floats(&self.candidate, unknown));
        both.map(|unknown| {
            let Name { base, forward, .. } = Name::split(&unknown.name);
            let digits = base.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit);
            let layer = digits.collect::<String>().parse().ok().filter(|layer| *layer < self.graph().layers());
            (forward.unwrap_or(0), base, layer)
        })
        .collect()
    }

    /// What the dumps have of one subject: reference, candidate. Where shapes leave something open in one, the other's
    /// values decide.
    pub fn read(&self, forward: usize, subject: &Subject) -> Result<Twins, Error> {
        let Subject::Site(site) = subject else { return self.as_stored(forward, subject) };
        let fits = |dump: &Dump| dump.planned(forward, *site).is_some();
        if !fits(&self.reference) || !fits(&self.candidate) {
            let stored = self.as_stored(forward, subject)?;
            if stored.sides.iter().all(Option::is_some) {
                return Ok(stored);
            }
        }
        let literal = |dump: &Dump| dump.planned(forward, *site).map(Planned::is_the_activation);
        if let (Some(a), Some(b)) = (literal(&self.reference), literal(&self.candidate))
            && a != b
        {
            return Ok(Twins::default());
        }
        let open = |dump: &Dump| dump.planned(forward, *site).is_none_or(|p| p.is_ambiguous() || p.is_partial());
        let turned = open(&self.reference) && !open(&self.candidate);
        let (sure, unsure) =
            if turned { (&self.candidate, &self.reference) } else { (&self.reference, &self.candidate) };
        let first = sure.read(forward, *site, None)?;
        let whole = first.as_ref().filter(|first| first.part.rows.len() == self.tokens(forward));
        let second = unsure.read(forward, *site, whole.map(|first| first.part.values.view()))?;
        let sides = if turned { [second, first] } else { [first, second] };
        Ok(Twins { sides, laid_out: true })
    }

    /// Rows of a forward.
    pub fn tokens(&self, forward: usize) -> usize {
        self.steps().get(forward).copied().unwrap_or(1)
    }

    /// Both tensors without any reading, when the lengths of their axes are the same.
    fn as_stored(&self, forward: usize, subject: &Subject) -> Result<Twins, Error> {
        let dumps = [&self.reference, &self.candidate];
        let mut found = [None, None];
        for ((dump, misfits), found) in dumps.into_iter().zip(&self.misfits).zip(&mut found) {
            let name = match subject {
                Subject::Site(site) => {
                    let planned = misfits.get(&(forward, *site)).or_else(|| dump.planned(forward, *site));
                    planned
                        .filter(|planned| planned.expression.is_none() && planned.part.is_none())
                        .map(|planned| planned.name.clone())
                }
                Subject::Named { name, .. } if forward > 0 => Some(format!("{name}@{forward}")),
                Subject::Named { name, .. } => Some(name.clone()),
            };
            let Some(entry) = name.and_then(|name| entry(dump, &name)) else { continue };
            *found = Some((dump.archive().read(&entry.name)?.into_f32(), entry));
        }
        let [Some((a, of_a)), Some((b, of_b))] = found else { return Ok(Twins::default()) };
        let essence = |entry: &Entry| entry.shape.iter().copied().filter(|n| *n != 1).collect::<Vec<_>>();
        if a.len() != b.len() || (essence(of_a) != essence(of_b) && !of_a.flat && !of_b.flat) {
            return Ok(Twins::default());
        }
        let shaped = if of_a.flat { of_b } else { of_a };
        let mut shape: Vec<usize> = shaped.shape.iter().copied().skip_while(|n| *n == 1).collect();
        while shape.len() < 2 {
            shape.insert(0, 1);
        }
        let align = |values: ArrayD<f32>| {
            let values = values.as_standard_layout().into_owned().into_shape_with_order(IxDyn(&shape)).ok()?;
            let rows = (0..shape.iter().rev().nth(1).copied().unwrap_or(1)).collect();
            let part = RowSubset { values: values.into_shared(), rows, first_key: 0 };
            Some(Aligned { part, notes: Vec::new() })
        };
        Ok(Twins { sides: [align(a), align(b)], laid_out: false })
    }
}

fn entry<'a>(dump: &'a Dump, name: &str) -> Option<&'a Entry> {
    dump.archive().entries().iter().find(|entry| entry.name == name)
}
