//! Takes out of a session what tells of its user: absolute paths are cut to their last part, in the header, in commands
//! and in their answers.
//!
//! An absolute path is one of two parts or more that begins where a word begins: `/data/x.npy`, `C:\data\x.npy`, or
//! anything under the home directory. Addresses of the web stay. The tokens stay, too: they are what was fed.

use std::collections::BTreeSet;

use super::file::{Line, Text};
use super::header::Header;
use crate::debugger::Command;

/// What was taken out, and what is left to look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redaction {
    /// The paths that were cut to their last part.
    pub cut: BTreeSet<String>,
    /// The lines of the body, from 1, in which the name of the user still stands as a word.
    pub named: Vec<usize>,
}

/// Whose session it is.
#[derive(Clone, Debug, Default)]
pub struct User {
    /// The home directory.
    pub home: Option<String>,
}

impl User {
    /// Of this process.
    pub fn of_environment() -> Self {
        let home = std::env::home_dir().and_then(|home| home.to_str().map(str::to_owned));
        Self { home: home.filter(|home| home.len() > 1) }
    }

    /// The last part of the home directory.
    fn name(&self) -> Option<&str> {
        let name = self.home.as_deref()?.rsplit(['/', '\\']).next()?;
        (name.len() > 2 && name != "root").then_some(name)
    }

    /// Cuts all absolute paths in a session.
    pub fn redact(&self, text: &mut Text) -> Redaction {
        let mut redaction = Redaction::default();
        let Text { header, lines } = text;
        for field in fields(header) {
            self.cut(field, &mut redaction.cut);
        }
        for Line { text, answers } in lines.iter_mut() {
            if !is_of_numbers(text) {
                self.cut(text, &mut redaction.cut);
            }
            for answer in answers {
                self.cut(&mut answer.text, &mut redaction.cut);
            }
        }
        let names = |text: &str| self.name().is_some_and(|name| has_word(text, name));
        redaction.named = lines
            .iter()
            .enumerate()
            .filter(|(_, line)| names(&line.text) || line.answers.iter().any(|answer| names(&answer.text)))
            .map(|(index, _)| index + 1)
            .collect();
        redaction
    }

    /// Cuts the absolute paths in a text, and remembers them.
    pub(super) fn cut(&self, text: &mut String, cut: &mut BTreeSet<String>) {
        let mut out = String::with_capacity(text.len());
        let mut rest = text.as_str();
        let mut before = None;
        while let Some(character) = rest.chars().next() {
            let begins = before.is_none_or(|before: char| !before.is_alphanumeric() && !"._-/\\~".contains(before));
            let length = if begins { self.path(rest, before) } else { 0 };
            if length == 0 {
                out.push(character);
                before = Some(character);
                rest = &rest[character.len_utf8()..];
                continue;
            }
            let (path, behind) = rest.split_at(length);
            let last = path.trim_end_matches(SEPARATORS).rsplit(SEPARATORS).next().unwrap_or_default();
            // The home directory itself has no last part that may be told.
            out.push_str(if self.home.as_deref() == Some(path.trim_end_matches(SEPARATORS)) { "~" } else { last });
            cut.insert(path.to_owned());
            before = path.chars().next_back();
            rest = behind;
        }
        *text = out;
    }

    /// How many bytes of an absolute path `text` begins with.
    fn path(&self, text: &str, before: Option<char>) -> usize {
        let quoted = before.filter(|before| "\"'`".contains(*before)).and_then(|quote| text.find(quote));
        let end = |from: usize| {
            let end = quoted.unwrap_or_else(|| from + text[from..].find(ends_path).unwrap_or(text.len() - from));
            // What ends a sentence is no part of it.
            from.max(text[..end.max(from)].trim_end_matches(['.', ':', ',', '?', '!']).len())
        };
        if let Some(home) = self.home.as_deref().filter(|home| text.starts_with(*home)) {
            let behind = text[home.len()..].chars().next();
            if behind.is_none_or(|behind| SEPARATORS.contains(&behind) || ends_path(behind) || ".!?".contains(behind)) {
                return end(home.len());
            }
        }
        let drive = matches!(text.as_bytes(), [letter, b':', b'/' | b'\\', ..] if letter.is_ascii_alphabetic());
        let start = if drive {
            3
        } else if text.starts_with("\\\\") || (text.starts_with("//") && before != Some(':')) {
            2
        } else if let Some(scheme) = text.strip_prefix("///").and(before) {
            // file:///data/x
            if scheme == ':' { 3 } else { 0 }
        } else {
            usize::from(text.starts_with('/') || (text.starts_with('~') && !text.starts_with("~/")))
        };
        let named =
            text[start..].chars().next().is_some_and(|first| first.is_alphanumeric() || "._-@~".contains(first));
        if start == 0 || !named {
            return 0;
        }
        let end = end(start);
        let parts = text[start..end].split(SEPARATORS).filter(|part| !part.is_empty()).count();
        if parts + usize::from(drive) >= 2 { end } else { 0 }
    }
}

const SEPARATORS: [char; 2] = ['/', '\\'];

fn ends_path(character: char) -> bool {
    character.is_whitespace() || ",;:\"'`()[]{}<>|".contains(character)
}

/// Whether a word stands in a text by itself.
fn has_word(text: &str, word: &str) -> bool {
    text.split(|character: char| !character.is_alphanumeric() && !"_-".contains(character)).any(|part| part == word)
}

/// Whether a line is a command that takes numbers, where a slash divides.
fn is_of_numbers(line: &str) -> bool {
    use Command as C;
    matches!(Command::parse(line), Ok(Some(C::Print(_) | C::Yank(_) | C::Break { .. } | C::Watch(_))))
        && !line.contains(" # ")
}

/// All texts of a header but those of the tokens.
fn fields(header: &mut Header) -> Vec<&mut String> {
    let Header { program, model, sources, engine, verdict, values, .. } = header;
    let mut fields = vec![program, &mut model.name, &mut model.facts, &mut engine.precision];
    fields.extend([&mut model.repository, &mut model.path, &mut engine.suspect].into_iter().flatten());
    for source in sources {
        fields.extend([&mut source.role, &mut source.file, &mut source.dtype]);
        fields.extend(&mut source.map);
    }
    if let Some(verdict) = verdict {
        fields.push(&mut verdict.sentence);
        fields.extend(verdict.divergences.iter_mut().map(|divergence| &mut divergence.name));
    }
    fields.extend(values.iter_mut().map(|values| &mut values.file));
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        for home in ["/home/me", "C:\\Users\\Jo Doe"] {
            let mut found = text.replace("HOME", home);
            User { home: Some(home.into()) }.cut(&mut found, &mut BTreeSet::new());
            assert_eq!(found, expected, "{text}");
            assert!(!found.contains(home) && !found.contains("secret"), "{found}");
        }
    }

    #[test]
    fn absolute_paths_are_cut_to_their_last_part() {
        for (text, expected) in [
            ("source HOME/x/y.script", "source y.script"),
            ("source HOME\\x\\y.script", "source y.script"),
            ("export 3.q /secret/deep/q.npy", "export 3.q q.npy"),
            ("export 3.q \"/secret/my files/q 1.npy\"", "export 3.q \"q 1.npy\""),
            ("3.q [4] is in /secret/q.npy.", "3.q [4] is in q.npy."),
            ("cannot read /secret/q.npy: no such file", "cannot read q.npy: no such file"),
            ("(/secret/a, /secret/b/)", "(a, b)"),
            ("file=/secret/a --to=/secret/b", "file=a --to=b"),
            ("D:\\secret\\a.npy and d:/secret/b.npy", "a.npy and b.npy"),
            ("\\\\secret\\share\\a.npy", "a.npy"),
            ("//secret/share/a.npy", "a.npy"),
            ("file:///secret/a.npy", "file:a.npy"),
            ("~secret/x/a.npy", "a.npy"),
            ("at HOME, or in HOME.", "at ~, or in ~."),
            ("HOME", "~"),
            ("\"HOME/a b/c d\"", "\"c d\""),
            // no absolute paths, or none that tells anything
            ("3.q_rope / 2", "3.q_rope / 2"),
            ("a/b ../c/d ./e ~/f", "a/b ../c/d ./e ~/f"),
            ("https://example.org/a/b", "https://example.org/a/b"),
            ("1/2/3 and /dev and //", "1/2/3 and /dev and //"),
            ("x:/ 3 12:30 [3, :, 8:16]", "x:/ 3 12:30 [3, :, 8:16]"),
            ("猫/é/x \\n \\\\", "猫/é/x \\n \\\\"),
            ("/", "/"),
            ("", ""),
        ] {
            check(text, expected);
        }
    }

    #[test]
    fn divisions_stay_and_everything_else_is_looked_through() {
        let line = |text: &str| Line { text: text.into(), answers: Vec::new() };
        let mut text = Text {
            header: Header::default(),
            lines: vec![
                line("print rms(3.q) /rms(3.k)/rms(3.v)"),
                line("prnt /home/me/x"),
                line("# me, at /data/me/x"),
                line("3 steps # merely"),
            ],
        };
        text.header.tokens.texts = vec!["/home/me/x".into()];
        text.header.verdict.get_or_insert_default().sentence = "see /home/me/x".into();
        let user = User { home: Some("/home/mel".into()) };
        text.lines.push(line("# mel was here"));
        let redaction = user.redact(&mut text);
        let lines: Vec<&str> = text.lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(
            lines,
            ["print rms(3.q) /rms(3.k)/rms(3.v)", "prnt x", "# me, at x", "3 steps # merely", "# mel was here",]
        );
        assert_eq!(redaction.named, [5]);
        assert_eq!(redaction.cut.iter().map(String::as_str).collect::<Vec<_>>(), ["/data/me/x", "/home/me/x"]);
        assert_eq!(text.header.tokens.texts, ["/home/me/x"]);
        assert_eq!(text.header.verdict.expect("there").sentence, "see x");
    }
}
