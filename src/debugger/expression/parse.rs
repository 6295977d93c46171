//! From tokens to a tree, by precedence climbing.

mod index;

use std::ops::Range;

use super::function::{self, FUNCTIONS, Function, Kind as Does};
use super::name::{is_known, nearest, unknown};
use super::token::{Token, tokens};
use super::tree::{COMPARISON, Kind, NOT, Named, Node, Operator, SIGN, Wanted};
use super::{Error, escape};
use crate::debugger::view::Witness;
use crate::engine::Graph;

/// Parts that may lie inside each other: evaluation goes down as deep.
const DEEPEST: usize = 100;

/// Reads a whole text; names are those of `graph`.
pub(super) fn parse(text: &str, graph: &Graph) -> Result<Node, Error> {
    let tokens = tokens(text)?;
    let mut parser = Parser { graph, tokens, next: 0, depth: 0, length: text.chars().count() };
    if parser.tokens.is_empty() {
        return Err(Error::new("there is no expression: it looks like max(3.q_rope) or rms > 100", 0..1));
    }
    let node = parser.expression(0)?;
    match parser.tokens.get(parser.next) {
        None => Ok(node),
        Some((token, at)) => {
            let before = parser.next.checked_sub(1).map(|before| &parser.tokens[before].0);
            let hint = match (token, before) {
                (Token::Symbol(")"), _) => "no parenthesis is open".to_string(),
                (Token::Symbol("]"), _) => "no bracket is open".to_string(),
                (_, Some(Token::Word(word))) if function::function(word).is_some() => {
                    format!("arguments stand in parentheses, {word}(x)")
                }
                _ => "an operator is missing before it".to_string(),
            };
            Err(Error::new(format!("{} is too much: {hint}", shown(token)), at.clone()))
        }
    }
}

struct Parser<'a> {
    graph: &'a Graph,
    tokens: Vec<(Token, Range<usize>)>,
    next: usize,
    depth: usize,
    length: usize,
}

fn shown(token: &Token) -> String {
    match token {
        Token::Number(value) => format!("{value:?}").trim_end_matches(".0").to_string(),
        Token::Word(word) => escape(word),
        Token::Symbol(symbol) => (*symbol).to_string(),
    }
}

impl Parser<'_> {
    fn token(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(token, _)| token)
    }

    /// Where the next token is, or the end.
    fn here(&self) -> Range<usize> {
        self.tokens.get(self.next).map_or(self.length..self.length + 1, |(_, at)| at.clone())
    }

    /// Everything from `start` up to what was read last.
    fn since(&self, start: usize) -> Range<usize> {
        start..self.next.checked_sub(1).map_or(0, |last| self.tokens[last].1.end).max(start + 1)
    }

    fn is(&self, symbol: &str) -> bool {
        matches!(self.token(), Some(Token::Symbol(found)) if *found == symbol)
    }

    fn take(&mut self, symbol: &str) -> bool {
        let is = self.is(symbol);
        self.next += usize::from(is);
        is
    }

    fn expect(&mut self, symbol: &str, after: &str) -> Result<(), Error> {
        if self.take(symbol) {
            return Ok(());
        }
        let found = self.token().map_or_else(|| "the end".to_string(), shown);
        Err(Error::new(format!("{symbol} is missing after {after}, before {found}"), self.here()))
    }

    fn build(&self, kind: Kind, start: usize) -> Result<Node, Error> {
        let node = Node::new(kind, self.since(start));
        if node.depth > DEEPEST { Err(too_deep(node.at)) } else { Ok(node) }
    }

    /// An operator that binds at least as tightly as `least` ends nothing that is read here.
    fn expression(&mut self, least: u8) -> Result<Node, Error> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(too_deep(self.here()));
        }
        let start = self.here().start;
        let mut left = self.prefix()?;
        let mut compared = false;
        while let Some(operator) = self.operator().filter(|operator| operator.tightness >= least) {
            if operator.tightness == COMPARISON && compared {
                return Err(Error::new("comparisons are not chained: write a < b and b < c", self.here()));
            }
            compared |= operator.tightness == COMPARISON;
            self.next += 1;
            let right = self.expression(operator.tightness + 1)?;
            left = self.build(Kind::Binary(operator, Box::new(left), Box::new(right)), start)?;
        }
        self.depth -= 1;
        Ok(left)
    }

    fn operator(&self) -> Option<&'static Operator> {
        match self.token()? {
            Token::Word(text) => Operator::named(text),
            Token::Symbol(text) => Operator::named(text),
            Token::Number(_) => None,
        }
    }

    fn prefix(&mut self) -> Result<Node, Error> {
        let start = self.here().start;
        let not = self.is("!") || matches!(self.token(), Some(Token::Word(word)) if word == "not");
        if not {
            self.next += 1;
            let operand = self.expression(NOT)?;
            return self.build(Kind::Not(Box::new(operand)), start);
        }
        for (symbol, infinity) in [("-", f64::NEG_INFINITY), ("+", f64::INFINITY)] {
            if !self.take(symbol) {
                continue;
            }
            let called = matches!(self.tokens.get(self.next + 1), Some((Token::Symbol("("), _)));
            if !called && matches!(self.token(), Some(Token::Word(word)) if word == "inf") {
                self.next += 1;
                return self.build(Kind::Number(infinity), start);
            }
            let operand = self.expression(SIGN)?;
            return if symbol == "+" { Ok(operand) } else { self.build(Kind::Negative(Box::new(operand)), start) };
        }
        let mut node = self.atom()?;
        while self.take("[") {
            let parts = self.parts()?;
            node = self.build(Kind::Slice(Box::new(node), parts), start)?;
        }
        Ok(node)
    }

    fn atom(&mut self) -> Result<Node, Error> {
        let start = self.here().start;
        let Some((token, at)) = self.tokens.get(self.next).cloned() else {
            return Err(Error::new("an operand is missing at the end", self.here()));
        };
        let kind = match token {
            Token::Number(value) => Kind::Number(value),
            // The bracket is read by the caller: it slices what is here.
            Token::Symbol("[") => return Ok(Node::new(Kind::Activation(Wanted::here(Witness::Engine)), at)),
            Token::Symbol("(") => {
                self.next += 1;
                let mut node = self.expression(0)?;
                self.expect(")", "what is in parentheses")?;
                node.at = self.since(start);
                return Ok(node);
            }
            Token::Symbol("$") => {
                self.next += 1;
                let wanted = Wanted { forward: self.forward()?, ..Wanted::here(Witness::Engine) };
                return self.build(Kind::Activation(wanted), start);
            }
            Token::Word(word) => {
                self.next += 1;
                let kind = self.named(&word, &at)?;
                return self.build(kind, start);
            }
            Token::Symbol(symbol) => {
                return Err(Error::new(format!("an operand is missing before {symbol}"), at));
            }
        };
        self.next += 1;
        self.build(kind, start)
    }

    /// What a word means; it has been read.
    fn named(&mut self, word: &str, at: &Range<usize>) -> Result<Kind, Error> {
        if self.is(":") && !is_known(self.graph, word) {
            return self.of_witness(word, at);
        }
        if self.is("(") {
            return self.call(word, at);
        }
        if let Some(site) = self.graph.parse(word) {
            let named = Some(Named::of(self.graph, site));
            return Ok(Kind::Activation(Wanted { witness: Witness::Engine, named, forward: self.forward()? }));
        }
        if let Some(word) = function::word(word) {
            return Ok(Kind::Word(word));
        }
        match function::function(word) {
            Some(Function { kind: Does::Pair(_), signature, .. }) => {
                Err(Error::new(format!("{word} needs two tensors: {signature}"), at.clone()))
            }
            Some(function) => Ok(Kind::Call { function, arguments: Vec::new(), axes: Vec::new() }),
            None if word == "true" || word == "false" => Ok(Kind::Truth(word == "true")),
            None if Operator::named(word).is_some() => {
                Err(Error::new(format!("an operand is missing before {word}"), at.clone()))
            }
            None => Err(Error::new(unknown(self.graph, word), at.clone())),
        }
    }

    fn of_witness(&mut self, word: &str, at: &Range<usize>) -> Result<Kind, Error> {
        let witness = match word {
            "engine" => Witness::Engine,
            "ref" | "reference" => Witness::Reference,
            "cand" | "candidate" => Witness::Candidate,
            _ => {
                let word = escape(word);
                let sentence = format!("no witness is called {word}: they are engine:, ref: and cand:");
                return Err(Error::new(sentence, at.clone()));
            }
        };
        self.next += 1;
        let at = self.here();
        let named = match self.token().cloned() {
            Some(Token::Symbol("$")) => None,
            Some(Token::Word(name)) => {
                let site = self.graph.parse(&name);
                let site = site.ok_or_else(|| Error::new(unknown(self.graph, &name), at))?;
                Some(Named::of(self.graph, site))
            }
            Some(Token::Number(layer)) => {
                let sentence = format!("{layer} is a number: the output of that block is {layer}.block");
                return Err(Error::new(sentence, at));
            }
            _ => return Err(Error::new(format!("an activation is missing after {word}:"), at)),
        };
        self.next += 1;
        Ok(Kind::Activation(Wanted { witness, named, forward: self.forward()? }))
    }

    fn call(&mut self, name: &str, at: &Range<usize>) -> Result<Kind, Error> {
        let Some(function) = function::function(name) else {
            let name = escape(name);
            let sentence = if self.graph.parse(&name).is_some() {
                format!("{name} is an activation, not a function: brackets take elements of it")
            } else {
                let near = nearest(&name, FUNCTIONS.iter().map(|function| function.name.to_string()));
                let hint = near.unwrap_or_else(|| "min, max, mean, rms and others are".into());
                format!("no function is called {name}: {hint}")
            };
            return Err(Error::new(sentence, at.clone()));
        };
        self.next += 1;
        let mut call = (Vec::new(), Vec::new());
        while !self.is(")") {
            if matches!(function.kind, Does::Reduce(_)) && !call.0.is_empty() {
                call.1.push(self.axis()?);
            } else {
                call.0.push(self.expression(0)?);
            }
            if !self.take(",") {
                break;
            }
        }
        self.expect(")", &format!("the arguments of {name}"))?;
        let (arguments, axes) = call;
        let wanted = match function.kind {
            Does::Pair(_) => 2..=2,
            Does::Top => 1..=2,
            _ => 1..=1,
        };
        if !wanted.contains(&arguments.len()) {
            let (count, s) = (arguments.len(), if arguments.len() == 1 { "" } else { "s" });
            let sentence = format!("{name} was given {count} argument{s}: it is {}", function.signature);
            return Err(Error::new(sentence, self.since(at.start)));
        }
        Ok(Kind::Call { function, arguments, axes })
    }
}

fn too_deep(at: Range<usize>) -> Error {
    Error::new(format!("more than {DEEPEST} parts lie inside each other here"), at)
}
