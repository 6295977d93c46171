//! What a comparison needs beside what is free: more ids than a dump has rows are run in full all the same.

use anyhow::bail;

use crate::dump::Dump;
use crate::engine::Role;
use crate::model::Model;

/// Values of scores that a comparison holds at once: ours, those of the dump, and what is made of them.
const COPIES: usize = 6;

/// Memory that is taken for free where the system does not tell.
const USUAL: usize = 8 << 30;

/// Refuses ids that a dump has fewer rows of, where the scores of all of them do not fit into memory.
pub(super) fn check_rows(dump: &Dump, ids: usize, model: &Model) -> anyhow::Result<()> {
    let Some(rows) = dump.stored_rows().filter(|rows| *rows < ids && dump.ids().is_none()) else { return Ok(()) };
    let graph = &model.graph;
    let scores = graph.nodes().iter().filter(|node| node.role == Some(Role::Scores));
    let most = scores.map(|node| node.shape(ids, ids).iter().fold(4, |all: usize, n| all.saturating_mul(*n))).max();
    let (needed, free) = (most.unwrap_or(0).saturating_mul(COPIES), free());
    if needed > free {
        bail!(
            "--ids has {ids} tokens, the dump {rows} rows: to find out which of them those are, scores of {ids} x {ids} would \
             take {}, and {} are free; give the ids of the rows that are there",
            gigabytes(needed),
            gigabytes(free)
        );
    }
    Ok(())
}

fn gigabytes(bytes: usize) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

/// Bytes that can be had without swapping, as Linux says.
fn free() -> usize {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    kilobytes.map_or(USUAL, |kilobytes| kilobytes.saturating_mul(1024))
}
