//! Expressions over activations, as `print`, `export` and the conditions of breakpoints and watches take them.
//!
//! ```text
//! expression = and { ("or" | "||") and }
//! and        = not { ("and" | "&&") not }
//! not        = ("not" | "!") not | comparison
//! comparison = sum [ ("<" | "<=" | ">" | ">=" | "==" | "!=") sum ]
//! sum        = product { ("+" | "-") product }
//! product    = sign { ("*" | "/") sign }
//! sign       = ("-" | "+") sign | "-inf" | "+inf" | slice
//! slice      = atom { "[" part { "," part } "]" }
//! part       = index | [ index ] ":" [ index ] [ ":" step ] | "..."
//! atom       = number | "true" | "false" | activation | call | word | "(" expression ")" | "[" ... "]"
//! activation = [ ("engine" | "ref" | "cand") ":" ] ( name | "$" ) [ "@" forward ]
//! call       = function [ "(" expression { "," (expression | axis) } ")" ]
//! word       = "err" | "local" | "ratio"
//! ```
//!
//! **Activations** have the names they have everywhere: `3.q_rope`, `norm`, `model.layers.2.self_attn.q_rope`. A block's
//! output is `2.block` or `layers.2`, for `2` is a number. They are our engine's unless a witness stands before them:
//! `ref:3.q_rope`, `cand:3.q_rope`. They are of the current forward unless `@` says which: `3.q_rope@0` is the prefill's.
//!
//! **`$` is the activation here**: of the op at the cursor, or of the op that a condition is asked about. `ref:$` is the
//! reference's. It is also what a function without parentheses is about, and a bracket without anything before it: `rms`
//! is `rms($)`, `[0, 3] > 2` is `$[0, 3] > 2`. So `nan` and `inf` are numbers of elements; infinity is `+inf` or `-inf`.
//! `norm` alone is the activation. The words `err`, `local` and `ratio` are what the comparison says of the op here.
//!
//! **Slices** are those of numpy: `3.q_rope[3, :, 0:8]`, `[..., -1]`, `[::2]`; steps are positive.
//!
//! **Functions** stand in [`FUNCTIONS`]. Those that reduce are about the finite elements, as the statistics of a tensor on
//! the screen are; `nan(x)` and `inf(x)` count the others. They sum in f64. `mean(3.q_rope, head)` reduces one axis, by its
//! name or number; `channel` is the last axis unless that is of keys.
//!
//! **Operators** work element by element on tensors of one shape, or on a tensor and a number, in f64. Where a comparison
//! holds the element is 1, else 0. Nothing compares with NaN but by `!=`.
//!
//! A [`Condition`] is an expression that is true or false: a comparison, or a number of elements, which is true above 0.

mod condition;
mod evaluate;
mod function;
mod name;
pub(super) mod number;
mod parse;
mod print;
mod reduce;
mod scope;
mod slice;
mod token;
mod tree;
mod value;

use std::fmt;
use std::ops::Range;

pub use condition::Condition;
pub use function::{FUNCTIONS, Function, WORDS, Word};
pub use scope::Scope;
pub use value::{Elements, Tensor, Value};

use super::view::{LayerErrors, Witness};
use crate::engine::{Graph, Site};
use crate::formats::escape;

/// Where activations come from.
pub trait Source {
    /// The ops that names mean.
    fn graph(&self) -> &Graph;
    /// The op that `$` is about.
    fn here(&self) -> Result<Site, String>;
    /// An activation of a forward, the current one where none is said. The error says why it is not there.
    fn activation(&self, witness: Witness, site: Site, forward: Option<usize>) -> Result<Tensor, String>;
    /// An activation of every witness that has it: what a dump lacks of it is left out.
    fn everywhere(&self, site: Site) -> Result<Vec<Tensor>, String> {
        self.activation(Witness::Engine, site, None).map(|ours| vec![ours])
    }
    /// How many tokens a dump gives other experts than our engine, by the op here. The error says why that is not known.
    fn rerouted(&self) -> Result<usize, String> {
        Err("no experts are chosen here".into())
    }
    /// What the comparison says of the op here. The error says why it says nothing.
    fn errors(&self) -> Result<LayerErrors, String>;
    /// Whether activations of a witness can be there at all.
    fn knows(&self, witness: Witness) -> Result<(), String>;
    /// Whether anything is compared.
    fn compares(&self) -> Result<(), String>;
}

/// An expression that has been read. Displayed in its canonical form.
#[derive(Clone, Debug)]
pub struct Expression {
    node: tree::Node,
}

impl Expression {
    /// Reads an expression; its names are those of the ops of `source`.
    ///
    /// # Errors
    /// One sentence, and where in the text.
    pub fn parse(text: &str, source: &dyn Source) -> Result<Self, Error> {
        parse::parse(text, source.graph()).map(|node| Self { node })
    }

    /// Whether `source` has what it names: witnesses, a comparison.
    ///
    /// # Errors
    /// What is not there, and where in the text it is named.
    pub fn check(&self, source: &dyn Source) -> Result<(), Error> {
        evaluate::check(&self.node, source)
    }

    /// The activation, if it is one and nothing else: none is the one here; and the forward, if one is said.
    pub fn activation(&self) -> Option<(Option<Site>, Option<usize>)> {
        match &self.node.kind {
            tree::Kind::Activation(wanted) => Some((wanted.site(), wanted.forward)),
            _ => None,
        }
    }

    /// Its value.
    ///
    /// # Errors
    /// One sentence, and where in the text.
    pub fn evaluate(&self, source: &dyn Source) -> Result<Value, Error> {
        evaluate::evaluate(&self.node, source)
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.node.fmt(f)
    }
}

/// Why an expression cannot be read or has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    sentence: String,
    at: Range<usize>,
    /// Whether what is asked for is only not there, at this op or yet: a condition is then false.
    absent: bool,
}

impl Error {
    fn new(sentence: impl Into<String>, at: Range<usize>) -> Self {
        Self { sentence: sentence.into(), at, absent: false }
    }

    fn absent(sentence: impl Into<String>, at: Range<usize>) -> Self {
        Self { absent: true, ..Self::new(sentence, at) }
    }

    /// The characters of the text that it is about; one past the end where something is missing there.
    pub fn at(&self) -> Range<usize> {
        self.at.clone()
    }

    /// The sentence without the column.
    pub fn sentence(&self) -> &str {
        &self.sentence
    }
}

/// With the column, which is counted from 1.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.at.start + 1, self.sentence)
    }
}

impl std::error::Error for Error {}
