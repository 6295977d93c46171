//! The sizes of a model, read from the names and shapes of its dumps, for want of the model itself.

use std::collections::BTreeMap;

use super::Options;
use super::error::Error;
use super::matching::{Matched, matching};
use super::plan::Planned;
use super::shape::Kind;
use crate::engine::{Activation, Axis};
use crate::formats::Archive;
use crate::model::Config;

/// More layers than any model has: every layer that a name mentions exists.
const ANY_LAYER: usize = 1 << 12;

/// What two dumps tell about their model.
#[derive(Clone, Debug)]
pub(super) struct Guess {
    /// Sizes only: its numbers that are no sizes mean nothing.
    pub(super) config: Config,
    /// Whether the width of a head is told; else q and k count as few heads as their widths allow.
    pub(super) heads_known: bool,
    /// Tokens of the forwards of each dump.
    pub(super) steps: [Vec<usize>; 2],
}

/// A size that tensors vote on.
#[derive(Default)]
struct Votes(BTreeMap<usize, usize>);

impl Votes {
    fn add(&mut self, size: usize) {
        if size > 0 {
            *self.0.entry(size).or_default() += 1;
        }
    }

    /// The size with the most votes; of several the smallest, since keys may be repeated for every query head.
    fn winner(&self) -> Option<usize> {
        self.0.iter().rev().max_by_key(|(_, votes)| **votes).map(|(size, _)| *size)
    }
}

/// Reads the names with every activation allowed, then lets the shapes vote.
pub(super) fn guess(archives: [&Archive; 2], options: &Options, typed: Option<usize>) -> Result<Guess, Error> {
    let any = Config { num_hidden_layers: ANY_LAYER, qk_norm: true, qkv_bias: true, ..placeholder() };
    let read = |archive: &Archive| matching(archive, &any, options.map.as_ref());
    let matched = [read(archives[0])?, read(archives[1])?];
    let steps =
        agreed([steps(archives[0], &matched[0], options, typed), steps(archives[1], &matched[1], options, typed)]);
    let taken =
        || matched.iter().zip(&steps).flat_map(|(m, steps)| m.taken.iter().map(move |planned| (planned, steps)));

    let layers = archives.iter().zip(&matched).map(|(archive, matched)| layers(archive, matched)).max().unwrap_or(1);
    let normed = |activation| matches!(activation, Activation::QNorm | Activation::KNorm);
    let mut widths: BTreeMap<&'static str, Votes> = BTreeMap::new();
    for (planned, steps) in taken().filter(|(planned, _)| planned.expression.is_none()) {
        for (what, size) in sizes(planned, steps.get(planned.forward).copied()) {
            widths.entry(what).or_default().add(size);
        }
    }
    let size = |what: &str| widths.get(what).and_then(Votes::winner);
    let (query, key) = (size("query"), size("key"));
    let head_dim = size("head_dim").or_else(|| Some(query? / size("heads")?)).filter(|width| *width > 0);
    let heads_known = head_dim.is_some();
    let head_dim = head_dim.or(key).or(query).unwrap_or(1);
    let heads = query.map_or_else(|| size("heads").unwrap_or(1), |query| (query / head_dim).max(1));
    let config = Config {
        num_hidden_layers: layers,
        hidden_size: size("hidden").unwrap_or(1),
        intermediate_size: size("intermediate").unwrap_or(1),
        vocab_size: size("vocab").unwrap_or(u32::MAX as usize),
        num_attention_heads: heads,
        num_key_value_heads: key.map_or(heads, |key| (key / head_dim).max(1)),
        head_dim,
        sliding_window: vec![None; layers],
        qk_norm: taken().any(|(planned, _)| normed(planned.site.activation)),
        qkv_bias: true,
        ..placeholder()
    };
    Ok(Guess { config, heads_known, steps })
}

/// Layers that the names mention. A list has no names: it is Hugging Face's `hidden_states`, with the embeddings.
fn layers(archive: &Archive, matched: &Matched) -> usize {
    let list = archive.entries().iter().all(|entry| entry.name.parse::<usize>().is_ok());
    let last = matched.taken.iter().filter_map(|planned| planned.site.in_layer()).max();
    last.map_or(1, |last| if list { last.max(1) } else { last + 1 })
}

fn placeholder() -> Config {
    let defaults = Config::from_json(r#"{"model_type": "llama"}"#, "no config.json");
    defaults.expect("every other key has a default").0
}

/// What one tensor tells: `hidden`, `intermediate`, `vocab`, `query`, `key` (widths of a row), `head_dim`, `heads`.
fn sizes(planned: &Planned, tokens: Option<usize>) -> Vec<(&'static str, usize)> {
    let what = match planned.site.activation.row().axes.iter().rev().find(|axis| **axis != Axis::HeadDim) {
        Some(Axis::Hidden) => "hidden",
        Some(Axis::Intermediate) => "intermediate",
        Some(Axis::Vocab) => "vocab",
        Some(Axis::QueryFeature) => "query",
        Some(Axis::KeyFeature) => "key",
        _ if matches!(planned.site.activation, Activation::QNorm | Activation::QRope) => "query",
        _ => "key",
    };
    let count: usize = planned.stored.iter().product();
    if planned.flat {
        let width = tokens.filter(|tokens| planned.wanted.kind != Kind::Scores && count.is_multiple_of(*tokens));
        return width.map(|tokens| (what, count / tokens)).into_iter().collect();
    }
    let ones = planned.stored.iter().take_while(|n| **n == 1).count().min(planned.stored.len().saturating_sub(3));
    match (planned.wanted.kind, planned.stored.get(ones..).unwrap_or_default()) {
        (Kind::Scores, [heads, _, _]) => vec![("heads", *heads)],
        (Kind::PerHead | Kind::Merged, [a, b, width]) => {
            let heads = tokens.and_then(|tokens| if *b == tokens { Some(a) } else { (*a == tokens).then_some(b) });
            let row = heads.map(|heads| (what, heads * width));
            [("head_dim", *width)].into_iter().chain(row).collect()
        }
        (Kind::Scores, _) => Vec::new(),
        (_, dims) => dims.last().map(|width| (what, *width)).into_iter().collect(),
    }
}

/// Tokens per forward, and whether they are more than what shapes suggest. Empty when nothing tells.
fn steps(archive: &Archive, matched: &Matched, options: &Options, typed: Option<usize>) -> (Vec<usize>, bool) {
    let list = |key: &str| serde_json::from_str::<Vec<usize>>(archive.metadata().get(key)?).ok();
    let forwards = matched.taken.iter().map(|planned| planned.forward + 1).max().unwrap_or(1);
    let shaped: Vec<Option<usize>> = (0..forwards).map(|forward| rows(matched, forward)).collect();
    if let Some(steps) = list("steps").filter(|steps| !steps.is_empty() && !steps.contains(&0)) {
        return (steps, true);
    }
    let tensor = |name: &String| archive.entries().iter().find(|entry| entry.name == *name);
    let batch =
        |shape: &[usize]| if options.batch.is_some() { shape.last().copied() } else { Some(shape.iter().product()) };
    let fed = |forward: usize| {
        let (_, name) = matched.id_tensors.iter().find(|(of, _)| *of == forward)?;
        batch(&tensor(name)?.shape)
    };
    let later: usize = shaped.iter().skip(1).map(|rows| rows.unwrap_or(1)).sum();
    let total =
        typed.or_else(|| list("input_ids").map(|ids| ids.len())).or_else(|| fed(0).filter(|_| fed(1).is_none()));
    let told = total.and_then(|total| total.checked_sub(later)).or_else(|| fed(0)).filter(|tokens| *tokens > 0);
    let Some(first) = told.or(shaped[0]) else { return (Vec::new(), false) };
    let rest = shaped.iter().enumerate().skip(1).map(|(forward, rows)| fed(forward).or(*rows).unwrap_or(1));
    (std::iter::once(first).chain(rest).collect(), told.is_some())
}

/// The rows that most tensors of a forward have.
fn rows(matched: &Matched, forward: usize) -> Option<usize> {
    let mut votes = Votes::default();
    let of_rows = |planned: &&Planned| {
        let plain = !planned.flat && planned.expression.is_none();
        plain && planned.forward == forward && planned.wanted.kind == Kind::Rows
    };
    for planned in matched.taken.iter().filter(of_rows) {
        if let [before @ .., _] = planned.stored.as_slice() {
            votes.add(before.iter().product());
        }
    }
    votes.winner()
}

/// A dump that does not tell its tokens is of the same session as the other: its fewer rows are some of those, and as many
/// rows as all forwards have together are those of all forwards.
fn agreed([a, b]: [(Vec<usize>, bool); 2]) -> [Vec<usize>; 2] {
    let own = |(own, told): &(Vec<usize>, bool), other: &[usize]| match (own.as_slice(), other) {
        ([], []) => vec![1],
        ([], _) => other.to_vec(),
        ([all], _) if *all == other.iter().sum::<usize>() => other.to_vec(),
        ([rows, ..], [others, ..]) if !told && rows < others => other.to_vec(),
        _ => own.clone(),
    };
    [own(&a, &b.0), own(&b, &a.0)]
}
