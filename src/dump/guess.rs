//! The sizes of a model, read from the names and shapes of its dumps, for want of the model itself.

use std::collections::BTreeMap;

use super::Options;
use super::error::Error;
use super::matching::{Matched, matching};
use super::plan::Planned;
use super::shape::Kind;
use crate::engine::{Graph, Node, Role};
use crate::formats::Archive;
use crate::model::Model;
use crate::model::lower::lower;
use crate::model::spec::{Attn, Experts, Mlp, Rope};

mod names;

/// What two dumps tell about their model.
#[derive(Debug)]
pub(super) struct Guess {
    /// Without weights, and sizes only: its numbers that are no sizes mean nothing.
    pub(super) model: Model,
    /// The width of a head.
    pub(super) head_dim: usize,
    /// Whether that is told; else q and k count as few heads as their widths allow.
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

/// Reads the names as those of a model that has all that they ask for, then lets the shapes vote.
pub(super) fn guess(archives: [&Archive; 2], options: &Options, typed: Option<usize>) -> Result<Guess, Error> {
    let mut spec = names::asked_for(archives, options.map.as_ref());
    let any = lower(&spec);
    let mut matched = archives.map(|archive| matching(archive, &any, options.map.as_ref()));
    if let Some(refused) = matched.iter_mut().find_map(|matched| matched.refused.take()) {
        return Err(refused);
    }
    let steps =
        agreed([steps(archives[0], &matched[0], options, typed), steps(archives[1], &matched[1], options, typed)]);
    let taken =
        || matched.iter().zip(&steps).flat_map(|(m, steps)| m.taken.iter().map(move |planned| (planned, steps)));

    let layers =
        archives.iter().zip(&matched).map(|(archive, matched)| layers(archive, matched, &any)).max().unwrap_or(1);
    let mut widths: BTreeMap<&'static str, Votes> = BTreeMap::new();
    for (planned, steps) in taken().filter(|(planned, _)| planned.expression.is_none()) {
        for (what, size) in sizes(planned, &any[planned.site], steps.get(planned.forward).copied()) {
            widths.entry(what).or_default().add(size);
        }
    }
    let size = |what: &str| widths.get(what).and_then(Votes::winner);
    let (query, key) = (size("query"), size("key"));
    let head_dim = size("head_dim").or_else(|| Some(query? / size("heads")?)).filter(|width| *width > 0);
    let heads_known = head_dim.is_some();
    let head_dim = head_dim.or(key).or(query).unwrap_or(1);
    let heads = query.map_or_else(|| size("heads").unwrap_or(1), |query| (query / head_dim).max(1));
    let kv_heads = key.map_or(heads, |key| (key / head_dim).max(1));
    let normed = taken().any(|(planned, _)| any.is(planned.site, Role::QNorm) || any.is(planned.site, Role::KNorm));

    spec.hidden = size("hidden").unwrap_or(1);
    spec.embed.scale = spec.embed.scale.map(|_| (spec.hidden as f32).sqrt());
    spec.vocab = size("vocab").unwrap_or(u32::MAX as usize);
    spec.layers.truncate(layers);
    for layer in &mut spec.layers {
        let attn = &mut layer.attn;
        let scale = (head_dim as f64).sqrt().recip();
        *attn = Attn { heads, kv_heads, head_dim, scale, window: None, ..attn.clone() };
        attn.qk_norm = attn.qk_norm.filter(|_| normed);
        attn.rope = attn.rope.take().map(|rope| Rope { dims: head_dim, ..rope });
        match &mut layer.mlp {
            Mlp::Plain(feed) | Mlp::Gated(feed) => feed.width = size("intermediate").unwrap_or(1),
            Mlp::Experts(Experts { feed, count, router, .. }) => {
                feed.width = size("expert width").unwrap_or(1);
                *count = size("expert").unwrap_or(1);
                router.top_k = size("slot").unwrap_or(1);
            }
        }
    }
    Ok(Guess { model: Model::bare(spec), head_dim, heads_known, steps })
}

/// Layers that the names mention, or that a stack of hidden states has. A list has no names: it is Hugging Face's
/// `hidden_states`, with the embeddings.
fn layers(archive: &Archive, matched: &Matched, graph: &Graph) -> usize {
    if let Some(layers) = matched.stacked {
        return layers.max(1);
    }
    let list = archive.entries().iter().all(|entry| entry.name.parse::<usize>().is_ok());
    let last = matched.taken.iter().filter_map(|planned| graph[planned.site].layer).max();
    last.map_or(1, |last| if list { last.max(1) } else { last + 1 })
}

/// What one tensor tells: `hidden`, `intermediate`, `vocab`, `query`, `key` (widths of a row), `head_dim`, `heads`, and of
/// experts `expert` (how many), `slot` (how many are chosen), `expert width`.
fn sizes(planned: &Planned, node: &Node, tokens: Option<usize>) -> Vec<(&'static str, usize)> {
    let axes = || node.axes.iter().rev().map(|axis| axis.name);
    let what = match axes().find(|name| !["head_dim", "token"].contains(name)).unwrap_or_default() {
        "head*head_dim" | "head" => "query",
        "kv_head*head_dim" | "kv_head" => "key",
        "intermediate" if planned.wanted.kind == Kind::Slots => "expert width",
        other => other,
    };
    let count: usize = planned.stored.iter().product();
    if planned.flat {
        let width = tokens.filter(|tokens| {
            !matches!(planned.wanted.kind, Kind::Scores | Kind::Slots) && count.is_multiple_of(*tokens)
        });
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
        (Kind::Slots, [_, slots, width]) => vec![("slot", *slots), (what, *width)],
        (Kind::Scores | Kind::Slots, _) => Vec::new(),
        (_, dims) => dims.last().map(|width| (what, *width)).into_iter().collect(),
    }
}

/// Tokens per forward, and whether they are more than what shapes suggest. Empty when nothing tells.
fn steps(archive: &Archive, matched: &Matched, options: &Options, typed: Option<usize>) -> (Vec<usize>, bool) {
    let list = |key: &str| serde_json::from_str::<Vec<usize>>(archive.metadata().get(key)?).ok();
    let forwards = matched.taken.iter().map(|planned| planned.forward + 1).max().unwrap_or(1);
    let shaped: Vec<Option<usize>> =
        (0..forwards).map(|forward| rows(matched, forward, options.batch.is_some())).collect();
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
fn rows(matched: &Matched, forward: usize, batched: bool) -> Option<usize> {
    let mut votes = Votes::default();
    let of_rows = |planned: &&Planned| {
        let plain = !planned.flat && planned.expression.is_none();
        plain && planned.forward == forward && planned.wanted.kind == Kind::Rows
    };
    for planned in matched.taken.iter().filter(of_rows) {
        match planned.stored.as_slice() {
            [_, before @ .., _] if batched && !before.is_empty() => votes.add(before.iter().product()),
            [before @ .., _] => votes.add(before.iter().product()),
            [] => {}
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
