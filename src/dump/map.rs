//! `--map FILE`: what the tensors of somebody's own engine mean, when no alias fits. The file is TOML:
//!
//! ```toml
//! # pattern = name. `{N}` stands for a number; `{N-1}` and `{N+1}` may follow in the name, for layers counted from 1.
//! "enc{N}_attnout" = "model.layers.{N-1}.self_attn.o_proj"
//! "step{K}_logits" = "lm_head@{K}"
//! "scratch*"       = "ignore"
//!
//! # With more to do than to rename: sum (adds tensors of the same shape), then reshape, then transpose.
//! ["enc{N}_q"]
//! name = "model.layers.{N-1}.self_attn.q_proj"
//! sum = ["enc{N}_q_bias"]
//! reshape = [-1, "heads", "head_dim"]    # numbers; -1: what remains; hidden, heads, kv_heads, head_dim, intermediate, vocab
//! transpose = [1, 0, 2]                  # the axes in their new order
//! ```
//!
//! Patterns are tried in the order of the file, before every built-in alias; `*` stands for anything.

use std::fs;
use std::path::{Path, PathBuf};

use ndarray::{ArrayD, IxDyn};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Error, shown};
use super::name::Name;
use crate::engine::Site;
use crate::model::Config;

/// Rules read from a map file.
#[derive(Clone, Debug, Default)]
pub struct Map {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    pattern: String,
    name: String,
    sum: Vec<String>,
    reshape: Vec<Size>,
    transpose: Vec<usize>,
}

/// One size of a reshape.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Size {
    Number(usize),
    Rest,
    Named(String),
}

/// The words a reshape may use.
const SIZES: &[&str] = &["hidden", "heads", "kv_heads", "head_dim", "intermediate", "vocab"];

/// What is done to a tensor before its shape is looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Expression {
    /// Names of tensors that are added.
    pub(super) sum: Vec<String>,
    reshape: Vec<Option<usize>>,
    transpose: Vec<usize>,
}

/// What a map says about a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mapped {
    /// It is this activation.
    To(String, Option<Expression>),
    /// It is to be passed over.
    Ignore,
}

impl Map {
    /// Reads a map file.
    pub fn open(path: &Path) -> Result<Map, Error> {
        let text = fs::read_to_string(path).map_err(|source| Error::MapFile { file: path.to_owned(), source })?;
        Map::parse(path, &text)
    }

    /// Reads the text of a map file; `path` is for its errors.
    pub fn parse(path: &Path, text: &str) -> Result<Map, Error> {
        let reader = Reader { path: path.to_owned(), text };
        let table = DeTable::parse(text)
            .map_err(|e| reader.error(e.span().map_or(0, |span| span.start), shown(e.message())))?;
        let rules = table
            .get_ref()
            .iter()
            .map(|(pattern, value)| reader.rule(pattern, value))
            .collect::<Result<Vec<(usize, Rule)>, Error>>();
        let mut rules = rules?;
        rules.sort_by_key(|(at, _)| *at);
        Ok(Map { rules: rules.into_iter().map(|(_, rule)| rule).collect() })
    }

    /// What the first rule that matches makes of a name.
    pub(super) fn find(&self, name: &str, config: &Config) -> Option<Mapped> {
        self.rules.iter().find_map(|rule| {
            let numbers = captures(&rule.pattern, name)?;
            if rule.name == "ignore" {
                return Some(Mapped::Ignore);
            }
            let size = |size: &Size| match size {
                Size::Number(n) => Some(*n),
                Size::Rest => None,
                Size::Named(word) => Some(named_size(word, config)),
            };
            let expression = Expression {
                sum: rule.sum.iter().map(|other| fill(other, &numbers)).collect::<Option<_>>()?,
                reshape: rule.reshape.iter().map(size).collect(),
                transpose: rule.transpose.clone(),
            };
            let expression = (expression != Expression::default()).then_some(expression);
            Some(Mapped::To(fill(&rule.name, &numbers)?, expression))
        })
    }
}

fn named_size(word: &str, config: &Config) -> usize {
    match word {
        "hidden" => config.hidden_size,
        "heads" => config.num_attention_heads,
        "kv_heads" => config.num_key_value_heads,
        "head_dim" => config.head_dim,
        "intermediate" => config.intermediate_size,
        _ => config.vocab_size,
    }
}

/// Where in the file things stand, for its errors.
struct Reader<'a> {
    path: PathBuf,
    text: &'a str,
}

impl Reader<'_> {
    fn error(&self, at: usize, problem: String) -> Error {
        let line = 1 + self.text.bytes().take(at).filter(|b| *b == b'\n').count();
        Error::Map { file: self.path.clone(), line, problem }
    }

    fn rule(&self, pattern: &Spanned<std::borrow::Cow<str>>, value: &Spanned<DeValue>) -> Result<(usize, Rule), Error> {
        let at = pattern.span().start;
        let mut rule = Rule {
            pattern: pattern.get_ref().to_string(),
            name: String::new(),
            sum: Vec::new(),
            reshape: Vec::new(),
            transpose: Vec::new(),
        };
        match value.get_ref() {
            DeValue::String(name) => rule.name = name.to_string(),
            DeValue::Table(table) => {
                for (key, value) in table {
                    self.key(&mut rule, key, value)?;
                }
            }
            _ => {
                let problem = format!(
                    "\"{}\" wants a name in quotes, or a table with name, sum, reshape, transpose",
                    shown(&rule.pattern)
                );
                return Err(self.error(at, problem));
            }
        }
        if rule.name.is_empty() {
            return Err(self.error(at, format!("\"{}\" has no name", shown(&rule.pattern))));
        }
        let known = placeholders(&rule.pattern);
        for text in rule.sum.iter().chain([&rule.name]) {
            if let Some(other) = placeholders(text).into_iter().find(|name| !known.contains(name)) {
                let problem = format!("{{{other}}} of \"{}\" is not in \"{}\"", shown(text), shown(&rule.pattern));
                return Err(self.error(at, problem));
            }
        }
        let ones: Vec<(&str, usize)> = known.iter().map(|name| (*name, 1)).collect();
        let example = fill(&rule.name, &ones).map(|name| Name::split(&name).base).unwrap_or_default();
        if rule.name != "ignore" && Site::parse(&example).is_none() {
            let problem = format!(
                "\"{}\" is no activation; names are those of `layerstep inspect MODEL --names`, or \"ignore\"",
                shown(&rule.name)
            );
            return Err(self.error(at, problem));
        }
        Ok((at, rule))
    }

    fn key(
        &self,
        rule: &mut Rule,
        key: &Spanned<std::borrow::Cow<str>>,
        value: &Spanned<DeValue>,
    ) -> Result<(), Error> {
        let at = key.span().start;
        let wants = |what: &str| self.error(at, format!("{} wants {what}", shown(key.get_ref())));
        let array = |what: &str| value.get_ref().as_array().ok_or_else(|| wants(what));
        match key.get_ref().as_ref() {
            "name" => {
                rule.name = value.get_ref().as_str().ok_or_else(|| wants("a name in quotes"))?.to_string();
            }
            "sum" => {
                let what = "a list of tensor names";
                for item in array(what)?.iter() {
                    rule.sum.push(item.get_ref().as_str().ok_or_else(|| wants(what))?.to_string());
                }
            }
            "reshape" => {
                let what = format!("a list of sizes: numbers, -1 once, or {}", SIZES.join(", "));
                for item in array(&what)?.iter() {
                    rule.reshape.push(size(item.get_ref()).ok_or_else(|| wants(&what))?);
                }
                if rule.reshape.iter().filter(|size| **size == Size::Rest).count() > 1 {
                    return Err(wants(&what));
                }
            }
            "transpose" => {
                let what = "every axis once, from 0: [1, 0, 2]";
                for item in array(what)?.iter() {
                    let axis = item.get_ref().as_integer().and_then(|n| n.as_str().parse().ok());
                    rule.transpose.push(axis.ok_or_else(|| wants(what))?);
                }
                let mut sorted = rule.transpose.clone();
                sorted.sort_unstable();
                if !sorted.iter().copied().eq(0..sorted.len()) {
                    return Err(wants(what));
                }
            }
            other => {
                let problem = format!("unknown key \"{}\"; a rule has name, sum, reshape, transpose", shown(other));
                return Err(self.error(at, problem));
            }
        }
        Ok(())
    }
}

fn size(value: &DeValue) -> Option<Size> {
    if let Some(word) = value.as_str() {
        return SIZES.contains(&word).then(|| Size::Named(word.to_string()));
    }
    match value.as_integer()?.as_str() {
        "-1" => Some(Size::Rest),
        number => number.parse().ok().filter(|n| *n > 0).map(Size::Number),
    }
}

/// Splits a pattern into the text before its first `{..}` or `*`, that mark, and the rest.
fn next_mark(pattern: &str) -> Option<(&str, &str, &str)> {
    let at = pattern.find(['{', '*'])?;
    let (before, rest) = pattern.split_at_checked(at)?;
    if let Some(rest) = rest.strip_prefix('*') {
        return Some((before, "*", rest));
    }
    let (name, rest) = rest.strip_prefix('{')?.split_once('}')?;
    Some((before, name, rest))
}

/// The names between braces, without `+1` and `-1`.
fn placeholders(pattern: &str) -> Vec<&str> {
    let (mut names, mut rest) = (Vec::new(), pattern);
    while let Some((_, name, behind)) = next_mark(rest) {
        if name != "*" {
            names.push(name.split(['+', '-']).next().unwrap_or(name));
        }
        rest = behind;
    }
    names
}

/// The numbers that stand for the placeholders of `pattern` in `name`, if it matches.
fn captures<'a>(pattern: &'a str, name: &str) -> Option<Vec<(&'a str, usize)>> {
    let Some((before, mark, pattern)) = next_mark(pattern) else {
        return (pattern == name).then(Vec::new);
    };
    let name = name.strip_prefix(before)?;
    if mark == "*" {
        let mut ends = name.char_indices().map(|(at, _)| at).chain([name.len()]);
        return ends.find_map(|at| captures(pattern, name.get(at..)?));
    }
    let digits = name.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = name.split_at_checked(digits)?;
    let mut found = captures(pattern, rest)?;
    found.push((mark, number.parse().ok()?));
    Some(found)
}

/// `text` with its placeholders filled in. `None` when one would be negative.
fn fill(text: &str, numbers: &[(&str, usize)]) -> Option<String> {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, mark, behind)) = next_mark(rest) {
        out.push_str(before);
        let (name, offset) = mark.find(['+', '-']).and_then(|at| mark.split_at_checked(at)).unwrap_or((mark, "0"));
        let number = numbers.iter().find(|(known, _)| *known == name)?.1;
        out.push_str(&number.checked_add_signed(offset.parse().ok()?)?.to_string());
        rest = behind;
    }
    out.push_str(rest);
    Some(out)
}

impl Expression {
    /// The shape that comes of a stored one.
    pub(super) fn shape(&self, stored: &[usize]) -> Result<Vec<usize>, String> {
        let mut shape = stored.to_vec();
        if !self.reshape.is_empty() {
            let count = stored.iter().try_fold(1usize, |a, b| a.checked_mul(*b)).unwrap_or(usize::MAX);
            let known = self.reshape.iter().flatten().try_fold(1usize, |a, b| a.checked_mul(*b)).unwrap_or(usize::MAX);
            let rest = count.checked_div(known).unwrap_or(0);
            shape = self.reshape.iter().map(|size| size.unwrap_or(rest)).collect();
            if shape.iter().try_fold(1usize, |a, b| a.checked_mul(*b)) != Some(count) {
                return Err(format!("its shape {stored:?} cannot be reshaped to {shape:?} by the map"));
            }
        }
        if self.transpose.is_empty() {
            return Ok(shape);
        }
        let axes = self.transpose.iter().map(|axis| shape.get(*axis).copied()).collect::<Option<Vec<usize>>>();
        axes.filter(|axes| axes.len() == shape.len())
            .ok_or_else(|| format!("the map transposes {} axes, and its shape is {shape:?}", self.transpose.len()))
    }

    /// The values after reshape and transpose; the sum has been made.
    pub(super) fn apply(&self, values: ArrayD<f32>) -> Result<ArrayD<f32>, String> {
        let unmoved = Expression { transpose: Vec::new(), ..self.clone() }.shape(values.shape())?;
        let values = values.into_shape_with_order(IxDyn(&unmoved)).map_err(|e| e.to_string())?;
        self.shape(values.shape()).map(|_| ())?;
        if self.transpose.is_empty() { Ok(values) } else { Ok(values.permuted_axes(IxDyn(&self.transpose))) }
    }

    /// In words.
    pub(super) fn describe(&self) -> Vec<String> {
        let mut steps: Vec<String> = self.sum.iter().map(|name| format!("plus {}", shown(name))).collect();
        if !self.reshape.is_empty() {
            let sizes: Vec<String> = self.reshape.iter().map(|n| n.map_or("-1".into(), |n| n.to_string())).collect();
            steps.push(format!("reshaped to [{}] by the map", sizes.join(", ")));
        }
        if !self.transpose.is_empty() {
            steps.push(format!("transposed to {:?} by the map", self.transpose));
        }
        steps
    }
}
