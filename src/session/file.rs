//! `NAME.session`: header and body, to text and back.
//!
//! ```text
//! # A debug session of layerstep: ...
//! format = "1.0"
//! ...
//! ---
//! # comments and empty lines tell the story
//! print rms(2.q_rope)
//! #= 0.279516276
//! goto 99
//! #! there is no 99
//! ```
//!
//! Answers are comments, so the body is a script of the debugger.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::Error;
use super::error::{MAJOR, shown};
use super::escape::{original, plain};
use super::header::Header;
use crate::formats::{escape, write_file};

/// Longest session, and longest header, in bytes: a million tokens with their texts take 20 MB.
pub(super) const MOST: u64 = 256 << 20;
const MOST_HEADER: u64 = 64 << 20;

const FIRST_LINE: &str = "# A debug session of layerstep: `layerstep replay` and the name of this file play it.";
const END_OF_HEADER: &str = "---";
const ANSWER: &str = "#=";
const REFUSAL: &str = "#!";

/// A line that was typed, or a comment, or an empty line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// As it was typed.
    pub text: String,
    /// What came of it; comments and empty lines have none.
    pub answers: Vec<Answer>,
}

/// One line of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The line. It may hold anything: what could fool a terminal or break the line is escaped in the file.
    pub text: String,
    /// Whether the command failed.
    pub error: bool,
}

/// A whole session file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Text {
    /// What was debugged.
    pub header: Header,
    /// What was typed, in order.
    pub lines: Vec<Line>,
}

impl Line {
    /// Whether the debugger has nothing to do for it.
    pub fn is_comment(&self) -> bool {
        is_comment(&self.text)
    }
}

fn is_comment(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}

/// The answer that a line of the file holds.
fn answer(line: &str) -> Option<Answer> {
    let (error, text) = match line.strip_prefix(ANSWER) {
        Some(text) => (false, text),
        None => (true, line.strip_prefix(REFUSAL)?),
    };
    // Editors take the blank behind an empty answer away.
    let text = if text.is_empty() { text } else { text.strip_prefix(' ')? };
    Some(Answer { text: original(text), error })
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text.strip_prefix('#') {
            // A comment that looks like an answer.
            Some(rest) if answer(&self.text).is_some() => {
                let (mark, rest) = rest.split_at(1);
                writeln!(f, "#\\u{{{:x}}}{}", mark.as_bytes()[0], plain(rest))?;
            }
            _ => writeln!(f, "{}", plain(&self.text))?,
        }
        for Answer { text, error } in &self.answers {
            let mark = if *error { REFUSAL } else { ANSWER };
            let blank = if text.is_empty() { "" } else { " " };
            writeln!(f, "{mark}{blank}{}", plain(text))?;
        }
        Ok(())
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{FIRST_LINE}\n{}{END_OF_HEADER}\n", self.header)?;
        self.lines.iter().try_for_each(|line| line.fmt(f))
    }
}

impl Text {
    /// Reads the text of a session; `file` is what errors call it.
    ///
    /// # Errors
    /// One sentence: file and line, what was expected, what was found.
    pub fn parse(text: &str, file: &str) -> Result<Self, Error> {
        let file = escape(file);
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut header_lines = 0;
        let mut end = None;
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            if line.trim_end() == END_OF_HEADER {
                end = Some((at, at + line.len()));
                break;
            }
            at += line.len();
            header_lines += 1;
        }
        let header = &text[..at];
        let format = declared_format(header);
        // First of all: what else is wrong with a newer file is none of our business.
        if let Some(found) = format.filter(|format| major(format).is_some_and(|major| major > MAJOR)) {
            return Err(Error::Newer { file, found: escape(found) });
        }
        let Some((_, body)) = end else {
            return Err(match format {
                Some(_) => Error::CutOff { file, line: header_lines },
                None => not_a_session(file, text),
            });
        };
        let header = read_header(header, &file)?;
        let mut lines: Vec<Line> = Vec::new();
        // Where the last command stands in `lines`; answers are its.
        let mut command = None;
        for (number, line) in text[body..].lines().enumerate() {
            if let Some(answer) = answer(line) {
                let Some(command) = command else {
                    return Err(Error::Stray { file, line: header_lines + number + 2 });
                };
                let command: &mut Line = &mut lines[command];
                command.answers.push(answer);
            } else {
                if !is_comment(line) {
                    command = Some(lines.len());
                }
                lines.push(Line { text: original(line), answers: Vec::new() });
            }
        }
        Ok(Self { header, lines })
    }

    /// Reads the bytes of a session; `file` is what errors call it.
    ///
    /// # Errors
    /// One sentence.
    pub fn from_bytes(bytes: &[u8], file: &str) -> Result<Self, Error> {
        if bytes.len() as u64 > MOST {
            return Err(too_large(escape(file), bytes.len() as u64));
        }
        let text = std::str::from_utf8(bytes).map_err(|cause| {
            let before = &bytes[..cause.valid_up_to()];
            Error::NotText { file: escape(file), line: before.split(|byte| *byte == b'\n').count() }
        })?;
        Self::parse(text, file)
    }

    /// Reads a session file.
    ///
    /// # Errors
    /// One sentence.
    pub fn read(path: &Path) -> Result<Self, Error> {
        Self::from_bytes(&read_bounded(path)?, &path.to_string_lossy())
    }
}

/// The bytes of a regular file that may be a session.
pub(super) fn read_bounded(path: &Path) -> Result<Vec<u8>, Error> {
    // Opening a pipe would wait for ever, so the kind of the file is looked at first.
    let about = std::fs::metadata(path).map_err(Error::io(path, "read"))?;
    if !about.is_file() {
        return Err(Error::io(path, "read")(std::io::Error::other("it is not a regular file")));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(Error::io(path, "read"))?;
    file.take(MOST + 1).read_to_end(&mut bytes).map_err(Error::io(path, "read"))?;
    if bytes.len() as u64 > MOST {
        return Err(too_large(shown(path), about.len()));
    }
    Ok(bytes)
}

fn too_large(file: String, found: u64) -> Error {
    Error::TooLarge { file, what: "the session", found, most: MOST }
}

fn not_a_session(file: String, text: &str) -> Error {
    let first: String = text.lines().next().unwrap_or_default().chars().take(40).collect();
    let found = if text.is_empty() { "nothing".into() } else { format!("\"{}\"", escape(&first)) };
    Error::NotASession { file, found }
}

/// What stands behind `format =`, read without TOML: a newer format may be none.
fn declared_format(header: &str) -> Option<&str> {
    header.lines().take_while(|line| !line.starts_with('[')).find_map(|line| {
        let value = line.trim_start().strip_prefix("format")?.trim_start().strip_prefix('=')?.trim_start();
        let value = value.strip_prefix(['"', '\''])?;
        value.split(['"', '\'']).next()
    })
}

/// The major number of a version.
fn major(format: &str) -> Option<u32> {
    let (major, minor) = format.split_once('.')?;
    minor.parse::<u32>().ok()?;
    major.parse().ok()
}

fn read_header(text: &str, file: &str) -> Result<Header, Error> {
    if text.len() as u64 > MOST_HEADER {
        let (file, found) = (file.to_owned(), text.len() as u64);
        return Err(Error::TooLarge { file, what: "the header", found, most: MOST_HEADER });
    }
    let header: Header = toml::from_str(text).map_err(|error| {
        if declared_format(text).is_none() {
            return not_a_session(file.to_owned(), text);
        }
        let at = error.span().map_or(0, |span| span.start);
        let line = 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count();
        Error::Header { file: file.to_owned(), line, problem: escape(&one_line(error.message())) }
    })?;
    match major(&header.format) {
        Some(MAJOR) => Ok(header),
        Some(newer) if newer > MAJOR => Err(Error::Newer { file: file.to_owned(), found: escape(&header.format) }),
        _ if header.format.is_empty() => Err(not_a_session(file.to_owned(), text)),
        _ => {
            let line = 1 + text.lines().position(|line| line.starts_with("format")).unwrap_or(0);
            let problem = format!("the format is \"{}\" where \"{MAJOR}.0\" was expected", escape(&header.format));
            Err(Error::Header { file: file.to_owned(), line, problem })
        }
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Writes a session: whole, or not at all.
///
/// # Errors
/// One sentence; what was there before is still there.
pub fn save(path: &Path, text: &Text) -> Result<(), Error> {
    let text = text.to_string();
    if text.len() as u64 > MOST {
        return Err(too_large(shown(path), text.len() as u64));
    }
    Ok(write_file(path, |out| out.write_all(text.as_bytes()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.session");
        save(&path, &Text::default()).expect("saved");
        let error = write_file(&path, |out| {
            out.write_all(&vec![b'x'; 3 << 20])?;
            Err(std::io::ErrorKind::StorageFull.into())
        });
        let error = error.expect_err("full").to_string();
        assert!(error.ends_with("a.session: cannot write: no storage space"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).expect("read"), Text::default().to_string());
        assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 1);
    }
}
