//! What is counted: elements in brackets, axes, forwards.

use super::{Error, Parser, escape};
use crate::debugger::expression::name::{axis_names, nearest};
use crate::debugger::expression::token::Token;
use crate::debugger::expression::tree::{AxisName, Part};

impl Parser<'_> {
    /// `@1`, if it is there.
    pub(super) fn forward(&mut self) -> Result<Option<usize>, Error> {
        if !self.take("@") {
            return Ok(None);
        }
        let at = self.here();
        match self.whole()? {
            Some(forward) if forward >= 0 => Ok(Some(forward as usize)),
            _ => Err(Error::new("@ stands before the number of a forward: 3.q_rope@1", at)),
        }
    }

    /// A whole number with or without a minus, if one is there.
    fn whole(&mut self) -> Result<Option<i64>, Error> {
        let at = self.here();
        let negative = self.take("-");
        match self.token() {
            Some(Token::Number(value)) if value.fract() == 0.0 && *value < 1e15 => {
                let value = *value as i64;
                self.next += 1;
                Ok(Some(if negative { -value } else { value }))
            }
            None | Some(Token::Symbol(_) | Token::Word(_)) if !negative => Ok(None),
            _ => Err(Error::new("only a whole number can stand here", at)),
        }
    }

    /// `head`, `head*head_dim`, `0`, `-1`
    pub(super) fn axis(&mut self) -> Result<AxisName, Error> {
        let start = self.here().start;
        if let Some(index) = self.whole()? {
            return Ok(AxisName::Index(index));
        }
        let mut name = String::new();
        while let Some(Token::Word(word)) = self.token() {
            name.push_str(word);
            self.next += 1;
            if !self.take("*") {
                break;
            }
            name.push('*');
        }
        if axis_names(self.graph).any(|known| known == name) {
            return Ok(AxisName::Name(name));
        }
        if name.is_empty() {
            return Err(Error::new("an axis is missing: token, head, channel and others, or a number", self.here()));
        }
        let hint = nearest(&name, axis_names(self.graph).map(ToString::to_string));
        let hint = hint.unwrap_or_else(|| "axes are token, head, channel and others, or numbers".into());
        Err(Error::new(format!("no axis is called {}: {hint}", escape(&name)), self.since(start)))
    }

    /// What stands in brackets; the first one has been read.
    pub(super) fn parts(&mut self) -> Result<Vec<Part>, Error> {
        let start = self.here().start;
        let mut parts = Vec::new();
        loop {
            if self.take("...") {
                parts.push(Part::Rest);
            } else {
                parts.push(self.part()?);
            }
            if !self.take(",") {
                break;
            }
        }
        self.expect("]", "the indices")?;
        if parts.iter().filter(|part| **part == Part::Rest).count() > 1 {
            return Err(Error::new("... may stand once in brackets", self.since(start)));
        }
        Ok(parts)
    }

    fn part(&mut self) -> Result<Part, Error> {
        let first = self.whole()?;
        if !self.take(":") {
            let missing = || Error::new("an index is missing: 3, -1, 0:8, : or ...", self.here());
            return first.map(Part::At).ok_or_else(missing);
        }
        let last = self.whole()?;
        let at = self.here();
        let step = if self.take(":") { self.whole()?.unwrap_or(1) } else { 1 };
        if step < 1 {
            return Err(Error::new("a step is 1 or more", at));
        }
        Ok(Part::Range(first, last, step as usize))
    }
}
