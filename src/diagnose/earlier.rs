//! What a dump has of an op's inputs in the forwards before: ports read buffers from their start.

use ndarray::Axis;

use super::forced::Forced;
use crate::dump::Dump;
use crate::engine::{Read, Site, Value};

/// Puts what a dump has of the inputs of `site` in earlier forwards where alterations find it; `ends` are the positions
/// behind each forward.
pub(super) fn remember_inputs(dump: &Dump, ends: &[usize], step: usize, site: Site, forced: &mut Forced) {
    let Some((first, end)) = step.checked_sub(1).and_then(|before| Some((*ends.get(before)?, *ends.get(step)?))) else {
        return;
    };
    let tokens = end - first;
    let inputs: Vec<Site> = forced.graph()[site]
        .reads
        .iter()
        .filter_map(|read| if let Read::Node(input) = read { Some(*input) } else { None })
        .collect();
    for input in inputs {
        let node = &forced.graph()[input];
        if node.has_keys() || node.row_axis() != 0 {
            continue;
        }
        let mut rows = Value::from_elem(node.shape(first, first), f32::NAN);
        for earlier in 0..step {
            let span = if earlier == 0 { 0 } else { ends[earlier - 1] }..ends[earlier];
            // Only those that may be read for its own.
            let wanted = span.start < tokens || span.end > first.saturating_sub(tokens);
            let read = || dump.read(earlier, input, None).ok().flatten();
            let Some(part) = wanted.then(read).flatten().map(|aligned| aligned.part) else { continue };
            for (index, row) in part.rows.iter().enumerate() {
                let mut into = rows.index_axis_mut(Axis(0), span.start + row);
                let from = part.values.index_axis(Axis(0), index);
                if into.shape() == from.shape() {
                    into.assign(&from);
                }
            }
        }
        forced.remember(input, &rows);
    }
}
