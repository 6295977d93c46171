//! The commands that make better dumps, ready to be pasted.

use super::Case;
use super::case::DECODED;

/// Ids pasted into a command, at most.
const MOST_IDS: usize = 64;

/// More tokens than this are captured without scores, whose size is their square, and of one layer.
const LONG: usize = 1000;

/// A dozen tokens or more, and decode steps.
pub(super) fn a_dozen_tokens(case: &Case) -> String {
    capture(case, &prompt(case, 12), "")
}

/// The same tokens, every activation, and decode steps: from PyTorch, unless the candidate is what lacks them.
pub(super) fn everything(case: &Case) -> String {
    if case.coverage.candidate_lacks { names(case) } else { capture(case, &same_tokens(case), "") }
}

/// The same tokens, and decode steps.
pub(super) fn decode(case: &Case) -> String {
    capture(case, &same_tokens(case), "")
}

/// As many tokens as the blind spots of few tokens ask for.
pub(super) fn more_tokens(case: &Case) -> String {
    let tokens = case.wanted().most();
    let layer = case.window().map_or(0, |(layer, _)| layer);
    let more = if tokens > LONG {
        format!("--layers {layer} --only '*_proj' --only '*_rope' --only '*.context' --only 'model.layers.{layer}' ")
    } else {
        String::new()
    };
    capture(case, &prompt(case, tokens), &more)
}

/// The list of what an engine should write.
fn names(case: &Case) -> String {
    format!("layerstep inspect {} --names", quoted(case.path))
}

fn capture(case: &Case, tokens: &str, more: &str) -> String {
    let decode = if case.model.graph.logits().is_some() { format!("--decode {DECODED} ") } else { String::new() };
    format!("python reference/capture.py {} {tokens} {decode}{more}-o ref.safetensors", quoted(case.path))
}

/// The prefill again, when its tokens are few enough to be pasted.
fn same_tokens(case: &Case) -> String {
    let prefill = case.ids.get(..case.steps.first().copied().unwrap_or(0)).unwrap_or_default();
    if (2..=MOST_IDS).contains(&prefill.len()) {
        let ids: Vec<String> = prefill.iter().map(u32::to_string).collect();
        format!("--ids {}", ids.join(","))
    } else {
        prompt(case, prefill.len().max(12))
    }
}

/// Tokenizers of few words make so many times as many tokens of a line.
const MORE: usize = 2;

/// A prompt of at least so many tokens: a line of seven words and marks, as often as needed. Where text cannot be fed, or
/// that line is too long for the model, ids spread over the vocabulary.
fn prompt(case: &Case, tokens: usize) -> String {
    let spec = &case.model.spec;
    let most = spec.positions.saturating_sub(DECODED);
    if !case.takes_text() || MORE * tokens > most {
        let tokens = tokens.min(most);
        let ids = |index: usize| (7919 * index + 13) % spec.vocab.max(1);
        if tokens <= MOST_IDS {
            let ids: Vec<String> = (0..tokens).map(|index| ids(index).to_string()).collect();
            return format!("--ids {}", ids.join(","));
        }
        let vocab = spec.vocab;
        return format!("--ids $(python -c \"print(*[(7919*i+13)%{vocab} for i in range({tokens})],sep=',')\")");
    }
    let line = "The capital of France is Paris.";
    if tokens <= 12 {
        return format!("--prompt \"{line} The capital of Italy is\"");
    }
    format!("--prompt \"$(yes '{line}' | head -n {})\"", tokens.div_ceil(6))
}

/// A path as a shell takes it.
fn quoted(path: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./:@%+=,-".contains(c);
    let path = if path.starts_with('-') { format!("./{path}") } else { path.to_string() };
    if !path.is_empty() && path.chars().all(plain) { path } else { format!("'{}'", path.replace('\'', r"'\''")) }
}
