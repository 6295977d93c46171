//! A dump of some rows of what was fed: the suffix behind a prefix that was cached, the last row, every k-th. Its embedding
//! rows are then those of some of the ids, in their order.

use std::sync::Arc;

use ndarray::{ArrayViewD, Axis};

use super::align::error;
use super::error::Error;
use super::{Dump, Ids, IdsOrigin};
use crate::engine::{LogitRows, Run};
use crate::model::Model;

/// Two activations that are farther apart than this are of different contexts, whatever the precision.
const APART: f64 = 0.05;

/// The context that a dump was computed in is this many times nearer than the other.
const CLEARLY: f64 = 4.0;

/// Where ids stand among more of them, in their order; of several ways, the one nearest to the end.
fn places(ids: &[u32], among: &[u32]) -> Option<Vec<usize>> {
    let mut end = among.len();
    let mut places: Vec<usize> = Vec::with_capacity(ids.len());
    for id in ids.iter().rev() {
        end = among.get(..end)?.iter().rposition(|other| other == id)?;
        places.push(end);
    }
    places.reverse();
    Some(places)
}

/// The ids of the first forward of a dump, those that were fed in it, and which of these they are: not only the first,
/// which would be another prompt. Later forwards are those that were fed.
fn some_rows<'a>(ids: &'a Ids, fed: &'a [u32], steps: &[usize]) -> Option<(&'a [u32], &'a [u32], Vec<usize>)> {
    let (own, later) = ids.ids.split_at_checked(*ids.steps.first()?)?;
    let tokens = if let [first, _, ..] = steps { *first } else { fed.len().checked_sub(later.len())? };
    let (prompt, rest) = fed.split_at_checked(tokens).filter(|(prompt, _)| prompt.len() > own.len())?;
    let rows = places(own, prompt).filter(|rows| rows.last().is_some_and(|last| *last >= own.len()))?;
    rest.starts_with(later).then_some((own, prompt, rows))
}

impl Dump {
    /// Takes the ids that its embedding rows show for some of those `fed` in forwards of `steps`, where they are that, and
    /// what was computed from them has not the values of a prompt of them alone. Forwards that nobody tells, all in one,
    /// are those of the dump.
    pub fn take_rows_of(&mut self, model: &Arc<Model>, fed: &[u32], steps: &[usize]) -> Result<(), Error> {
        let Some(ids) = self.ids.clone().filter(|ids| ids.origin == IdsOrigin::Embeddings) else { return Ok(()) };
        let Some((own, prompt, rows)) = some_rows(&ids, fed, steps) else { return Ok(()) };
        if self.bind(&ids.ids, &ids.steps).is_ok() && self.is_alone(model, own, prompt, &rows)? {
            return Ok(());
        }
        let steps: Vec<usize> = [prompt.len()].into_iter().chain(ids.steps.iter().skip(1).copied()).collect();
        let fed = fed.iter().copied().take(steps.iter().sum()).collect();
        self.ids = Some(Ids { ids: fed, steps, origin: ids.origin });
        Ok(())
    }

    /// Whether the first activation that depends on the tokens before it is that of a prompt of `own`, not that of these
    /// `rows` of `prompt`.
    fn is_alone(&self, model: &Arc<Model>, own: &[u32], prompt: &[u32], rows: &[usize]) -> Result<bool, Error> {
        let mut alone = Run::new(Arc::clone(model), own, LogitRows::All);
        let mut among = Run::new(Arc::clone(model), prompt, LogitRows::All);
        let mut attended = false;
        while let (Some(site), Some(_)) = (alone.step(), among.step()) {
            let node = &model.graph[site];
            // Before attention a row depends on its position, and a wrong position is no other prompt.
            attended |= node.has_keys();
            if !attended || node.has_keys() || self.planned(0, site).is_none() {
                continue;
            }
            let (Some(ours), Some(other)) = (alone.get(site), among.get(site)) else { continue };
            let other = other.select(Axis(node.row_axis()), rows);
            if error(&ours.view(), &other.view()) < APART {
                continue;
            }
            let Some(read) = self.read(0, site, Some(ours.view()))? else { continue };
            let apart = |from: ArrayViewD<f32>| error(&read.part.values.view(), &from);
            let (from_alone, from_among) = (apart(ours.view()), apart(other.view()));
            return Ok(from_alone < APART && from_alone * CLEARLY < from_among);
        }
        Ok(false)
    }
}
