//! What stands behind a command's name, taken apart.

use super::{Count, Spec};

/// The rest of a line.
pub(super) struct Arguments<'a> {
    /// The command.
    pub(super) spec: &'a Spec,
    /// The word it was called by.
    pub(super) word: &'a str,
    /// What follows, without spaces around it.
    pub(super) text: &'a str,
}

/// The largest count.
const LARGEST_COUNT: usize = 1_000_000;

impl<'a> Arguments<'a> {
    /// `step [N]`
    fn usage(&self) -> String {
        format!("{} {}", self.spec.name, self.spec.arguments).trim_end().to_string()
    }

    /// Nothing at all.
    pub(super) fn none(&self) -> Result<(), String> {
        let more = if self.spec.arguments.is_empty() { "" } else { " more" };
        if self.text.is_empty() {
            return Ok(());
        }
        Err(format!("{} takes nothing{more}, not {}", self.spec.name, self.text))
    }

    /// A number, or 1.
    pub(super) fn count(&self) -> Result<usize, String> {
        Ok(self.number()?.unwrap_or(1))
    }

    /// A number, if there is one.
    pub(super) fn number(&self) -> Result<Option<usize>, String> {
        if self.text.is_empty() {
            return Ok(None);
        }
        let number = self
            .text
            .parse()
            .map_err(|_| format!("{} takes a number, not {}: {}", self.spec.name, self.text, self.usage()))?;
        Ok(Some(usize::min(number, LARGEST_COUNT)))
    }

    /// Something.
    pub(super) fn something(&self, what: &str) -> Result<String, String> {
        if self.text.is_empty() {
            return Err(format!("{} needs {what}: {}", self.spec.name, self.usage()));
        }
        Ok(self.text.to_string())
    }

    /// Something, if there is something.
    pub(super) fn optional(&self) -> Option<String> {
        Some(self.text.to_string()).filter(|text| !text.is_empty())
    }

    /// One of a list of words, or the beginning of just one; then what follows it.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Result<(T, Arguments<'a>), String> {
        self.choice_for(self.spec.name, choices)
    }

    /// The same; `what` is what takes one of them.
    pub(super) fn choice_for<T: Copy>(&self, what: &str, choices: &[(&str, T)]) -> Result<(T, Arguments<'a>), String> {
        let (word, rest) = self.text.split_once(char::is_whitespace).unwrap_or((self.text, ""));
        let begins = || choices.iter().filter(|(name, _)| !word.is_empty() && name.starts_with(word));
        let exact = choices.iter().find(|(name, _)| *name == word);
        let found = exact.or_else(|| begins().next().filter(|_| begins().count() == 1));
        if let Some((_, choice)) = found {
            return Ok((*choice, Arguments { text: rest.trim(), spec: self.spec, word: self.word }));
        }
        let mut names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        let said = if word.is_empty() { String::new() } else { format!(", not {word}") };
        Err(format!("{what} takes {}{said}", listed(&names, "or")))
    }

    /// `3`, `next`, `next 2`, `previous`: to one, or on by some.
    pub(super) fn to_or_on(&self) -> Result<Count, String> {
        if !self.text.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return match self.number()? {
                Some(number) => Ok(Count::To(number)),
                None => Err(format!("{} needs a number, next or previous", self.spec.name)),
            };
        }
        let (sign, rest) = self.choice(&[("next", 1), ("previous", -1)])?;
        Ok(Count::On(rest.count()?.cast_signed() * sign))
    }
}

/// The name that a mistyped word most likely means.
pub fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |name: &str| strsim::jaro_winkler(name, word);
    let near = names.into_iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    near.filter(|near| likeness(near) > 0.75)
}

/// `a`, `a or b`, `a, b or c`
pub fn listed(words: &[&str], and: &str) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).to_string(),
        [first @ .., last] => format!("{} {and} {last}", first.join(", ")),
    }
}
