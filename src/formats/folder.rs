//! What the name of a folder, or of a file that holds many arrays, says of them: `prefill`, `decode_1`, `step3` and
//! `forward_2` are one forward each, and so is each `chunk_1` of a prompt that is fed in parts; `layers/3` and `block_3` are
//! part of the names of what they hold.

/// What stands before the number of a forward.
const FORWARDS: [&str; 9] = ["step", "forward", "fwd", "pass", "iter", "iteration", "call", "token", "tok"];
const DECODES: [&str; 3] = ["decode", "decode_step", "gen"];
const PREFILLS: [&str; 3] = ["prefill", "prompt", "prefill_step"];
/// Parts of a prompt that are fed one after the other.
const CHUNKS: [&str; 3] = ["chunk", "prefill_chunk", "prompt_chunk"];
/// Folders that sort arrays by layer; their numbers are the layers'.
const LAYERS: [&str; 9] = ["model", "transformer", "decoder", "layer", "layers", "block", "blocks", "blk", "h"];

/// One name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// Arrays of one forward.
    Forward(Numbered),
    /// Arrays whose names go on inside: `layers/3/q` is one name.
    Part,
}

/// How a forward is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbered {
    /// The first.
    Prefill,
    /// Parts of the first, from 0 or from 1.
    Chunk(usize),
    /// Those after it, from 0 or from 1.
    Decode(usize),
    /// All, from 0 or from 1.
    Step(usize),
}

/// Reads a name. None: it says nothing, and what it holds is not looked at.
pub(super) fn holds(name: &str) -> Option<Holds> {
    let lower = name.to_lowercase().replace(['-', '.'], "_");
    let word = lower.trim_end_matches(|c: char| c.is_ascii_digit());
    let number: Option<usize> = lower.get(word.len()..).and_then(|digits| digits.parse().ok());
    match (word.trim_end_matches('_'), number) {
        ("", Some(_)) => Some(Holds::Part),
        (word, Some(number)) if FORWARDS.contains(&word) => Some(Holds::Forward(Numbered::Step(number))),
        (word, number) if DECODES.contains(&word) => Some(Holds::Forward(Numbered::Decode(number.unwrap_or(1)))),
        (word, Some(number)) if CHUNKS.contains(&word) => Some(Holds::Forward(Numbered::Chunk(number))),
        (word, None | Some(0 | 1)) if PREFILLS.contains(&word) => Some(Holds::Forward(Numbered::Prefill)),
        (word, _) if LAYERS.contains(&word) => Some(Holds::Part),
        _ => None,
    }
}

/// Whether a word sorts arrays by layer, so that the number behind it is one.
pub(super) fn sorts_by_layer(word: &str) -> bool {
    LAYERS.contains(&word.to_lowercase().as_str())
}

/// The forwards of what is named after one; the first where nothing is. `begun`: arrays of the first lie beside them. Steps
/// are counted from the lowest that is there, since some begin with 0 and some with 1; decode steps follow the last chunk.
pub(super) fn forwards(named: &[Option<Numbered>], begun: bool) -> Vec<usize> {
    let numbers = |number: fn(&Numbered) -> Option<usize>| named.iter().flatten().filter_map(number);
    let lowest = |number| numbers(number).min().unwrap_or(0);
    let step = lowest(|of| if let Numbered::Step(number) = of { Some(*number) } else { None });
    let decode = lowest(|of| if let Numbered::Decode(number) = of { Some(*number) } else { None });
    let is_chunk = |of: &Numbered| if let Numbered::Chunk(number) = of { Some(*number) } else { None };
    let chunk = lowest(is_chunk);
    let begun = begun || named.contains(&Some(Numbered::Prefill));
    let chunks = numbers(is_chunk).max().map_or(0, |last| last - chunk + usize::from(begun));
    let forward = |of: &Option<Numbered>| match of {
        None | Some(Numbered::Prefill) => 0,
        Some(Numbered::Chunk(number)) => number - chunk + usize::from(begun),
        Some(Numbered::Decode(number)) => number + usize::from(decode == 0) + chunks,
        Some(Numbered::Step(number)) if begun => number + usize::from(step == 0),
        Some(Numbered::Step(number)) => number - step,
    };
    named.iter().map(forward).collect()
}
