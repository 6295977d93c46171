//! Reports on standard output: as wide as the terminal, in colour where it has some.

use std::io::{IsTerminal, Write};

use crate::diagnose::report::{Label, Line};
use crate::diagnose::{Status, Verdict};

/// Columns where nobody says how many there are.
const PLAIN: usize = 80;

/// Fewer columns are not wrapped to: every word would stand alone.
const LEAST: usize = 40;

/// What the lines behind the first of a text begin with.
const INDENT: &str = "    ";

/// A colour of the terminal's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    Plain,
    Dim,
    Good,
    Bad,
    Unsure,
}

/// Where a report is printed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paper {
    columns: usize,
    coloured: bool,
}

impl Paper {
    /// Standard output. `NO_COLOR`, if it is not empty, is honoured (no-color.org).
    pub(super) fn of_stdout() -> Self {
        if !std::io::stdout().is_terminal() {
            return Self { columns: PLAIN, coloured: false };
        }
        let columns = crossterm::terminal::size().map_or(PLAIN, |(columns, _)| usize::from(columns).max(LEAST));
        let coloured = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { columns, coloured }
    }

    /// A text in a colour.
    pub(super) fn coloured(&self, text: &str, colour: Colour) -> String {
        let code = match colour {
            _ if !self.coloured => return text.to_string(),
            Colour::Plain => return text.to_string(),
            Colour::Dim => "2",
            Colour::Good => "32",
            Colour::Bad => "1;31",
            Colour::Unsure => "33",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// Writes one line of a report, wrapped; commands are not, so that they can be pasted.
    pub(super) fn write(&self, out: &mut impl Write, line: &Line, verdict: Verdict) -> std::io::Result<()> {
        let colour = match line.label {
            Label::Verdict if verdict.agrees() => Colour::Good,
            Label::Verdict if verdict == Verdict::Inconclusive => Colour::Unsure,
            Label::Verdict => Colour::Bad,
            Label::Fix | Label::Proof => Colour::Good,
            Label::And => Colour::Unsure,
            Label::Where | Label::Why | Label::Or | Label::Output | Label::Next => Colour::Plain,
            Label::Note | Label::Blind => Colour::Dim,
        };
        let text = line.to_string();
        let lines = if line.label == Label::Next { vec![text] } else { wrapped(&text, self.columns) };
        let word = line.word.len() + 1;
        for (index, text) in lines.iter().enumerate() {
            match text.split_at_checked(word).filter(|_| index == 0) {
                Some((word, rest)) => writeln!(out, "{}{rest}", self.coloured(word, colour))?,
                None => writeln!(out, "{text}")?,
            }
        }
        Ok(())
    }
}

/// The colour of a row's status.
pub(super) fn of_status(status: Status) -> Colour {
    match status {
        Status::Bad => Colour::Bad,
        Status::Propagated => Colour::Unsure,
        Status::Ok => Colour::Good,
        Status::Rounding | Status::Equivalent | Status::Missing => Colour::Plain,
    }
}

/// A text in lines of so many columns, broken between words; what is longer stays whole.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let width = |text: &str| text.chars().count();
        let line = lines.last_mut().expect("there is a line");
        let empty = line.is_empty() || line == INDENT;
        if !empty && width(line) + 1 + width(word) > columns {
            lines.push(format!("{INDENT}{word}"));
        } else {
            line.push_str(if empty { "" } else { " " });
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words() {
        let lines = wrapped("note: one two three four-and-a-very-long-word five", 14);
        assert_eq!(lines, ["note: one two", "    three", "    four-and-a-very-long-word", "    five"]);
        assert_eq!(wrapped("short", 80), ["short"]);
    }

    #[test]
    fn colours_are_only_where_they_are_wanted() {
        let paper = |coloured| Paper { columns: 80, coloured };
        assert_eq!(paper(false).coloured("bad", Colour::Bad), "bad");
        assert_eq!(paper(true).coloured("bad", Colour::Bad), "\x1b[1;31mbad\x1b[0m");
    }
}
