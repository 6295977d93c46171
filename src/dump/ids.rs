//! The ids that were fed to make a dump: from its metadata, from a tensor, or recovered from its embedding rows.

use std::collections::{BTreeMap, HashMap, HashSet};

use half::{bf16, f16};
use ndarray::ArrayD;

use super::Dump;
use super::alias::GENERATED;
use super::error::{Error, shown};
use super::name::{Name, normal};
use super::plan::Planned;
use super::shape::Kind;
use super::unnamed::Recognised;
use crate::engine::{Compute, Graph, Role, Site, Span, evaluate};
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
    let vocab = dump.graph.vocabulary().unwrap_or(u32::MAX as usize);
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
        let unknown: HashSet<&str> = self.unmatched.iter().map(|unmatched| unmatched.name.as_str()).collect();
        // By name, one for each forward.
        let mut like: BTreeMap<String, Vec<Planned>> = BTreeMap::new();
        for entry in self.archive.entries().iter().filter(|entry| unknown.contains(entry.name.as_str())) {
            if entry.dtype.is_float() && entry.shape.last() == Some(&hidden) {
                let Name { base, forward, .. } = Name::split(&entry.name);
                like.entry(base).or_default().push(Planned::of(entry, embed, forward.unwrap_or(0), &self.graph));
            }
        }
        like.retain(|_, like| like.iter().any(|planned| planned.forward == 0));
        // One scan of the table tells of all of them whether it has their first rows.
        let mut first_rows = Vec::new();
        for planned in like.values().filter_map(|like| like.iter().find(|planned| planned.forward == 0)) {
            let rows = self.rows_of_width(planned, hidden)?;
            first_rows.push(rows.and_then(|rows| rows.into_iter().next()).unwrap_or_default());
        }
        let has = are_of_the_table(model, embed, &first_rows);
        let before = self.named.len();
        for ((base, like), _) in like.into_iter().zip(has).filter(|(_, has)| *has) {
            self.named.extend(like);
            if self.embedded_ids(model)?.is_some() {
                let (name, taken) = (shown(&base), &self.named[before..]);
                let tensors = taken.iter().map(|taken| (taken.name.clone(), None, None, embed)).collect();
                self.recognised.push(Recognised { pattern: base.clone(), from: 0, tensors });
                self.unmatched.retain(|unmatched| !taken.iter().any(|taken| taken.name == unmatched.name));
                self.notes
                    .push(format!("{name} is taken for {}: its rows are rows of the table", self.graph.name(embed)));
                return Ok(());
            }
            self.named.truncate(before);
        }
        Ok(())
    }

    /// The rows of a tensor, of the sequence that is read; none where it does not hold rows of this width.
    fn rows_of_width(&self, planned: &Planned, width: usize) -> Result<Option<Vec<Vec<f32>>>, Error> {
        let values = self.values(planned)?;
        let flat: Vec<f32> = match (self.batch, values.shape()) {
            (Some(pick), [of, ..]) if *of > 1 && values.ndim() > 2 => {
                values.outer_iter().nth(pick).map(|row| row.iter().copied().collect()).unwrap_or_default()
            }
            _ => values.into_iter().collect(),
        };
        let whole = !flat.is_empty() && flat.len().is_multiple_of(width);
        Ok(whole.then(|| flat.chunks(width).map(<[f32]>::to_vec).collect()))
    }

    /// The ids whose embedding rows were dumped, and the rows of each forward; `None` when there are no rows, or one is
    /// not of the model's table.
    pub fn embedded_ids(&self, model: &Model) -> Result<Option<Embedded>, Error> {
        let Some(embed) = self.graph.whole(Role::EmbedTokens) else { return Ok(None) };
        let hidden = last_axis(&self.graph, Role::EmbedTokens);
        let (mut rows, mut steps) = (Vec::new(), Vec::new());
        for forward in 0.. {
            let Some(named) = self.named.iter().find(|n| n.forward == forward && n.site == embed) else { break };
            let Some(found) = self.rows_of_width(named, hidden)? else { return Ok(None) };
            steps.push(found.len());
            rows.extend(found);
        }
        Ok(lookup(model, &rows).map(|ids| (ids, steps)))
    }
}

/// The ids of all rows, and how many rows each forward has.
pub(super) type Embedded = (Vec<u32>, Vec<usize>);

/// Embedding rows looked up at once.
const BLOCK: usize = 1024;

/// Numbers of a row that are compared before the rest of it.
const FIRST: usize = 4;

/// What storing makes of a number.
type Rounding = fn(f32) -> f32;

/// The precisions in which rows may have been stored.
const PRECISIONS: [Rounding; 3] = [|v| v, |v| bf16::from_f32(v).to_f32(), |v| f16::from_f32(v).to_f32()];

/// Whether a row has no more bits than a precision.
fn is_exact(row: &[f32], round: Rounding) -> bool {
    row.iter().all(|v| round(*v).to_bits() == v.to_bits())
}

/// The first id of each row, all in the first precision that knows every row.
fn lookup(model: &Model, rows: &[Vec<f32>]) -> Option<Vec<u32>> {
    let embed = model.graph.whole(Role::EmbedTokens).filter(|_| !rows.is_empty())?;
    let exact = PRECISIONS.iter().filter(|round| rows.iter().all(|row| is_exact(row, **round)));
    exact.into_iter().find_map(|round| scan(model, embed, rows, *round).into_iter().collect())
}

/// Whether the table has each row, in some precision.
fn are_of_the_table(model: &Model, embed: Site, rows: &[Vec<f32>]) -> Vec<bool> {
    let mut found = vec![false; rows.len()];
    for round in PRECISIONS {
        let open: Vec<usize> = (0..rows.len()).filter(|at| !found[*at] && is_exact(&rows[*at], round)).collect();
        let of_these: Vec<Vec<f32>> = open.iter().map(|at| rows[*at].clone()).collect();
        for (at, id) in open.into_iter().zip(scan(model, embed, &of_these, round)) {
            found[at] = id.is_some();
        }
    }
    found
}

/// The first id whose row of the table each row is, in one precision.
fn scan(model: &Model, embed: Site, rows: &[Vec<f32>], round: Rounding) -> Vec<Option<u32>> {
    let bits = |row: &[f32]| -> Vec<u32> { row.iter().take(FIRST).map(|v| round(*v).to_bits()).collect() };
    let mut open: HashMap<Vec<u32>, Vec<usize>> = HashMap::new();
    for (at, row) in rows.iter().enumerate() {
        open.entry(bits(row)).or_default().push(at);
    }
    let mut found = vec![None; rows.len()];
    let mut missing = rows.len();
    let vocab = model.spec.vocab as u32;
    for first in (0..vocab).step_by(BLOCK) {
        if missing == 0 {
            break;
        }
        let ids: Vec<u32> = (first..vocab.min(first + BLOCK as u32)).collect();
        let table = evaluate::<f32>(model, embed, Span { ids: &ids, first: 0 }, &[], Compute::default());
        for (id, of_id) in ids.iter().zip(table.outer_iter()) {
            let begin: Vec<f32> = of_id.iter().take(FIRST).copied().collect();
            let Some(alike) = open.get_mut(&bits(&begin)) else { continue };
            alike.retain(|at| {
                let same = |(a, b): (&f32, &f32)| round(*a).to_bits() == b.to_bits();
                let is_it = rows[*at].len() == of_id.len() && of_id.iter().zip(&rows[*at]).all(same);
                if is_it {
                    found[*at] = Some(*id);
                    missing -= 1;
                }
                !is_it
            });
        }
    }
    found
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
