//! Which part each block has, as config.json describes it, where blocks have one part each.

use serde_json::Value;

use super::read::Reader;
use super::{ConfigError, MOST_LAYERS};
use crate::model::families::{BlockPart, BlocksRow, Family};

/// The part of each block; `None`: all have both.
pub(super) fn read(reader: &Reader, family: &Family) -> Result<Option<Vec<BlockPart>>, ConfigError> {
    let Some(row) = family.blocks else { return Ok(None) };
    let parts = match row.lists.iter().find_map(|key| Some((*key, reader.get(key)?))) {
        Some((key, value)) => listed(reader, &row, key, value)?,
        None => match reader.get(row.pattern) {
            Some(value) => lettered(reader, &row, value)?,
            None => row.default.chars().filter_map(|letter| of_letter(&row, letter)).collect(),
        },
    };
    Ok(Some(parts))
}

fn of_letter(row: &BlocksRow, letter: char) -> Option<BlockPart> {
    row.words.iter().find(|(_, own, _)| *own == letter).map(|(_, _, part)| *part)
}

fn listed(reader: &Reader, row: &BlocksRow, key: &str, value: &Value) -> Result<Vec<BlockPart>, ConfigError> {
    let of_word = |word: &Value| row.words.iter().find(|(own, ..)| *word == *own).map(|(_, _, part)| *part);
    let parts = value.as_array().and_then(|list| list.iter().map(of_word).collect::<Option<Vec<_>>>());
    parts.filter(|parts| (1..=MOST_LAYERS).contains(&parts.len())).ok_or_else(|| {
        let words: Vec<&str> = row.words.iter().map(|(word, ..)| *word).collect();
        reader.wrong(key, value, format!("a list of the words {}", words.join(", ")))
    })
}

fn lettered(reader: &Reader, row: &BlocksRow, value: &Value) -> Result<Vec<BlockPart>, ConfigError> {
    let parts =
        value.as_str().and_then(|text| text.chars().map(|letter| of_letter(row, letter)).collect::<Option<Vec<_>>>());
    parts.filter(|parts| (1..=MOST_LAYERS).contains(&parts.len())).ok_or_else(|| {
        let mut letters: Vec<char> = Vec::new();
        for (_, letter, _) in row.words {
            if !letters.contains(letter) {
                letters.push(*letter);
            }
        }
        let letters: String = letters.into_iter().collect();
        reader.wrong(row.pattern, value, format!("a text of the letters {letters}"))
    })
}
