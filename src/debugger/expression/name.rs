//! Names in expressions, and the nearest to one that is mistyped.

use std::ops::Range;

use super::function::{self, FUNCTIONS, WORDS};
use super::{Error, escape};
use crate::engine::{ACTIVATIONS, Site};

/// The last axis, unless it is of keys.
pub(super) const CHANNEL: &str = "channel";
/// Words this alike are offered for one that is mistyped.
const ALIKE: f64 = 0.8;

/// Names of all axes.
pub(super) fn axis_names() -> impl Iterator<Item = &'static str> {
    let names = ACTIVATIONS.iter().flat_map(|row| row.axes).map(|axis| axis.name());
    names.chain([CHANNEL])
}

/// Whether a word is the name of an activation or a function.
pub(super) fn is_known(word: &str) -> bool {
    Site::parse(word).is_some() || function::function(word).is_some()
}

/// What is wrong with a word that means nothing.
pub(super) fn unknown(word: &str, at: &Range<usize>) -> Error {
    let word = escape(word);
    let last = word.rsplit('.').next().unwrap_or_default();
    let layered = ACTIVATIONS.iter().find(|row| row.per_layer && (row.short == last || row.path == word));
    let sentence = match layered {
        Some(row) if !word.starts_with(|c: char| c.is_ascii_digit()) => {
            format!("{word} is an activation of every layer: write 3.{}", row.short)
        }
        _ => {
            let layer = word.split_once('.').map_or("3", |(layer, _)| layer);
            let words = WORDS.iter().map(|word| word.name).chain(FUNCTIONS.iter().map(|function| function.name));
            let sites = ACTIVATIONS.iter().map(|row| {
                let layered = row.per_layer && word.contains('.');
                if layered { format!("{layer}.{}", row.short) } else { row.short.to_string() }
            });
            let near = nearest(&word, words.map(ToString::to_string).chain(sites));
            let hint = near.unwrap_or_else(|| "names look like 3.q_rope, 3.block and norm".into());
            format!("nothing is called {word}: {hint}")
        }
    };
    Error::new(sentence, at.clone())
}

/// `is it mean?`
pub(super) fn nearest(word: &str, known: impl Iterator<Item = String>) -> Option<String> {
    let alike = known.map(|known| (strsim::jaro_winkler(word, &known), known)).filter(|(alike, _)| *alike >= ALIKE);
    // Of equally near ones the first.
    let best = alike.reduce(|best, next| if next.0 > best.0 { next } else { best });
    best.map(|(_, known)| format!("is it {known}?"))
}
