//! `--map FILE`: what the tensors of somebody's own engine mean, when no alias fits. The file is TOML:
//!
//! ```toml
//! # pattern = name. `{N}` stands for a number; `{N-1}` and `{N+1}` may follow in the name, for layers counted from 1.
//! "enc{N}_attnout" = "model.layers.{N-1}.self_attn.o_proj"
//! "step{K}_logits" = "lm_head@{K}"
//! "scratch*"       = "ignore"
//!
//! # Pieces of what holds several: columns of the last axis (`1::2`: every other), or one of a stack.
//! "blk{N}.qkv[..., 0:576]" = "model.layers.{N}.self_attn.q_proj"
//! "hidden[3]"              = "model.layers.2"
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

use std::cell::OnceCell;
use std::fs;
use std::path::Path;

use toml::de::DeTable;

use super::error::{Error, shown};
use super::part::{Part, Slice};
use crate::engine::{Axis, Graph, Role};

mod expression;
mod reader;

pub(super) use expression::Expression;
use reader::Reader;

/// The format, for people.
pub const HELP: &str = "Names for the tensors of the dumps, where no rule knows them (TOML).

One line for each name, `\"PATTERN\" = \"NAME\"`: NAME is one of `layerstep inspect MODEL --names`, or \"ignore\"; in PATTERN, `{N}` \
stands for a number and `*` for anything:

    \"enc{N}_attnout\" = \"model.layers.{N-1}.self_attn.o_proj\"
    \"step{K}_logits\" = \"lm_head@{K}\"
    \"scratch*\"       = \"ignore\"

or, of a tensor that holds several, of columns of its last axis (`1::2`: every other), or one of a stack:

    \"blk{N}.qkv[..., 0:576]\" = \"model.layers.{N}.self_attn.q_proj\"
    \"hidden[3]\"              = \"model.layers.2\"

or a table, of what is summed, reshaped and transposed first:

    [\"enc{N}_q\"]
    name = \"model.layers.{N-1}.self_attn.q_proj\"
    sum = [\"enc{N}_q_bias\"]
    reshape = [-1, \"heads\", \"head_dim\"]
    transpose = [1, 0, 2]

`layerstep inspect DUMP --model MODEL --suggest-map` writes one.";

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

/// What a map says about a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mapped {
    /// It is this activation.
    To {
        /// The activation's name.
        name: String,
        /// The piece of the tensor that it is.
        slice: Option<Slice>,
        /// What is done to it.
        expression: Option<Expression>,
    },
    /// It is to be passed over.
    Ignore,
}

impl Map {
    /// Reads a map file.
    pub fn open(path: &Path) -> Result<Map, Error> {
        let text = fs::read_to_string(path).map_err(|reason| Error::MapFile { file: path.to_owned(), reason })?;
        Map::parse(path, &text)
    }

    /// Reads the text of a map file; `path` is for its errors.
    pub fn parse(path: &Path, text: &str) -> Result<Map, Error> {
        let reader = Reader { path: path.to_owned(), text, families: OnceCell::new() };
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

    /// What the first rule that matches makes of a name; where that takes a piece of it, what all such rules make of it.
    pub(super) fn find(&self, name: &str, graph: &Graph) -> Vec<Mapped> {
        let mut pieces = Vec::new();
        for rule in &self.rules {
            if let Some(mapped) = rule.of_whole(name, graph).filter(|_| pieces.is_empty()) {
                return vec![mapped];
            }
            pieces.extend(rule.of_piece(name, graph));
        }
        pieces
    }
}

impl Rule {
    /// What it makes of a name that its pattern matches.
    fn of_whole(&self, name: &str, graph: &Graph) -> Option<Mapped> {
        self.mapped(&captures(&self.pattern, name)?, None, graph)
    }

    /// What it makes of a piece of a tensor of this name.
    fn of_piece(&self, name: &str, graph: &Graph) -> Option<Mapped> {
        let (pattern, slice) = Part::split(&self.pattern)?;
        self.mapped(&captures(pattern, name)?, Some(slice), graph)
    }

    fn mapped(&self, numbers: &[(&str, usize)], slice: Option<Slice>, graph: &Graph) -> Option<Mapped> {
        if self.name == "ignore" {
            return Some(Mapped::Ignore);
        }
        let size = |size: &Size| match size {
            Size::Number(n) => Some(*n),
            Size::Rest => None,
            Size::Named(word) => Some(named_size(word, graph)),
        };
        let expression = Expression {
            sum: self.sum.iter().map(|other| fill(other, numbers)).collect::<Option<_>>()?,
            reshape: self.reshape.iter().map(size).collect(),
            transpose: self.transpose.clone(),
        };
        let expression = (expression != Expression::default()).then_some(expression);
        Some(Mapped::To { name: fill(&self.name, numbers)?, slice, expression })
    }
}

/// A size of the model, as the first op that has it says; 1 where none has.
fn named_size(word: &str, graph: &Graph) -> usize {
    let first = |roles: &[Role]| graph.nodes().iter().find(|node| node.role.is_some_and(|role| roles.contains(&role)));
    let heads = |role| first(&[role]).and_then(crate::engine::Node::heads);
    let width = |roles: &[Role]| first(roles)?.axes.last().map(|axis: &Axis| axis.length(1, 1));
    let size = match word {
        "hidden" => width(&[Role::EmbedTokens]),
        "heads" => heads(Role::QProj).map(|(heads, _)| heads),
        "kv_heads" => heads(Role::KProj).map(|(heads, _)| heads),
        "head_dim" => heads(Role::QProj).map(|(_, width)| width),
        "intermediate" => width(&[Role::ActFn, Role::ExpertAct]),
        _ => graph.vocabulary(),
    };
    size.unwrap_or(1)
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
