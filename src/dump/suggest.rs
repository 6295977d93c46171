//! A map for the tensors that no rule of names takes: what equals them in our own pass over the ids of the dump.

use std::fmt::Write as _;
use std::sync::Arc;

use super::Dump;
use super::error::{Error, shown};
use super::plan::Planned;
use super::uses::{distance, stored_frame};
use crate::engine::{LogitRows, Run, Site};
use crate::model::Model;

/// Tensors that are farther apart than this are not the same.
const SAME: f64 = 1e-2;

/// The text of a map file for the tensors of the first forward that no rule matches; the ids are bound. What equals
/// nothing stands there as a comment.
pub fn suggested_map(dump: &Dump, model: &Arc<Model>, ids: &[u32]) -> Result<String, Error> {
    let Some(prompt) = dump.steps.first().and_then(|tokens| ids.get(..*tokens)) else {
        return Err(Error::Unbound { file: dump.archive.path().to_owned() });
    };
    let Some(frame) = stored_frame(dump, &dump.steps) else { return Ok(String::new()) };
    let unknown: Vec<_> = dump.unmatched.iter().chain(&dump.set_aside).collect();
    let entry = |name: &str| dump.archive.entries().iter().find(|entry| entry.name == name);
    let mut found: Vec<Option<(f64, Site)>> = vec![None; unknown.len()];
    let mut run = Run::new(Arc::clone(model), prompt, LogitRows::All);
    while let Some(site) = run.step() {
        let Some(ours) = run.get(site) else { continue };
        for (unknown, found) in unknown.iter().zip(&mut found) {
            let Some(entry) = entry(&unknown.name).filter(|entry| entry.dtype.is_float()) else { continue };
            let apart = distance(dump, &Planned::of(entry, site, 0, &dump.graph), site, ours, frame)?;
            let free = |site| dump.planned(0, site).is_none();
            // Of equals, one that the dump does not have under its name.
            let better =
                found.is_none_or(|(least, at)| apart < least || (apart <= 2.0 * least && !free(at) && free(site)));
            if apart < SAME && better {
                *found = Some((apart, site));
            }
        }
    }
    let mut text = String::from("# What the tensors are that no rule knows, by comparing them with our own pass.\n");
    for (unknown, found) in unknown.iter().zip(found) {
        let name = serde_json::Value::String(unknown.name.clone());
        let _ = match found {
            Some((apart, site)) if dump.planned(0, site).is_some() => {
                let (name, short) = (shown(&unknown.name), dump.graph.short(site));
                writeln!(text, "# {name} equals {short} to {apart:.1e}, which is there under its name")
            }
            Some((apart, site)) => {
                let is = serde_json::Value::String(dump.graph.name(site).to_string());
                writeln!(text, "{name} = {is}  # equals {} to {apart:.1e}", dump.graph.short(site))
            }
            None => writeln!(text, "# {} {:?}: equals nothing", shown(&unknown.name), unknown.shape),
        };
    }
    Ok(text)
}
