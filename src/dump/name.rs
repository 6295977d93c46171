//! Reads one name of a dump: which activation it means, of which forward, and which repeat.

use super::alias::{
    BEFORE, BETWEEN, COPIES, IDS, IGNORED, INDEXED, INPUTS, Indexed, LAYER, OUTPUTS, SUBLAYERS, WHOLE, WRAPPERS, Word,
};
use crate::engine::{ACTIVATIONS, Activation, Input, Site, inputs};
use crate::model::Config;

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
    /// Known, and no activation: why.
    Ignored(String),
    /// No rule matches, or the model has no such activation: why, if there is something to say.
    Unknown(Option<String>),
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
}

/// Reads a base name.
pub(super) fn meaning(base: &str, config: &Config) -> Meaning {
    if COPIES.iter().any(|mark| base.contains(mark)) {
        return Meaning::Ignored("a view or copy of another node".into());
    }
    if let Some(site) = Site::parse(base) {
        let module = ["self_attn", "mlp"].iter().any(|module| base.ends_with(module));
        return existing(site, if module { Flavour::Alias } else { Flavour::Canonical }, config);
    }
    let normal = normal(base);
    if IDS.contains(&normal.as_str()) {
        return Meaning::Ids;
    }
    if let Some((_, what)) = IGNORED.iter().find(|(name, _)| *name == normal) {
        return Meaning::Ignored((*what).into());
    }
    indexed(&normal, config)
        .or_else(|| suffixed(&normal, |name| whole(name, config)))
        .or_else(|| suffixed(&normal, |name| in_layer(name, config)))
        .unwrap_or(Meaning::Unknown(None))
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

/// Whether the model has a site.
pub(super) fn existing(site: Site, flavour: Flavour, config: &Config) -> Meaning {
    if site.layer >= config.num_hidden_layers {
        return Meaning::Unknown(Some(format!("the model has {} layers", config.num_hidden_layers)));
    }
    if !site.activation.exists(config) {
        return Meaning::Unknown(Some("this model does not normalise queries and keys per head".into()));
    }
    Meaning::Site(site, flavour)
}

/// The residual stream as it enters a layer.
fn entering(layer: usize) -> Site {
    match layer.checked_sub(1) {
        Some(before) => Site::new(before, Activation::Block),
        None => Site::whole(Activation::EmbedTokens),
    }
}

/// Hugging Face's `hidden_states[index]`.
pub(super) fn hidden_state(index: usize, config: &Config) -> Meaning {
    if index == config.num_hidden_layers {
        return Meaning::Site(Site::whole(Activation::FinalNorm), Flavour::LastHiddenState);
    }
    if index > config.num_hidden_layers {
        return Meaning::Unknown(Some(format!("the model has {} hidden states", config.num_hidden_layers + 1)));
    }
    existing(entering(index), Flavour::Alias, config)
}

/// Names that hold an index.
fn indexed(name: &str, config: &Config) -> Option<Meaning> {
    INDEXED.iter().find_map(|(what, patterns)| {
        let index = patterns.iter().find_map(|pattern| {
            let (before, behind) = pattern.split_once("{}")?;
            number(name.strip_prefix(before)?.strip_suffix(behind)?)
        })?;
        Some(match what {
            Indexed::HiddenState => hidden_state(index, config),
            Indexed::Layer(activation) => existing(Site::new(index, *activation), Flavour::Alias, config),
        })
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

fn whole(name: &str, config: &Config) -> Option<(Meaning, Option<Site>)> {
    let (word, _) = WHOLE.iter().find(|(_, names)| names.contains(&name))?;
    Some(understood(*word, 0, name, config))
}

fn in_layer(name: &str, config: &Config) -> Option<(Meaning, Option<Site>)> {
    let before = BEFORE.iter().find_map(|prefix| {
        let rest = name.strip_prefix(prefix)?;
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (layer, rest) = rest.split_at_checked(digits)?;
        let word = if rest.is_empty() { rest } else { rest.strip_prefix('_')? };
        Some(understood(layer_word(word)?, number(layer)?, word, config))
    });
    before.or_else(|| {
        let word = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let layer = number(name.get(word.len()..)?)?;
        BETWEEN.iter().find_map(|between| {
            let word = word.strip_suffix(between).filter(|word| !word.is_empty())?;
            Some(understood(layer_word(word)?, layer, word, config))
        })
    })
}

/// Finds a word in the table, as it is or without what commonly stands before it.
fn layer_word(word: &str) -> Option<Word> {
    let find = |word: &str| LAYER.iter().find(|(_, words)| words.contains(&word)).map(|(found, _)| *found);
    if let Some(found) = find(word) {
        return Some(found);
    }
    let plain = word.strip_prefix("after_");
    let plain = plain.map_or(Some(word), |rest| (!SUBLAYERS.contains(&rest)).then_some(rest))?;
    let plain = plain.strip_prefix("hook_").unwrap_or(plain);
    if let Some(found) = find(plain).filter(|_| !plain.is_empty()) {
        return Some(found);
    }
    let inner = SUBLAYERS.iter().find_map(|sublayer| plain.strip_prefix(sublayer)?.strip_prefix('_'));
    let inner = inner.map(|inner| inner.strip_prefix("hook_").unwrap_or(inner))?;
    // `mlp.hook_pre` is a name only behind its sublayer.
    let found = match inner {
        "pre" | "post" => find(&format!("mlp_{inner}")),
        inner => find(inner).filter(|found| *found != Word::Is(Activation::Block)),
    };
    found.filter(|_| !inner.is_empty())
}

/// The meaning of a word, and the site that feeds the module it names.
fn understood(word: Word, layer: usize, name: &str, config: &Config) -> (Meaning, Option<Site>) {
    let site = |activation| Site::new(layer, activation);
    let meaning = match word {
        Word::Is(activation) => existing(site(activation), Flavour::Alias, config),
        Word::Entering if layer < config.num_hidden_layers => existing(entering(layer), Flavour::Alias, config),
        Word::Entering => existing(site(Activation::Block), Flavour::Alias, config),
        Word::Unscaled => existing(site(Activation::Scores), Flavour::Unscaled, config),
        Word::BeforeWeight(activation) => existing(site(activation), Flavour::BeforeWeight, config),
        Word::Repeated(projection, rotated) => match existing(site(projection), Flavour::Alias, config) {
            Meaning::Site(projection, _) => Meaning::Repeated(projection, site(rotated)),
            other => other,
        },
    };
    let given = match (&meaning, word) {
        (Meaning::Site(..), Word::Is(Activation::Block)) => Some(entering(layer)),
        (Meaning::Site(..), Word::Is(Activation::OProj)) if SUBLAYERS.contains(&name) => {
            Some(site(Activation::InputNorm))
        }
        (Meaning::Site(..), Word::Is(Activation::DownProj)) if SUBLAYERS.contains(&name) => {
            Some(site(Activation::PostAttentionNorm))
        }
        (Meaning::Site(of, _), Word::Is(_)) if of.activation != Activation::EmbedTokens => {
            inputs(*of, config).first().and_then(|input| if let Input::Site(site) = input { Some(*site) } else { None })
        }
        _ => None,
    };
    (meaning, given)
}

/// The canonical names closest to a name that no rule matched, best first.
pub(super) fn guesses(base: &str, config: &Config) -> Vec<String> {
    let wanted = normal(base);
    let digits: String = wanted.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    let layer = number(&digits).filter(|layer| *layer < config.num_hidden_layers);
    let mut found: Vec<(usize, String)> = ACTIVATIONS
        .iter()
        .filter(|row| row.activation.exists(config) && row.activation != Activation::Block)
        .filter_map(|row| {
            let site = if row.per_layer { Site::new(layer?, row.activation) } else { Site::whole(row.activation) };
            let names = [normal(&site.to_string()), normal(&site.short()), normal(row.short)];
            let distance = names.iter().map(|name| distance(&wanted, name)).min()?;
            (distance * 2 < wanted.chars().count().max(3)).then(|| (distance, site.to_string()))
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
