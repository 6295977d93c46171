//! Text in a session file: nothing in it can fool a terminal or break a line, and all of it comes back.

use std::borrow::Cow;
use std::fmt::{self, Write};

use unicode_width::UnicodeWidthChar;

/// Whether a terminal or a reader could be fooled by it: control characters, directions, characters without width. Tabs
/// and accents are harmless.
fn is_harmful(character: char) -> bool {
    let accent = matches!(character, '\u{300}'..='\u{36f}');
    character != '\t' && !accent && (character.is_control() || character.width().unwrap_or(0) == 0)
}

/// A line of the body: what is harmful becomes `\u{1b}`, all else stays as it is.
pub fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(is_harmful) && !text.contains(OPEN) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for (at, character) in text.char_indices() {
        // A text that only looks escaped must come back as it was.
        if is_harmful(character) || text[at..].starts_with(OPEN) {
            write!(out, "\\u{{{:x}}}", character as u32).expect("writing to a String cannot fail");
        } else {
            out.push(character);
        }
    }
    Cow::Owned(out)
}

const OPEN: &str = "\\u{";

/// What [`plain`] was given.
pub(super) fn original(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(OPEN) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let character = rest[OPEN.len()..].split_once('}').and_then(|(digits, behind)| {
            let short = (1..=6).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            let code = u32::from_str_radix(digits, 16).ok().filter(|_| short)?;
            Some((char::from_u32(code)?, behind))
        });
        let (character, behind) = character.unwrap_or(('\\', &rest[1..]));
        out.push(character);
        rest = behind;
    }
    out + rest
}

/// Prints a text as a TOML string on one line.
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for character in self.0.chars() {
            match character {
                '"' | '\\' => write!(f, "\\{character}")?,
                '\n' => f.write_str("\\n")?,
                '\t' => f.write_str("\\t")?,
                _ if !is_harmful(character) => f.write_char(character)?,
                '\0'..='\u{ffff}' => write!(f, "\\u{:04x}", character as u32)?,
                _ => write!(f, "\\U{:08x}", character as u32)?,
            }
        }
        f.write_char('"')
    }
}
