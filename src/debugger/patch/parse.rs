//! Patches as users type them.

use std::ops::RangeInclusive;

use super::request::{Amount, Change, Half, PatchRequest, Place, Source, Unit, Unpatch};
use crate::engine::{Part, Tokens};

/// What is left of a line, word by word.
struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let rest = self.0.trim_start();
        let (word, rest) = rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len()));
        self.0 = rest;
        Some(word).filter(|word| !word.is_empty())
    }

    fn rest(&mut self) -> &'a str {
        std::mem::take(&mut self.0).trim()
    }
}

const CHANGES: &str = "zero, mean, scale K, set V, add V, from reference, from candidate or from FILE";
const PLACES: &str = "token=, head=, key=, channel= or step=";

impl PatchRequest {
    /// Reads what follows the word `patch`: `ACT [token=..] [head=..] [key=..] [channel=..] [step=..] CHANGE`.
    ///
    /// # Errors
    /// One sentence.
    pub fn parse_patch(text: &str) -> Result<Self, String> {
        let mut words = Words(text);
        let activation = words.next().ok_or_else(|| format!("patch what? give an activation, and {CHANGES}"))?.into();
        let (mut place, mut change) = (Typed::default(), None);
        while let Some(word) = words.next() {
            if place.take(word)? {
                continue;
            }
            let mut amount = || words.next().map_or_else(|| Err(format!("{word} by how much? give a number")), amount);
            let found = match word {
                "zero" => Change::Zero,
                "mean" => Change::Mean,
                "scale" => Change::Scale(amount()?),
                "set" => Change::Set(amount()?),
                "add" => Change::Add(amount()?),
                "from" => Change::From(source(&mut words)?),
                _ => return Err(format!("{word:?} is no change of values: {CHANGES}")),
            };
            if change.replace(found).is_some() {
                return Err(format!("one patch makes one change: {word} is the second"));
            }
        }
        let change = change.ok_or_else(|| format!("{activation} becomes what? {CHANGES}"))?;
        Ok(Self::Patch { activation, place: place.place, change })
    }

    /// Reads what follows the word `ablate`: `ACT.. [token=..] ..`, `head LAYER.HEAD.. [token=..] [step=..]`, or
    /// `expert LAYER.EXPERT..` with the same.
    ///
    /// # Errors
    /// One sentence.
    pub fn parse_ablate(text: &str) -> Result<Self, String> {
        let mut words = Words(text);
        let (mut names, mut place) = (Vec::new(), Typed::default());
        while let Some(word) = words.next() {
            if !place.take(word)? {
                names.push(word);
            }
        }
        let place = place.place;
        match names.split_first() {
            None => Err("ablate what? give an activation, head LAYER.HEAD or expert LAYER.EXPERT".into()),
            Some((&"head", heads)) => {
                if place.part.heads.is_some() {
                    return Err("heads are named as LAYER.HEAD: head= says it twice".into());
                }
                Ok(Self::AblateUnits { unit: Unit::Head, of: units(Unit::Head, heads)?, place })
            }
            Some((&"expert", experts)) => {
                tokens_only(&place)?;
                Ok(Self::AblateUnits { unit: Unit::Expert, of: units(Unit::Expert, experts)?, place })
            }
            Some(_) => Ok(Self::Ablate { activations: names.iter().map(ToString::to_string).collect(), place }),
        }
    }

    /// Reads what follows the word `force`: `LAYER.EXPERT.. [token=..] [step=..]`.
    ///
    /// # Errors
    /// One sentence.
    pub fn parse_force(text: &str) -> Result<Self, String> {
        let mut words = Words(text);
        let (mut names, mut place) = (Vec::new(), Typed::default());
        while let Some(word) = words.next() {
            if !place.take(word)? {
                names.push(word);
            }
        }
        tokens_only(&place.place)?;
        Ok(Self::Force { experts: units(Unit::Expert, &names)?, place: place.place })
    }

    /// Reads what follows the word `skip`: `LAYER[.attn|.mlp].. [token=..] [step=..]`.
    ///
    /// # Errors
    /// One sentence.
    pub fn parse_skip(text: &str) -> Result<Self, String> {
        let mut words = Words(text);
        let (mut parts, mut place) = (Vec::new(), Typed::default());
        while let Some(word) = words.next() {
            if place.take(word)? {
                continue;
            }
            let (layer, half) = word.split_once('.').unwrap_or((word, ""));
            let half = match half {
                "" => Some(Half::Both),
                "attn" => Some(Half::Attention),
                "mlp" => Some(Half::Mlp),
                _ => None,
            };
            let part = layer.parse().ok().zip(half);
            parts.push(part.ok_or_else(|| format!("{word} is no layer: skip 12, 12.attn or 12.mlp"))?);
        }
        if parts.is_empty() {
            return Err("skip what? give a layer: skip 12, 12.attn or 12.mlp".into());
        }
        Ok(Self::Skip { parts, place: place.place })
    }

    /// Reads what follows the word `heal`: `ACT [token=..] ..`.
    ///
    /// # Errors
    /// One sentence.
    pub fn parse_heal(text: &str) -> Result<Self, String> {
        let mut words = Words(text);
        let activation = words.next().ok_or("heal what? give an activation")?.into();
        let mut place = Typed::default();
        while let Some(word) = words.next() {
            if !place.take(word)? {
                return Err(format!("{word:?} does not say what to heal: {PLACES}"));
            }
        }
        Ok(Self::Heal { activation, place: place.place })
    }
}

impl Unpatch {
    /// Reads what follows the word `unpatch`: a number, an activation, or `all`.
    ///
    /// # Errors
    /// One sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut words = Words(text);
        match (words.next(), words.next()) {
            (None, _) => Err("unpatch what? give the number of a patch, an activation, or all".into()),
            (Some(_), Some(word)) => Err(format!("one at a time: {word:?} is too much")),
            (Some("all"), None) => Ok(Self::All),
            (Some(word), None) => Ok(word.parse().map_or_else(|_| Self::Activation(word.into()), Self::Number)),
        }
    }
}

/// A place, as far as it was read.
#[derive(Default)]
struct Typed {
    place: Place,
    names: Vec<String>,
}

impl Typed {
    /// Takes `token=3` and the like; false where the word is none of them.
    fn take(&mut self, word: &str) -> Result<bool, String> {
        let Some((name, value)) = word.split_once('=') else { return Ok(false) };
        if self.names.iter().any(|known| known == name) {
            return Err(format!("{name}= is given twice"));
        }
        self.names.push(name.into());
        let part = &mut self.place.part;
        match (name, value) {
            ("token", "-1") => part.tokens = Tokens::Last,
            ("token", _) => part.tokens = range(word, value)?.map_or(Tokens::All, Tokens::At),
            ("head", _) => part.heads = range(word, value)?,
            ("key", _) => part.keys = range(word, value)?,
            ("channel", _) => part.channels = range(word, value)?,
            ("step", "all") => self.place.step = None,
            ("step", _) => {
                let step =
                    value.parse().map_err(|_| format!("{word} is not one step: step=0 is the prefill, or step=all"))?;
                self.place.step = Some(step);
            }
            _ => return Err(format!("{name}= says nothing about a place: {PLACES}")),
        }
        Ok(true)
    }
}

/// `5`, `2-5`, `0:8` without its end, `all`.
fn range(word: &str, value: &str) -> Result<Option<RangeInclusive<usize>>, String> {
    if value == "all" {
        return Ok(None);
    }
    let number = |text: &str| text.parse::<usize>().map_err(|_| format!("{word} is not like 5, 2-5, 0:8 or all"));
    let (first, last) = if let Some((first, last)) = value.split_once('-') {
        (number(first)?, number(last)?)
    } else if let Some((first, end)) = value.split_once(':') {
        let end = number(end)?;
        (number(first)?, end.checked_sub(1).ok_or_else(|| format!("{word} is empty"))?)
    } else {
        (number(value)?, number(value)?)
    };
    if first > last { Err(format!("{word} is empty")) } else { Ok(Some(first..=last)) }
}

/// `3.5`, `3.0-7`: at least one.
fn units(unit: Unit, words: &[&str]) -> Result<Vec<(usize, RangeInclusive<usize>)>, String> {
    let unit = unit.word();
    if words.is_empty() {
        return Err(format!("which {unit}? {unit} 5 of layer 3 is 3.5"));
    }
    let one = |word: &&str| {
        let wrong = || format!("{word} is no {unit}: {unit} 5 of layer 3 is 3.5, {unit}s 0 to 7 are 3.0-7");
        let (layer, numbers) = word.split_once('.').ok_or_else(wrong)?;
        let numbers = range(word, numbers).ok().flatten().ok_or_else(wrong)?;
        Ok((layer.parse().map_err(|_| wrong())?, numbers))
    };
    words.iter().map(one).collect()
}

/// Experts are named as `LAYER.EXPERT`: beside that only tokens and a step say where.
fn tokens_only(place: &Place) -> Result<(), String> {
    let Part { heads, keys, channels, .. } = &place.part;
    if heads.is_some() || keys.is_some() || channels.is_some() {
        return Err("experts are named as LAYER.EXPERT: beside that, token= and step= say where".into());
    }
    Ok(())
}

fn amount(word: &str) -> Result<Amount, String> {
    let value: f32 = word.parse().map_err(|_| format!("{word:?} is not a number"))?;
    if value.is_infinite() && word.bytes().any(|byte| byte.is_ascii_digit()) {
        return Err(format!("{word} is too large for f32: inf is infinity"));
    }
    Ok(Amount(if value.is_nan() { f32::NAN } else { value }))
}

/// What follows `from`: a file's name goes to the end of the line.
fn source(words: &mut Words) -> Result<Source, String> {
    let before = words.0;
    match words.next() {
        None => Err("from where? from reference, from candidate or from FILE".into()),
        Some("reference") => Ok(Source::Reference),
        Some("candidate") => Ok(Source::Candidate),
        Some(_) => {
            words.0 = before;
            Ok(Source::File(words.rest().into()))
        }
    }
}
