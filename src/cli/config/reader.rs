//! From TOML to a configuration, every mistake with its line.

use std::borrow::Cow;

use anyhow::anyhow;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Config;
use super::bytes;
use crate::debugger::command::{SETTINGS, SettingSpec, listed, nearest};

const SECTIONS: &[&str] = &["keys", "screen", "limits"];
const LIMITS: &[&str] = &["memory", "session", "history"];
/// Lines of the history at most.
const LONGEST: usize = 1_000_000;

type Key<'a> = Spanned<Cow<'a, str>>;

/// A file, and what has been read of it.
struct Reader<'a> {
    name: &'a str,
    text: &'a str,
    config: Config,
}

/// Reads the text of a file.
///
/// # Errors
/// One sentence, with the line.
pub(super) fn read(name: &str, text: &str) -> anyhow::Result<Config> {
    let mut reader = Reader { name, text, config: Config::default() };
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        reader.error(at, &format!("no TOML: {}", error.message()))
    })?;
    for (section, value) in table.get_ref() {
        reader.section(section, value)?;
    }
    Ok(reader.config)
}

impl Reader<'_> {
    fn error(&self, at: usize, problem: &str) -> anyhow::Error {
        let line = 1 + self.text.bytes().take(at).filter(|byte| *byte == b'\n').count();
        anyhow!("{}, line {line}: {problem}", self.name)
    }

    /// There is none of this name.
    fn unknown(&self, what: &str, key: &Key, known: &[&str]) -> anyhow::Error {
        let name = key.get_ref().escape_debug().to_string();
        let near = nearest(&name, known.iter().copied());
        let hint = near.map_or_else(|| format!("there are {}", listed(known, "and")), |near| format!("is it {near}?"));
        self.error(key.span().start, &format!("there is no {what} {name}: {hint}"))
    }

    /// A value that cannot be taken.
    fn wrong(&self, key: &Key, value: &Spanned<DeValue>, takes: &str) -> anyhow::Error {
        let span = value.span();
        let written = self.text.get(span.clone()).unwrap_or_default().escape_debug().to_string().replace("\\\"", "\"");
        self.error(span.start, &format!("{} takes {takes}, not {written}", key.get_ref()))
    }

    fn section(&mut self, section: &Key, value: &Spanned<DeValue>) -> anyhow::Result<()> {
        let name = section.get_ref().as_ref();
        let Some(entries) = value.get_ref().as_table() else {
            if SECTIONS.contains(&name) {
                let problem = format!("{name} is a section: write [{name}], and below it what is to be set");
                return Err(self.error(section.span().start, &problem));
            }
            let of = if SettingSpec::find(name).is_some() {
                Some("screen")
            } else {
                LIMITS.contains(&name).then_some("limits")
            };
            return Err(of.map_or_else(
                || self.unknown("section", section, SECTIONS),
                |of| self.error(section.span().start, &format!("{name} belongs below [{of}]")),
            ));
        };
        let read: fn(&mut Self, &Key, &Spanned<DeValue>) -> anyhow::Result<()> = match name {
            "keys" => Self::key,
            "screen" => Self::setting,
            "limits" => Self::limit,
            _ => return Err(self.unknown("section", section, SECTIONS)),
        };
        entries.iter().try_for_each(|(key, value)| read(self, key, value))
    }

    fn key(&mut self, key: &Key, value: &Spanned<DeValue>) -> anyhow::Result<()> {
        let Some(line) = value.get_ref().as_str() else {
            return Err(self.wrong(key, value, "a command in quotes, or \"\" for none"));
        };
        let bound = self.config.keys.bind(key.get_ref(), line);
        bound.map_err(|problem| self.error(key.span().start, &problem.escape_debug().to_string()))
    }

    fn setting(&mut self, key: &Key, value: &Spanned<DeValue>) -> anyhow::Result<()> {
        let Some(spec) = SettingSpec::find(key.get_ref()) else {
            let names: Vec<&str> = SETTINGS.iter().map(|spec| spec.name).collect();
            return Err(self.unknown("setting", key, &names));
        };
        let found = spec.values.iter().find(|(word, _)| match value.get_ref() {
            DeValue::Boolean(on) => *word == if *on { "on" } else { "off" },
            DeValue::String(text) => !is_boolean(word) && text == word,
            _ => false,
        });
        let Some((_, setting)) = found else {
            let words: Vec<String> = spec.words().map(written).collect();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            return Err(self.wrong(key, value, &listed(&words, "or")));
        };
        self.config.settings.set(*setting);
        Ok(())
    }

    fn size(&self, key: &Key, value: &Spanned<DeValue>) -> anyhow::Result<usize> {
        let read = value.get_ref().as_str().and_then(bytes::read);
        read.ok_or_else(|| self.wrong(key, value, "a size: \"4 GB\", \"500 MB\""))
    }

    fn limit(&mut self, key: &Key, value: &Spanned<DeValue>) -> anyhow::Result<()> {
        match key.get_ref().as_ref() {
            "memory" => self.config.memory = self.size(key, value)?,
            "session" => self.config.session = self.size(key, value)?,
            "history" => {
                let read = value.get_ref().as_integer().and_then(|number| number.as_str().parse().ok());
                let fits = read.filter(|lines| *lines <= LONGEST);
                let takes = format!("a number of lines, {LONGEST} at most");
                self.config.settings.history = fits.ok_or_else(|| self.wrong(key, value, &takes))?;
            }
            _ => return Err(self.unknown("limit", key, LIMITS)),
        }
        Ok(())
    }
}

/// What a file has true and false for.
fn is_boolean(word: &str) -> bool {
    matches!(word, "on" | "off")
}

/// How the file says what `set` says in a word.
pub(super) fn written(word: &str) -> String {
    match word {
        "on" => "true".to_string(),
        "off" => "false".to_string(),
        word => format!("\"{word}\""),
    }
}
