//! From TOML to rules, every mistake with its line.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::DeValue;

use super::{Rule, SIZES, Size, fill, placeholders};
use crate::dump::error::{Error, shown};
use crate::dump::name::{Meaning, Name, canonical};
use crate::engine::Graph;
use crate::model::lower::lower;
use crate::model::{Family, Spec};

/// Where in the file things stand, for its errors.
pub(super) struct Reader<'a> {
    pub(super) path: PathBuf,
    pub(super) text: &'a str,
    /// A model of every family: a map is read before it is known which one is meant.
    pub(super) families: OnceCell<Vec<Graph>>,
}

impl Reader<'_> {
    pub(super) fn error(&self, at: usize, problem: String) -> Error {
        let line = 1 + self.text.bytes().take(at).filter(|b| *b == b'\n').count();
        Error::Map { file: self.path.clone(), line, problem }
    }

    /// Whether some model may have an activation of this name.
    fn is_a_name(&self, name: &str) -> bool {
        let models = self.families.get_or_init(|| {
            let spec = |family: &&Family| Spec::from_json(&format!("{{\"model_type\": \"{}\"}}", family.name), "").ok();
            Family::ALL.iter().filter_map(spec).map(|(spec, _)| lower(&spec)).collect()
        });
        models.iter().any(|graph| matches!(canonical(name, graph), Meaning::Site(..) | Meaning::Absent(_)))
    }

    pub(super) fn rule(&self, pattern: &Spanned<Cow<str>>, value: &Spanned<DeValue>) -> Result<(usize, Rule), Error> {
        let at = pattern.span().start;
        let mut rule = Rule {
            pattern: pattern.get_ref().to_string(),
            name: String::new(),
            sum: Vec::new(),
            reshape: Vec::new(),
            transpose: Vec::new(),
        };
        match value.get_ref() {
            DeValue::String(name) => rule.name = name.to_string(),
            DeValue::Table(table) => {
                for (key, value) in table {
                    self.key(&mut rule, key, value)?;
                }
            }
            _ => {
                let problem = format!(
                    "\"{}\" wants a name in quotes, or a table with name, sum, reshape, transpose",
                    shown(&rule.pattern)
                );
                return Err(self.error(at, problem));
            }
        }
        if rule.name.is_empty() {
            return Err(self.error(at, format!("\"{}\" has no name", shown(&rule.pattern))));
        }
        let known = placeholders(&rule.pattern);
        for text in rule.sum.iter().chain([&rule.name]) {
            if let Some(other) = placeholders(text).into_iter().find(|name| !known.contains(name)) {
                let problem = format!("{{{other}}} of \"{}\" is not in \"{}\"", shown(text), shown(&rule.pattern));
                return Err(self.error(at, problem));
            }
        }
        let ones: Vec<(&str, usize)> = known.iter().map(|name| (*name, 1)).collect();
        let example = fill(&rule.name, &ones).map(|name| Name::split(&name).base).unwrap_or_default();
        if rule.name != "ignore" && !self.is_a_name(&example) {
            let problem = format!(
                "\"{}\" is no activation; names are those of `layerstep inspect MODEL --names`, or \"ignore\"",
                shown(&rule.name)
            );
            return Err(self.error(at, problem));
        }
        Ok((at, rule))
    }

    fn key(&self, rule: &mut Rule, key: &Spanned<Cow<str>>, value: &Spanned<DeValue>) -> Result<(), Error> {
        let at = key.span().start;
        let wants = |what: &str| self.error(at, format!("{} wants {what}", shown(key.get_ref())));
        let array = |what: &str| value.get_ref().as_array().ok_or_else(|| wants(what));
        match key.get_ref().as_ref() {
            "name" => {
                rule.name = value.get_ref().as_str().ok_or_else(|| wants("a name in quotes"))?.to_string();
            }
            "sum" => {
                let what = "a list of tensor names";
                for item in array(what)? {
                    rule.sum.push(item.get_ref().as_str().ok_or_else(|| wants(what))?.to_string());
                }
            }
            "reshape" => {
                let what = format!("a list of sizes: numbers, -1 once, or {}", SIZES.join(", "));
                for item in array(&what)? {
                    rule.reshape.push(size(item.get_ref()).ok_or_else(|| wants(&what))?);
                }
                if rule.reshape.iter().filter(|size| **size == Size::Rest).count() > 1 {
                    return Err(wants(&what));
                }
            }
            "transpose" => {
                let what = "every axis once, from 0: [1, 0, 2]";
                for item in array(what)? {
                    let axis = item.get_ref().as_integer().and_then(|n| n.as_str().parse().ok());
                    rule.transpose.push(axis.ok_or_else(|| wants(what))?);
                }
                let mut sorted = rule.transpose.clone();
                sorted.sort_unstable();
                if !sorted.iter().copied().eq(0..sorted.len()) {
                    return Err(wants(what));
                }
            }
            other => {
                let problem = format!("unknown key \"{}\"; a rule has name, sum, reshape, transpose", shown(other));
                return Err(self.error(at, problem));
            }
        }
        Ok(())
    }
}

fn size(value: &DeValue) -> Option<Size> {
    if let Some(word) = value.as_str() {
        return SIZES.contains(&word).then(|| Size::Named(word.to_string()));
    }
    match value.as_integer()?.as_str() {
        "-1" => Some(Size::Rest),
        number => number.parse().ok().filter(|n| *n > 0).map(Size::Number),
    }
}
