//! The ids that were fed to make a dump: from its metadata, from a tensor, or recovered from its embedding rows.

use std::collections::{BTreeSet, HashMap};

use half::{bf16, f16};
use ndarray::ArrayD;

use super::Dump;
use super::alias::GENERATED;
use super::error::{Error, shown};
use super::name::{Name, normal};
use super::plan::Planned;
use super::shape::Kind;
use crate::engine::{Compute, Graph, Role, Span, evaluate};
use crate::formats::Array;
use crate::model::Model;

/// The ids fed, in order, over all forwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ids {
    /// The ids.
    pub ids: Vec<u32>,
    /// How many of them each forward was given.
    pub steps: Vec<usize>,
    /// How they are known.
    pub origin: IdsOrigin,
}

/// How the ids of a dump are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdsOrigin {
    /// `input_ids` of its metadata.
    Metadata,
    /// A tensor `input_ids`.
    Tensor,
    /// Its embedding rows are rows of the table.
    Embeddings,
}

impl IdsOrigin {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Metadata => "its metadata",
            Self::Tensor => "its tensor input_ids",
            Self::Embeddings => "its embedding rows",
        }
    }
}

/// What the dump itself says.
pub(super) fn find(dump: &Dump) -> Result<Option<Ids>, Error> {
    let mut told: Vec<(usize, &String)> = Vec::new();
    for (key, text) in dump.archive.metadata() {
        let Name { base, forward, .. } = Name::split(key);
        told.extend((base == "input_ids").then_some((forward.unwrap_or(0), text)));
    }
    told.sort_unstable();
    if told.first().is_some_and(|(forward, _)| *forward == 0) {
        let (mut ids, mut lengths) = (Vec::new(), Vec::new());
        for (_, text) in told {
            let rows: Result<Vec<Vec<i64>>, _> = serde_json::from_str::<Vec<i64>>(text)
                .map(|ids| vec![ids])
                .or_else(|_| serde_json::from_str::<Vec<Vec<i64>>>(text));
            let rows = rows.map_err(|_| {
                dump.ids_error(format!("its metadata input_ids is no JSON list of token ids: \"{}\"", shown(text)))
            })?;
            let one = checked(dump, &pick(dump, rows)?, "its metadata input_ids")?;
            lengths.push(one.len());
            ids.extend(one);
        }
        let steps = if lengths.len() > 1 { lengths } else { steps(dump, ids.len())? };
        return Ok(Some(Ids { ids, steps, origin: IdsOrigin::Metadata }));
    }
    let mut tensors = dump.id_tensors.clone();
    tensors.sort();
    tensors.dedup_by_key(|(forward, _)| *forward);
    if tensors.first().is_none_or(|(forward, _)| *forward > 0) {
        return Ok(None);
    }
    let (mut ids, mut lengths) = (Vec::new(), Vec::new());
    for (_, name) in &tensors {
        let values = integers(dump.archive.read(name)?).ok_or_else(|| {
            dump.ids_error(format!("its tensor \"{}\" should hold token ids, and holds fractions", shown(name)))
        })?;
        let length = values.shape().last().copied().unwrap_or(1).max(1);
        let flat: Vec<i64> = values.into_iter().collect();
        let picked = pick(dump, flat.chunks(length).map(<[i64]>::to_vec).collect())?;
        let mut one = checked(dump, &picked, &format!("its tensor \"{}\"", shown(name)))?;
        if normal(&Name::split(name).base) == GENERATED {
            let _fed_to_nobody = one.pop();
        }
        lengths.push(one.len());
        ids.extend(one);
    }
    let steps = if lengths.len() > 1 { lengths } else { steps(dump, ids.len())? };
    Ok(Some(Ids { ids, steps, origin: IdsOrigin::Tensor }))
}

/// Channels of an activation that no layer owns.
fn last_axis(graph: &Graph, role: Role) -> usize {
    graph.whole(role).and_then(|site| graph[site].axes.last()).map_or(1, |axis| axis.length(1, 1))
}

pub(super) fn integers(array: Array) -> Option<ArrayD<i64>> {
    match array {
        Array::Int(values) => Some(values),
        other => {
            let values = other.into_f64();
            values.iter().all(|v| v.fract() == 0.0 && v.abs() < 9e15).then(|| values.mapv(|v| v as i64))
        }
    }
}

/// The sequence of a batch.
fn pick(dump: &Dump, mut rows: Vec<Vec<i64>>) -> Result<Vec<i64>, Error> {
    let (of, at) = (rows.len(), dump.batch.unwrap_or(0));
    if of > 1 && dump.batch.is_none() {
        return Err(
            dump.ids_error(format!("it was fed a batch of {of} sequences; choose one with --batch 0 to {}", of - 1))
        );
    }
    if at >= of && of == 1 {
        return Err(
            dump.ids_error(format!("it was fed one sequence, and --batch {at} asks for another; leave --batch out"))
        );
    }
    if at >= of {
        return Err(dump.ids_error(format!("it was fed {of} sequences, so there is no --batch {at}")));
    }
    Ok(rows.swap_remove(at))
}

fn checked(dump: &Dump, ids: &[i64], what: &str) -> Result<Vec<u32>, Error> {
    if ids.is_empty() {
        return Err(dump.ids_error(format!("{what} is empty")));
    }
    let vocab = last_axis(&dump.graph, Role::LmHead);
    let id = |id: i64| u32::try_from(id).ok().filter(|id| (*id as usize) < vocab);
    let outside = ids.iter().find(|given| id(**given).is_none()).copied();
    outside.map_or_else(
        || Ok(ids.iter().copied().filter_map(id).collect()),
        |bad| {
            Err(dump.ids_error(format!(
                "{what} has {bad}, outside the model's vocabulary of {vocab} ids (0 to {})",
                vocab - 1
            )))
        },
    )
}

/// Tokens per forward, for `tokens` ids: of the metadata, else from the tensors of the later forwards.
fn steps(dump: &Dump, tokens: usize) -> Result<Vec<usize>, Error> {
    let sums = |steps: &[usize]| steps.iter().try_fold(0usize, |sum, n| sum.checked_add(*n)) == Some(tokens);
    if let Some(text) = dump.archive.metadata().get("steps") {
        let steps: Option<Vec<usize>> = serde_json::from_str(text).ok();
        return steps.filter(|steps| sums(steps) && !steps.contains(&0)).ok_or_else(|| {
            dump.ids_error(format!(
                "its metadata steps should be tokens per forward that add up to {tokens} ids, and is \"{}\"",
                shown(text)
            ))
        });
    }
    let unknown = dump.unmatched.iter().map(|unknown| forward_of(&unknown.name));
    let forwards = dump.named.iter().map(|named| named.forward).chain(unknown).max().unwrap_or(0);
    // Tensors of the first forward with a row for each of these: they are the prompt, and nobody tells what was decoded.
    if forwards > 0 && all_rows_of(dump, 0).any(|rows| rows == tokens) {
        return Ok(vec![tokens]);
    }
    let later = (1..=forwards).map(|forward| rows_of(dump, forward).unwrap_or(1)).collect::<Vec<usize>>();
    let first = later.iter().try_fold(tokens, |left, n| left.checked_sub(*n)).filter(|n| *n > 0);
    let Some(first) = first else { return Ok(vec![tokens]) };
    Ok([vec![first], later].concat())
}

/// Rows of a forward, by the shape of a tensor without heads.
fn rows_of(dump: &Dump, forward: usize) -> Option<usize> {
    all_rows_of(dump, forward).next()
}

/// The same of all such tensors, those as wide as the hidden state among the names that no rule knows included.
fn all_rows_of(dump: &Dump, forward: usize) -> impl Iterator<Item = usize> {
    let named = dump.named.iter().filter(move |n| n.forward == forward && n.wanted.kind == Kind::Rows);
    let named = named.map(|n| (&n.stored, n.wanted.channels));
    let hidden = last_axis(&dump.graph, Role::EmbedTokens);
    let unknown = dump.unmatched.iter().filter(move |unknown| {
        unknown.shape.last() == Some(&hidden) && forward_of(&unknown.name) == forward && unknown.shape.len() > 1
    });
    let batched = dump.batch.is_some();
    named.chain(unknown.map(move |unknown| (&unknown.shape, hidden))).filter_map(move |(stored, channels)| {
        let of_one = usize::from(batched && stored.len() > 2);
        let count = stored.iter().skip(of_one).try_fold(1usize, |product, n| product.checked_mul(*n))?;
        count.is_multiple_of(channels).then_some(count / channels)
    })
}

/// The forward that a name tells.
fn forward_of(name: &str) -> usize {
    Name::split(name).forward.unwrap_or(0)
}

impl Dump {
    /// Tokens per forward when `tokens` ids are fed that the dump does not name: as in its metadata, else as the shapes
    /// of later forwards say, else all at once.
    pub fn steps_for(&self, tokens: usize) -> Vec<usize> {
        steps(self, tokens).unwrap_or_else(|_| vec![tokens])
    }

    /// Whether it says which tokens were fed together: in its metadata, or by names of later forwards.
    pub fn tells_steps(&self) -> bool {
        self.archive.metadata().contains_key("steps") || self.named.iter().any(|named| named.forward > 0)
    }

    /// Adds a note to what is said of it.
    pub fn note(&mut self, words: String) {
        self.notes.push(words);
    }

    /// Rows that are stored of all forwards, by the shapes of tensors without heads; none where there are no such.
    pub fn stored_rows(&self) -> Option<usize> {
        let last = self.named.iter().map(|named| named.forward).max().unwrap_or(0);
        let first = all_rows_of(self, 0).max()?;
        Some((1..=last).filter_map(|forward| rows_of(self, forward)).fold(first, usize::saturating_add))
    }

    /// Finds the ids by looking every dumped embedding row up in the model's table; exact, in the dump's precision.
    /// Returns whether they were found.
    pub fn recover_ids(&mut self, model: &Model) -> Result<bool, Error> {
        self.find_embeddings(model)?;
        let Some((ids, steps)) = self.embedded_ids(model)? else { return Ok(false) };
        self.notes.push(format!("ids recovered from the embedding rows of {}", shown(&self.name())));
        self.ids = Some(Ids { ids, steps, origin: IdsOrigin::Embeddings });
        Ok(true)
    }

    /// Takes a tensor that no rule knows for the embeddings, where nothing else is and its rows are rows of the table.
    fn find_embeddings(&mut self, model: &Model) -> Result<(), Error> {
        let Some(embed) = self.graph.whole(Role::EmbedTokens) else { return Ok(()) };
        let hidden = last_axis(&self.graph, Role::EmbedTokens);
        if self.named.iter().any(|named| named.site == embed) {
            return Ok(());
        }
        let (before, bases) =
            (self.named.len(), self.unmatched.iter().map(|unmatched| Name::split(&unmatched.name).base));
        for base in bases.collect::<BTreeSet<String>>() {
            // One for each forward.
            let like =
                |name: &str| Name::split(name).base == base && self.unmatched.iter().any(|other| other.name == name);
            for entry in self.archive.entries().iter().filter(|entry| like(&entry.name)) {
                if entry.dtype.is_float() && entry.shape.last() == Some(&hidden) {
                    let forward = forward_of(&entry.name);
                    self.named.push(Planned::of(entry, embed, forward, &self.graph));
                }
            }
            if self.named.len() > before && self.embedded_ids(model)?.is_some() {
                let (name, taken) = (shown(&base), &self.named[before..]);
                self.unmatched.retain(|unmatched| !taken.iter().any(|taken| taken.name == unmatched.name));
                self.notes
                    .push(format!("{name} is taken for {}: its rows are rows of the table", self.graph.name(embed)));
                return Ok(());
            }
            self.named.truncate(before);
        }
        Ok(())
    }

    /// The ids whose embedding rows were dumped, and the rows of each forward; `None` when there are no rows, or one is
    /// not of the model's table.
    pub fn embedded_ids(&self, model: &Model) -> Result<Option<Embedded>, Error> {
        let Some(embed) = self.graph.whole(Role::EmbedTokens) else { return Ok(None) };
        let hidden = last_axis(&self.graph, Role::EmbedTokens);
        let (mut rows, mut steps) = (Vec::new(), Vec::new());
        for forward in 0.. {
            let Some(named) = self.named.iter().find(|n| n.forward == forward && n.site == embed) else { break };
            let values = self.values(named)?;
            let flat: Vec<f32> = match (self.batch, values.shape()) {
                (Some(pick), [of, ..]) if *of > 1 && values.ndim() > 2 => {
                    values.outer_iter().nth(pick).map(|row| row.iter().copied().collect()).unwrap_or_default()
                }
                _ => values.into_iter().collect(),
            };
            if flat.is_empty() || !flat.len().is_multiple_of(hidden) {
                return Ok(None);
            }
            steps.push(flat.len() / hidden);
            rows.extend(flat.chunks(hidden).map(<[f32]>::to_vec));
        }
        Ok(lookup(model, &rows).map(|ids| (ids, steps)))
    }
}

/// The ids of all rows, and how many rows each forward has.
pub(super) type Embedded = (Vec<u32>, Vec<usize>);

/// Embedding rows looked up at once.
const BLOCK: usize = 1024;

/// The first id of each row, all in the first precision that knows every row.
fn lookup(model: &Model, rows: &[Vec<f32>]) -> Option<Vec<u32>> {
    let embed = model.graph.whole(Role::EmbedTokens).filter(|_| !rows.is_empty())?;
    let precisions: [fn(f32) -> f32; 3] = [|v| v, |v| bf16::from_f32(v).to_f32(), |v| f16::from_f32(v).to_f32()];
    precisions.iter().find_map(|round| {
        let bits = |row: &[f32]| -> Vec<u32> { row.iter().map(|v| round(*v).to_bits()).collect() };
        let exact = |row: &[f32]| row.iter().all(|v| round(*v).to_bits() == v.to_bits());
        if !rows.iter().all(|row| exact(row)) {
            return None;
        }
        let mut wanted: HashMap<Vec<u32>, Option<u32>> = rows.iter().map(|row| (bits(row), None)).collect();
        let mut missing = wanted.len();
        let vocab = model.spec.vocab as u32;
        for first in (0..vocab).step_by(BLOCK) {
            let ids: Vec<u32> = (first..vocab.min(first + BLOCK as u32)).collect();
            let span = Span { ids: &ids, first: 0 };
            let table = evaluate::<f32>(model, embed, span, &[], Compute::default());
            for (id, row) in ids.iter().zip(table.outer_iter()) {
                let row: Vec<f32> = row.iter().copied().collect();
                if let Some(found @ None) = wanted.get_mut(&bits(&row)) {
                    *found = Some(*id);
                    missing -= 1;
                }
            }
            if missing == 0 {
                break;
            }
        }
        rows.iter().map(|row| wanted.get(&bits(row)).copied().flatten()).collect()
    })
}

/// How the ids that somebody fed differ from those that somebody else did; `None` when the one list begins the other.
pub fn difference((one, ids): (&str, &[u32]), (other, others): (&str, &[u32])) -> Option<String> {
    let place = ids.iter().zip(others).position(|(a, b)| a != b)?;
    let (a, b, of_a, of_b) = (ids[place], others[place], ids.len(), others.len());
    Some(format!("the token ids differ: token {place} is {a} in {one}, {b} in {other} ({of_a} and {of_b} tokens)"))
}

/// Whether a forward ends behind so many tokens; `steps` are the tokens of each.
pub fn ends_a_forward(steps: &[usize], tokens: usize) -> bool {
    (1..=steps.len()).any(|forwards| steps[..forwards].iter().sum::<usize>() == tokens)
}
