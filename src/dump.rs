//! A dump as a witness: which of its tensors is which activation, of which rows, and the values in the table's layout.
//!
//! Opening a dump reads names and shapes only. [`Dump::bind`] takes the ids that were fed and proves that every tensor
//! can be read as the activation its name says; [`Dump::settle`] lets the values decide, once for the whole dump, what
//! shapes leave open; [`Dump::read`] reads one tensor. Nothing here judges whether the values are right.

mod alias;
mod align;
mod bind;
mod error;
mod guess;
mod ids;
mod inside;
mod map;
mod matching;
mod name;
mod naming;
mod padded;
mod pads;
mod pair;
mod part;
mod plan;
mod read;
mod rows;
mod shape;
mod suggest;
mod unnamed;
mod uses;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

pub use error::Error;
pub use ids::{Ids, IdsOrigin, difference, ends_a_forward};
pub use inside::{find_pads, take_rows_of};
pub use map::{HELP as MAP_HELP, Map};
pub use padded::{counts_from_zero, says_other_positions, strip_pads, take_pads, weight_of_pads};
pub use pads::Pads;
pub use pair::{Pair, Subject, Twins};
pub use plan::{Plan, Planned, Unmatched};
pub use rows::{Aligned, RowSubset, shared_rows};
pub use suggest::suggested_map;
pub use unnamed::{doubt_names, name_by_values};
pub use uses::settle_uses;

use crate::engine::{Graph, Site};
use crate::formats::{Archive, Entry, Whole};

/// How a dump is to be read.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What its names mean, before the built-in aliases.
    pub map: Option<Map>,
    /// Which sequence of a batch to take, from 0.
    pub batch: Option<usize>,
}

/// How much of a dump is compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Coverage {
    /// Tensors that hold numbers of activations, as far as their names tell.
    pub dumped: usize,
    /// Those that are taken for an activation of a forward that was run.
    pub compared: usize,
    /// The names of the others.
    pub ignored: Vec<String>,
    /// Most of it is not recognised, and has the names of what is but for one number: other forwards, as it seems.
    #[serde(skip)]
    pub lacks_forwards: bool,
}

impl Coverage {
    /// In words, where not all is compared.
    pub fn said(&self) -> Option<String> {
        (!self.ignored.is_empty()).then(|| format!("{} of {} tensors compared", self.compared, self.dumped))
    }
}

/// A dump and the plan for reading it.
#[derive(Debug)]
pub struct Dump {
    archive: Archive,
    graph: Arc<Graph>,
    batch: Option<usize>,
    /// What the names say.
    named: Vec<Planned>,
    /// What is left of that once the ids are known: one for each forward and activation, in the order of the program.
    planned: Vec<Planned>,
    places: HashMap<(usize, Site), usize>,
    /// What stands around the tokens, and is taken away.
    pads: Option<Pads>,
    /// They are rows that nobody computed.
    pads_are_room: bool,
    /// Tensors per forward; empty until [`Dump::bind`].
    steps: Vec<usize>,
    spare: Vec<Unmatched>,
    /// Of the spare ones, those whose name says the same as another's.
    doubles: Vec<Planned>,
    unneeded: Vec<Unmatched>,
    /// Tensors whose sizes say that another number of experts was chosen.
    set_aside: Vec<Unmatched>,
    unmatched: Vec<Unmatched>,
    id_tensors: Vec<(usize, String)>,
    ids: Option<Ids>,
    /// What was told by values.
    recognised: Vec<unnamed::Recognised>,
    notes: Vec<String>,
    settled: Mutex<read::Settled>,
}

impl Dump {
    /// Opens a dump made by the model of this graph.
    pub fn open(path: &Path, graph: &Arc<Graph>, options: &Options) -> Result<Dump, Error> {
        Dump::from_archive(Archive::open(path)?, graph, options)
    }

    /// A dump whose file is open already.
    pub fn from_archive(archive: Archive, graph: &Arc<Graph>, options: &Options) -> Result<Dump, Error> {
        if options.map.is_none() {
            error::no_weights(&archive)?;
        }
        let logits = graph.logits().and_then(|site| graph[site].axes.last()).map(|axis| axis.length(1, 1));
        let archive = archive.by_forwards(logits.map(|logits| Whole { layers: graph.layers(), logits }));
        let matched = matching::matching(&archive, graph, options.map.as_ref());
        if let Some(refused) = matched.refused {
            return Err(refused);
        }
        let notes = [archive.notes().to_vec(), matched.notes].concat();
        let mut dump = Dump {
            archive,
            graph: Arc::clone(graph),
            batch: options.batch,
            planned: matched.taken.clone(),
            named: matched.taken,
            places: HashMap::new(),
            pads: None,
            pads_are_room: false,
            steps: Vec::new(),
            spare: matched.spare,
            doubles: matched.doubles,
            unneeded: Vec::new(),
            set_aside: Vec::new(),
            unmatched: matched.unmatched,
            id_tensors: matched.id_tensors,
            ids: None,
            recognised: Vec::new(),
            notes,
            settled: Mutex::default(),
        };
        dump.index();
        dump.ids = ids::find(&dump)?;
        Ok(dump)
    }

    /// The name of the file or directory.
    pub fn name(&self) -> String {
        let path = self.archive.path();
        path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
    }

    /// The file or directory.
    pub fn path(&self) -> &Path {
        self.archive.path()
    }

    /// The model that made it.
    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// The arrays themselves.
    pub fn archive(&self) -> &Archive {
        &self.archive
    }

    /// The pads around the sequence that is read, which are taken away.
    pub fn pads(&self) -> Option<Pads> {
        self.pads
    }

    /// The ids that were fed, if the dump tells.
    pub fn ids(&self) -> Option<&Ids> {
        self.ids.as_ref()
    }

    /// Tokens per forward; empty before [`Dump::bind`].
    pub fn steps(&self) -> &[usize] {
        &self.steps
    }

    /// The tensor taken for an activation of a forward.
    pub fn planned(&self, forward: usize, site: Site) -> Option<&Planned> {
        self.places.get(&(forward, site)).and_then(|place| self.planned.get(*place))
    }

    /// All tensors taken, forward by forward, in the order of the program.
    pub fn all_planned(&self) -> &[Planned] {
        &self.planned
    }

    /// Tensors that no rule matched, with the nearest names.
    pub fn unmatched(&self) -> &[Unmatched] {
        &self.unmatched
    }

    /// Tensors that were understood and not needed, and why.
    pub fn unused(&self) -> Vec<&Unmatched> {
        self.spare.iter().chain(&self.unneeded).chain(&self.set_aside).collect()
    }

    /// Whether a sequence was picked from a batch, or its first axis is a batch of one.
    pub fn is_of_batch(&self) -> bool {
        let picked = |planned: &Planned| planned.readings.iter().any(|reading| reading.batch.is_some());
        let of_one = |planned: &Planned| planned.stored.len() > 2 && planned.stored.first() == Some(&1);
        let many = |entry: &Entry| entry.shape.len() == 2 && entry.shape.first() != Some(&1);
        let ids =
            self.archive.entries().iter().filter(|entry| self.id_tensors.iter().any(|(_, name)| *name == entry.name));
        self.planned.iter().any(|planned| picked(planned) || of_one(planned)) || ids.into_iter().any(many)
    }

    /// How many of its tensors of numbers are compared, and which are not.
    pub fn coverage(&self) -> Coverage {
        let is_float =
            |name: &str| self.archive.entries().iter().any(|entry| entry.name == name && entry.dtype.is_float());
        let left = self.unmatched.iter().chain(&self.unneeded).chain(&self.set_aside).map(|left| &left.name);
        let mut ignored: Vec<String> = left.filter(|name| is_float(name)).cloned().collect();
        let compared: BTreeSet<&str> = self.planned.iter().map(|planned| planned.name.as_str()).collect();
        ignored.retain(|name| !compared.contains(name.as_str()));
        let dumped = compared.len() + ignored.len();
        let unknown: HashSet<&str> = self.unmatched.iter().map(|unmatched| unmatched.name.as_str()).collect();
        let unknown = ignored.iter().filter(|name| unknown.contains(name.as_str()));
        let patterns: HashSet<String> =
            unknown.flat_map(|name| naming::patterns(name)).map(|(pattern, _)| pattern).collect();
        let is_twin = |name: &&&str| naming::patterns(name).iter().any(|(pattern, _)| patterns.contains(pattern));
        let twins = compared.iter().filter(is_twin);
        let lacks_forwards = 4 * compared.len() < dumped && 4 * twins.count() >= 3 * compared.len();
        Coverage { dumped, compared: compared.len(), ignored, lacks_forwards }
    }

    /// What a user should know about how the dump is read.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.notes.clone();
        notes.extend(self.settled.lock().unwrap_or_else(PoisonError::into_inner).notes());
        let last = self.named.iter().map(|named| named.forward).max().unwrap_or(0);
        let told = self.ids.as_ref().is_some_and(|ids| ids.steps.len() > self.steps.len());
        if !self.steps.is_empty() && last >= self.steps.len() && !told {
            notes.push(format!(
                "decode steps {} are not compared: nobody tells which tokens they were fed; give --ids of all that was fed",
                if last == self.steps.len() { last.to_string() } else { format!("{}-{last}", self.steps.len()) }
            ));
        }
        if let Some(first) = self.set_aside.first() {
            let (count, reason) = (self.set_aside.len(), first.reason.as_deref().unwrap_or_default());
            let more = if count > 1 { format!("; {} more like it", count - 1) } else { String::new() };
            notes.push(format!("{} {reason}, so it is not compared{more}", error::shown(&first.name)));
        }
        if !self.unmatched.is_empty() {
            let names: Vec<String> = self.unmatched.iter().take(3).map(|u| error::shown(&u.name)).collect();
            let more = if self.unmatched.len() > names.len() { ", ..." } else { "" };
            let tensors = if self.unmatched.len() == 1 { "tensor was" } else { "tensors were" };
            notes.push(format!("{} {tensors} not recognised: {}{more}", self.unmatched.len(), names.join(", ")));
        }
        notes
    }

    /// The plan, to be printed: which tensor was taken for which activation, and all that is done to it.
    pub fn plan(&self) -> Plan<'_> {
        Plan { taken: &self.planned, unmatched: &self.unmatched, unused: self.unused() }
    }

    /// Takes a tensor for another activation of the same forward, because the values say so: Hugging Face's last
    /// `hidden_states` can be the last block's output. Returns whether there was one, and room for it.
    pub fn take_for(&mut self, forward: usize, from: Site, to: Site) -> bool {
        let Some(place) = self.places.get(&(forward, from)).copied() else { return false };
        let Some(planned) = self.planned.get_mut(place).filter(|_| !self.places.contains_key(&(forward, to))) else {
            return false;
        };
        if shape::Wanted::new(to, &self.graph).kind != planned.wanted.kind {
            return false;
        }
        (planned.site, planned.by_convention, planned.flavour) = (to, false, name::Flavour::Alias);
        planned.activation = self.graph.name(to).to_string();
        self.index();
        true
    }

    /// Sorts the plan, and rebuilds the index.
    fn index(&mut self) {
        self.planned.sort_by_key(|planned| (planned.forward, planned.site));
        let key = |(place, planned): (usize, &Planned)| ((planned.forward, planned.site), place);
        self.places = self.planned.iter().enumerate().map(key).collect();
    }
}
