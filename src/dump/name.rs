//! Reads one name of a dump: which activation it means, of which forward, and which repeat.

use std::cmp::Ordering;

use super::alias::{
    BEFORE, BETWEEN, COPIES, IDS, IGNORED, INDEXED, INPUTS, LAYER, OUTPUTS, SUBLAYERS, WHOLE, WRAPPERS, Word,
};
use crate::engine::{Graph, Node, Op, ROLES, Read, Role, Site};

/// A name without its suffixes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    /// The name itself.
    pub(super) base: String,
    /// `@k`: the forward, if the name says.
    pub(super) forward: Option<usize>,
    /// `~k`: the k-th tensor of this name, from 1.
    pub(super) repeat: usize,
}

impl Name {
    /// Splits `Qcur-3~2@1` into its parts.
    pub(super) fn split(full: &str) -> Self {
        let (mut base, mut forward, mut repeat) = (full, None, 1);
        while let Some(at) = base.rfind(['@', '~']) {
            let Some(number) = base.get(at + 1..).and_then(number) else { break };
            if base.as_bytes().get(at) == Some(&b'@') {
                forward = Some(number);
            } else {
                repeat = number;
            }
            base = base.get(..at).unwrap_or_default();
        }
        Self { base: base.to_string(), forward, repeat }
    }
}

/// What a name means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// An activation.
    Site(Site, Flavour),
    /// One of several tensors of a name that ggml repeats: `[projection, rotated]` of a layer.
    Repeated(Site, Site),
    /// The ids fed.
    Ids,
    /// The experts that a layer's router chose, most weight first.
    Chosen(usize),
    /// Known, and no activation: why.
    Ignored(String),
    /// A rule matches, and the model has no such activation.
    Absent(Absent),
    /// No rule matches.
    Unknown,
}

/// What a name asks for that a model does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absent {
    /// A layer.
    Layer(usize),
    /// One of Hugging Face's `hidden_states`.
    State(usize),
    /// An op, in a layer or outside of all.
    Role(Option<usize>, Role),
}

impl Absent {
    /// In words.
    pub(super) fn why(self, graph: &Graph) -> String {
        match self {
            Self::Layer(_) => format!("the model has {} layers", graph.layers()),
            Self::State(_) => format!("the model has {} hidden states", graph.layers() + 1),
            Self::Role(_, Role::QNorm | Role::KNorm) => {
                "this model does not normalise queries and keys per head".into()
            }
            Self::Role(Some(layer), role) if graph.has(role) => format!("layer {layer} has no {}", role.short()),
            Self::Role(_, role) => format!("this model has no {}", role.short()),
        }
    }
}

/// How the values under a name differ from the activation of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flavour {
    /// Not at all; the name is canonical.
    Canonical,
    /// Not at all; the name is an alias.
    Alias,
    /// Hugging Face's last `hidden_states`: after the final norm by convention.
    LastHiddenState,
    /// Scores before the scale and the mask.
    Unscaled,
    /// A norm before its weight.
    BeforeWeight,
    /// Of each chosen expert, in the order in which the router chose them.
    Ranked,
}

/// Reads a base name: what the family calls its modules comes first.
pub(super) fn meaning(base: &str, graph: &Graph) -> Meaning {
    if COPIES.iter().any(|mark| base.contains(mark)) {
        return Meaning::Ignored("a view or copy of another node".into());
    }
    if let Some(site) = graph.parse(base) {
        let (node, rest) = (&graph[site], graph.layered(base).map_or(base, |(_, rest)| rest));
        let own = node.label == rest || node.name.ends_with(rest);
        return Meaning::Site(site, if own { Flavour::Canonical } else { Flavour::Alias });
    }
    let normal = normal(base);
    if IDS.contains(&normal.as_str()) {
        return Meaning::Ids;
    }
    if let Some((_, what)) = IGNORED.iter().find(|(name, _)| *name == normal) {
        return Meaning::Ignored((*what).into());
    }
    indexed(&normal, graph)
        .or_else(|| suffixed(&normal, |name| whole(name, graph)))
        .or_else(|| suffixed(&normal, |name| in_layer(name, graph)))
        .unwrap_or_else(|| canonical(base, graph))
}

/// Reads a canonical or short name, or what would be one if the model had the layer, or the op.
pub(super) fn canonical(base: &str, graph: &Graph) -> Meaning {
    if let Some(site) = graph.parse(base) {
        return Meaning::Site(site, Flavour::Alias);
    }
    let (layer, rest) = graph.layered(base).map_or((None, base), |(layer, rest)| (Some(layer), rest));
    let word = rest.rsplit('.').next().unwrap_or(rest);
    let row = ROLES.iter().find(|row| row.per_layer == layer.is_some() && row.short == word);
    match (layer, row) {
        (Some(layer), _) if layer >= graph.layers() => {
            let known = row.is_some() || graph.parse(&format!("0.{rest}")).is_some();
            if known { Meaning::Absent(Absent::Layer(layer)) } else { Meaning::Unknown }
        }
        (_, Some(row)) => Meaning::Absent(Absent::Role(layer, row.role)),
        (_, None) => Meaning::Unknown,
    }
}

/// Lower case, every separator an underscore, wrappers and class names removed.
pub(super) fn normal(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        let separator = c.is_whitespace() || "._/\\-:[]".contains(c);
        match (separator, out.ends_with('_')) {
            (true, false) if !out.is_empty() => out.push('_'),
            (true, _) => {}
            (false, _) => out.extend(c.to_lowercase()),
        }
    }
    let mut rest = out.trim_end_matches('_');
    while let Some(shorter) = WRAPPERS.iter().find_map(|wrapper| rest.strip_prefix(wrapper)) {
        rest = shorter;
    }
    if let Some((class, module)) = rest.split_once('_')
        && ["forcausallm", "lmheadmodel", "model"].iter().any(|end| class.len() > end.len() && class.ends_with(end))
    {
        rest = module;
    }
    rest.to_string()
}

/// A decimal number, digits only.
fn number(text: &str) -> Option<usize> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) { None } else { text.parse().ok() }
}

/// What plays a role in a layer, or outside of all.
pub(super) fn placed(layer: Option<usize>, role: Role, flavour: Flavour, graph: &Graph) -> Meaning {
    match (graph.find(layer, role), layer) {
        (Some(site), _) => Meaning::Site(site, flavour),
        (None, Some(layer)) if layer >= graph.layers() => Meaning::Absent(Absent::Layer(layer)),
        (None, _) => Meaning::Absent(Absent::Role(layer, role)),
    }
}

/// Hugging Face's `hidden_states[index]`.
pub(super) fn hidden_state(index: usize, graph: &Graph) -> Meaning {
    match index.cmp(&graph.layers()) {
        Ordering::Equal => placed(None, Role::FinalNorm, Flavour::LastHiddenState, graph),
        Ordering::Greater => Meaning::Absent(Absent::State(index)),
        Ordering::Less => graph.entering(index).map_or(Meaning::Unknown, |site| Meaning::Site(site, Flavour::Alias)),
    }
}

/// Names that hold an index.
fn indexed(name: &str, graph: &Graph) -> Option<Meaning> {
    INDEXED.iter().find_map(|(what, patterns)| Some(what.meaning(index_in(name, patterns)?, graph)))
}

/// The number that stands for `{}` in the first pattern that a name has the form of.
pub(super) fn index_in(name: &str, patterns: &[&str]) -> Option<usize> {
    patterns.iter().find_map(|pattern| {
        let (before, behind) = pattern.split_once("{}")?;
        number(name.strip_prefix(before)?.strip_suffix(behind)?)
    })
}

/// `read` of the name, else of the name without a suffix for a module's output, else what the module was given.
fn suffixed(name: &str, read: impl Fn(&str) -> Option<(Meaning, Option<Site>)>) -> Option<Meaning> {
    let mut shorter = name;
    loop {
        if let Some((meaning, _)) = read(shorter) {
            return Some(meaning);
        }
        match OUTPUTS.iter().find_map(|suffix| shorter.strip_suffix(suffix)) {
            Some(rest) => shorter = rest,
            None => break,
        }
    }
    let module = INPUTS.iter().find_map(|suffix| name.strip_suffix(suffix))?;
    let (_, given) = read(module)?;
    given.map(|site| Meaning::Site(site, Flavour::Alias))
}

fn whole(name: &str, graph: &Graph) -> Option<(Meaning, Option<Site>)> {
    let own = graph.nodes().iter().filter(|node| node.layer.is_none());
    let own = own.filter(|node| alike(name, &node.name) || alike(name, &node.label)).find_map(|node| node.role);
    let mut rows = WHOLE.iter().filter(|(_, names)| names.contains(&name)).map(|(word, _)| *word);
    let word = match own {
        Some(role) => Word::Is(role),
        None => rows.clone().find(|word| is_there(*word, None, graph)).or_else(|| rows.next())?,
    };
    Some(understood(word, None, name, graph))
}

fn in_layer(name: &str, graph: &Graph) -> Option<(Meaning, Option<Site>)> {
    let before = BEFORE.iter().find_map(|prefix| {
        let rest = name.strip_prefix(prefix)?;
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (layer, rest) = rest.split_at_checked(digits)?;
        let (layer, word) = (number(layer)?, if rest.is_empty() { rest } else { rest.strip_prefix('_')? });
        Some(understood(layer_word(word, layer, graph)?, Some(layer), word, graph))
    });
    before.or_else(|| {
        let word = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let layer = number(name.get(word.len()..)?)?;
        BETWEEN.iter().find_map(|between| {
            let word = word.strip_suffix(between).filter(|word| !word.is_empty())?;
            Some(understood(layer_word(word, layer, graph)?, Some(layer), word, graph))
        })
    })
}

/// What a word says, as it is or without what commonly stands before it: the first of its meanings that the layer has.
fn layer_word(word: &str, layer: usize, graph: &Graph) -> Option<Word> {
    let plain = word.strip_prefix("after_");
    let plain = plain.map_or(Some(word), |rest| (!SUBLAYERS.contains(&rest)).then_some(rest));
    let plain = plain.map(|plain| plain.strip_prefix("hook_").unwrap_or(plain)).filter(|plain| !plain.is_empty());
    let inner =
        plain.and_then(|plain| SUBLAYERS.iter().find_map(|sublayer| plain.strip_prefix(sublayer)?.strip_prefix('_')));
    // `mlp.hook_pre` is a name only behind its sublayer.
    let inner = match inner.map(|inner| inner.strip_prefix("hook_").unwrap_or(inner)) {
        Some("pre") => Some("mlp_pre"),
        Some("post") => Some("mlp_post"),
        inner => inner.filter(|inner| !inner.is_empty()),
    };
    let layer = if layer < graph.layers() { layer } else { 0 };
    let rows = |word: &str| {
        let word = word.to_string();
        let is_said = move |(found, words): &&(Word, &[&str])| {
            words.contains(&word.as_str()) && !holds(&word, *found, layer, graph)
        };
        LAYER.iter().filter(is_said).map(|(found, _)| *found)
    };
    let ways = || [Some(word), plain, inner].into_iter().enumerate().filter_map(|(at, word)| Some((at, word?)));
    let fits = |at: usize, found: Word| at < 2 || found != Word::Is(Role::Block);
    let there = ways().find_map(|(at, word)| {
        let own = own(word, layer, graph).map(Word::Is);
        own.into_iter().chain(rows(word)).find(|found| fits(at, *found) && is_there(*found, Some(layer), graph))
    });
    there.or_else(|| ways().find_map(|(at, word)| rows(word).find(|found| fits(at, *found))))
}

/// Whether a word is the module that holds the logits: Gemma 4's `router` gives something else than its `router.proj`.
fn holds(word: &str, found: Word, layer: usize, graph: &Graph) -> bool {
    let is_logits = found == Word::Is(Role::RouterLogits);
    let label = graph.in_layer(layer, Role::RouterLogits).filter(|_| is_logits).map(|site| &graph[site].label);
    label.is_some_and(|label| label.strip_prefix(word).is_some_and(|rest| rest.starts_with('.')))
}

/// The role of what the family itself calls by a word in a layer.
fn own(word: &str, layer: usize, graph: &Graph) -> Option<Role> {
    let block = &graph[graph.in_layer(layer, Role::Block)?];
    let nodes = graph.nodes().iter().skip(graph.start(layer)).take_while(|node| node.layer == Some(layer));
    let called = |node: &&Node| {
        let path = node.name.strip_prefix(block.name.as_str()).unwrap_or_default();
        alike(word, &node.label) || alike(word, path.trim_start_matches('.'))
    };
    nodes.into_iter().find(called)?.role
}

/// Whether a name is `normal` in its normal form.
fn alike(normal: &str, name: &str) -> bool {
    let plain = |c: char| if "._/\\-:[]".contains(c) { '_' } else { c.to_ascii_lowercase() };
    name.len() == normal.len() && name.chars().map(plain).eq(normal.chars())
}

/// Whether a layer, or the model outside of all, has what a word means.
fn is_there(word: Word, layer: Option<usize>, graph: &Graph) -> bool {
    match word {
        Word::Is(role) | Word::BeforeWeight(role) | Word::Ranked(role) | Word::Repeated(role, _) => {
            graph.find(layer, role).is_some()
        }
        Word::Unscaled => graph.find(layer, Role::Scores).is_some(),
        Word::Chosen => graph.find(layer, Role::Routing).is_some(),
        Word::Entering | Word::BeforeFactor => true,
    }
}

/// The meaning of a word, and the site that feeds the module it names.
fn understood(word: Word, layer: Option<usize>, name: &str, graph: &Graph) -> (Meaning, Option<Site>) {
    let meaning = match word {
        Word::Is(role) => placed(layer, role, Flavour::Alias, graph),
        Word::Entering => match layer.filter(|layer| *layer < graph.layers()).and_then(|layer| graph.entering(layer)) {
            Some(site) => Meaning::Site(site, Flavour::Alias),
            None => placed(layer, Role::Block, Flavour::Alias, graph),
        },
        Word::BeforeFactor => match placed(layer, Role::EmbedTokens, Flavour::Alias, graph) {
            Meaning::Site(site, _) if matches!(graph[site].op, Op::Embed { factor, .. } if factor != 1.0) => {
                Meaning::Ignored("before the factor of the embeddings".into())
            }
            other => other,
        },
        Word::Unscaled => placed(layer, Role::Scores, Flavour::Unscaled, graph),
        Word::BeforeWeight(role) => placed(layer, role, Flavour::BeforeWeight, graph),
        Word::Ranked(role) => placed(layer, role, Flavour::Ranked, graph),
        Word::Chosen => match (placed(layer, Role::Routing, Flavour::Alias, graph), layer) {
            (Meaning::Site(..), Some(layer)) => Meaning::Chosen(layer),
            (other, _) => other,
        },
        Word::Repeated(projection, rotated) => match placed(layer, projection, Flavour::Alias, graph) {
            Meaning::Site(projection, _) => {
                Meaning::Repeated(projection, graph.find(layer, rotated).unwrap_or(projection))
            }
            other => other,
        },
    };
    let given = match (&meaning, word) {
        (Meaning::Site(..), Word::Is(Role::Block)) => layer.and_then(|layer| graph.entering(layer)),
        (Meaning::Site(of, _), Word::Is(role)) => {
            let first = layer.filter(|_| SUBLAYERS.contains(&name)).and_then(|layer| first_inside(role, layer, graph));
            graph[first.unwrap_or(*of)]
                .reads
                .first()
                .and_then(|read| if let Read::Node(site) = read { Some(*site) } else { None })
        }
        _ => None,
    };
    (meaning, given)
}

/// The first op inside a module that gives what an op of `role` gives.
fn first_inside(role: Role, layer: usize, graph: &Graph) -> Option<Site> {
    let first: &[Role] = match role {
        Role::OProj => &[Role::QkvProj, Role::QProj],
        Role::DownProj | Role::Experts => &[Role::GateProj, Role::RouterLogits, Role::UpProj],
        _ => &[],
    };
    first.iter().find_map(|role| graph.in_layer(layer, *role))
}

/// The canonical names closest to a name that no rule matched, best first.
pub(super) fn guesses(base: &str, graph: &Graph) -> Vec<String> {
    let wanted = normal(base);
    let digits: String = wanted.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    let layer = number(&digits).filter(|layer| *layer < graph.layers());
    let mut found: Vec<(usize, String)> = graph
        .nodes()
        .iter()
        .filter(|node| node.role != Some(Role::Block) && (node.layer.is_none() || node.layer == layer))
        .filter_map(|node| {
            let names = [normal(&node.name), normal(&node.short), normal(&node.label)];
            let distance = names.iter().map(|name| distance(&wanted, name)).min()?;
            (distance * 2 < wanted.chars().count().max(3)).then(|| (distance, node.name.clone()))
        })
        .collect();
    found.sort();
    found.into_iter().take(2).map(|(_, name)| name).collect()
}

/// Letters to insert, remove or replace: Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(200).enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(&b) {
            let new = (diagonal + usize::from(x != *y)).min(left + 1).min(*cell + 1);
            diagonal = std::mem::replace(cell, new);
            left = new;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}
