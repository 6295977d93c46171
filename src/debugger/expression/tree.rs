//! An expression that has been read, and its canonical text.

use std::fmt::{self, Display, Formatter, Write};
use std::ops::Range;

use super::function::{Function, Word};
use crate::debugger::view::Witness;
use crate::engine::{Graph, Role, Site};

/// One part of an expression.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// What it is.
    pub(super) kind: Kind,
    /// The characters that it is made of.
    pub(super) at: Range<usize>,
    /// How many parts lie inside each other.
    pub(super) depth: usize,
}

/// What a part of an expression is.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// A number.
    Number(f64),
    /// `true` or `false`.
    Truth(bool),
    /// An activation.
    Activation(Wanted),
    /// What the comparison says of the op here.
    Word(&'static Word),
    /// A function; without arguments, of the activation here.
    Call {
        /// Which one.
        function: &'static Function,
        /// Its arguments but the axes.
        arguments: Vec<Node>,
        /// The axes that are reduced; none are all.
        axes: Vec<AxisName>,
    },
    /// Some elements.
    Slice(Box<Node>, Vec<Part>),
    /// `-x`
    Negative(Box<Node>),
    /// `not x`
    Not(Box<Node>),
    /// Two operands.
    Binary(&'static Operator, Box<Node>, Box<Node>),
}

/// Whose activation, of which op and forward.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    /// Whose.
    pub(super) witness: Witness,
    /// Which; none is the one here.
    pub(super) named: Option<Named>,
    /// Of which forward; none is the current one.
    pub(super) forward: Option<usize>,
}

/// An activation of the model, and how it is written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Named {
    /// Which.
    pub(super) site: Site,
    text: String,
}

impl Named {
    /// An activation by its short name; a block's output is `2.block`, for alone, `2` is a number.
    pub(super) fn of(graph: &Graph, site: Site) -> Self {
        let short = graph.short(site);
        let text = if graph.is(site, Role::Block) { format!("{short}.block") } else { short.to_string() };
        Self { site, text }
    }
}

impl Wanted {
    /// The activation here.
    pub(super) fn here(witness: Witness) -> Self {
        Self { witness, named: None, forward: None }
    }

    /// Which op, if not the one here.
    pub(super) fn site(&self) -> Option<Site> {
        self.named.as_ref().map(|named| named.site)
    }
}

/// An axis, as it is written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum AxisName {
    /// `head`
    Name(String),
    /// `0` is the outermost, `-1` the last.
    Index(i64),
}

/// What is taken along one axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Part {
    /// One index; negative ones count from the end.
    At(i64),
    /// `start:end:step`
    Range(Option<i64>, Option<i64>, usize),
    /// `...`: all of the axes that are not written.
    Rest,
}

/// An operator with two operands.
#[derive(Debug)]
pub(super) struct Operator {
    /// Its symbols, the canonical one first.
    symbols: &'static [&'static str],
    /// How tightly it binds.
    pub(super) tightness: u8,
    /// What it makes of two numbers; of those that bind as tightly as comparisons or less, what is true or false.
    pub(super) does: fn(f64, f64) -> f64,
}

/// Every operator.
const OPERATORS: &[Operator] = &[
    Operator { symbols: &["or", "||"], tightness: OR, does: |a, b| one(holds(a) || holds(b)) },
    Operator { symbols: &["and", "&&"], tightness: AND, does: |a, b| one(holds(a) && holds(b)) },
    Operator { symbols: &["<"], tightness: COMPARISON, does: |a, b| one(a < b) },
    Operator { symbols: &["<="], tightness: COMPARISON, does: |a, b| one(a <= b) },
    Operator { symbols: &[">"], tightness: COMPARISON, does: |a, b| one(a > b) },
    Operator { symbols: &[">="], tightness: COMPARISON, does: |a, b| one(a >= b) },
    Operator { symbols: &["=="], tightness: COMPARISON, does: |a, b| one(a == b) },
    Operator { symbols: &["!="], tightness: COMPARISON, does: |a, b| one(a != b) },
    Operator { symbols: &["+"], tightness: 5, does: |a, b| a + b },
    Operator { symbols: &["-"], tightness: 5, does: |a, b| a - b },
    Operator { symbols: &["*"], tightness: 6, does: |a, b| a * b },
    Operator { symbols: &["/"], tightness: 6, does: |a, b| a / b },
];

/// How tightly `or`, `and`, `not`, comparisons and a sign bind.
pub(super) const OR: u8 = 1;
pub(super) const AND: u8 = 2;
pub(super) const NOT: u8 = 3;
pub(super) const COMPARISON: u8 = 4;
pub(super) const SIGN: u8 = 7;
const ATOM: u8 = 8;

/// What is true is 1.
pub(super) fn one(truth: bool) -> f64 {
    f64::from(u8::from(truth))
}

/// A number of elements is true above zero.
pub(super) fn holds(value: f64) -> bool {
    value > 0.0
}

impl Operator {
    /// The operator that a symbol or word means.
    pub(super) fn named(text: &str) -> Option<&'static Self> {
        OPERATORS.iter().find(|operator| operator.symbols.contains(&text))
    }

    /// Its canonical symbol.
    pub(super) fn symbol(&self) -> &'static str {
        self.symbols[0]
    }
}

impl Node {
    /// A part made of `inside`.
    pub(super) fn new(kind: Kind, at: Range<usize>) -> Self {
        let inside = children(&kind).into_iter().map(|node| node.depth).max();
        Self { kind, at, depth: inside.unwrap_or(0) + 1 }
    }

    /// The parts that it is made of.
    pub(super) fn children(&self) -> Vec<&Node> {
        children(&self.kind)
    }

    /// Whether its value depends on the op it is evaluated at.
    pub(super) fn is_about_here(&self) -> bool {
        let here = match &self.kind {
            Kind::Activation(wanted) => wanted.named.is_none(),
            Kind::Call { arguments, .. } => arguments.is_empty(),
            Kind::Word(_) => true,
            _ => false,
        };
        here || self.children().into_iter().any(Self::is_about_here)
    }

    fn tightness(&self) -> u8 {
        match &self.kind {
            Kind::Binary(operator, ..) => operator.tightness,
            Kind::Not(_) => NOT,
            Kind::Negative(_) => SIGN,
            Kind::Number(value) if value.is_infinite() => SIGN,
            _ => ATOM,
        }
    }

    /// Its text, in parentheses where it binds less tightly than `least`.
    fn write(&self, f: &mut Formatter<'_>, least: u8) -> fmt::Result {
        if self.tightness() < least { write!(f, "({self})") } else { write!(f, "{self}") }
    }
}

fn children(kind: &Kind) -> Vec<&Node> {
    match kind {
        Kind::Call { arguments, .. } => arguments.iter().collect(),
        Kind::Slice(node, _) | Kind::Negative(node) | Kind::Not(node) => vec![node],
        Kind::Binary(_, a, b) => vec![a, b],
        Kind::Number(_) | Kind::Truth(_) | Kind::Activation(_) | Kind::Word(_) => Vec::new(),
    }
}

impl Display for Node {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Number(value) if value.is_infinite() => f.write_str(if *value > 0.0 { "+inf" } else { "-inf" }),
            Kind::Number(value) => f.write_str(format!("{value:?}").trim_end_matches(".0")),
            Kind::Truth(value) => write!(f, "{value}"),
            Kind::Activation(wanted) => write!(f, "{wanted}"),
            Kind::Word(word) => f.write_str(word.name),
            Kind::Call { function, arguments, axes } => {
                f.write_str(function.name)?;
                if arguments.is_empty() {
                    return Ok(());
                }
                let texts = arguments.iter().map(ToString::to_string).chain(axes.iter().map(ToString::to_string));
                write!(f, "({})", texts.collect::<Vec<_>>().join(", "))
            }
            Kind::Slice(node, parts) => {
                node.write(f, ATOM)?;
                let texts: Vec<String> = parts.iter().map(ToString::to_string).collect();
                write!(f, "[{}]", texts.join(", "))
            }
            // `-inf` is a number; this is a count.
            Kind::Negative(node) if node.to_string() == "inf" => f.write_str("-(inf)"),
            Kind::Negative(node) => {
                f.write_char('-')?;
                node.write(f, SIGN)
            }
            Kind::Not(node) => {
                f.write_str("not ")?;
                node.write(f, NOT)
            }
            Kind::Binary(operator, a, b) => {
                let tightness = operator.tightness;
                a.write(f, tightness + u8::from(tightness == COMPARISON))?;
                write!(f, " {} ", operator.symbol())?;
                b.write(f, tightness + 1)
            }
        }
    }
}

impl Display for Wanted {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self.witness {
            Witness::Engine => "",
            Witness::Reference => "ref:",
            Witness::Candidate => "cand:",
        })?;
        match &self.named {
            None => f.write_char('$')?,
            Some(named) => f.write_str(&named.text)?,
        }
        self.forward.map_or(Ok(()), |forward| write!(f, "@{forward}"))
    }
}

impl Display for AxisName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Index(index) => write!(f, "{index}"),
        }
    }
}

impl Display for Part {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let end = |end: &Option<i64>| end.map_or_else(String::new, |end| end.to_string());
        match self {
            Self::At(index) => write!(f, "{index}"),
            Self::Range(first, last, 1) => write!(f, "{}:{}", end(first), end(last)),
            Self::Range(first, last, step) => write!(f, "{}:{}:{step}", end(first), end(last)),
            Self::Rest => f.write_str("..."),
        }
    }
}
