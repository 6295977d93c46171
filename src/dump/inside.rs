//! A dump of some rows of what was fed: the suffix behind a prefix that was cached, the last row, every k-th. Its embedding
//! rows are then those of some of the ids, in their order.

use std::sync::Arc;

use ndarray::Axis;

use super::align::error;
use super::error::Error;
use super::padded::take;
use super::pads::Pads;
use super::unnamed::told_behind_attention;
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

/// Takes the ids that its embedding rows show for some of those `fed` in forwards of `steps`, where they are that, and
/// what was computed from them has not the values of a prompt of them alone. Forwards that nobody tells, all in one,
/// are those of the dump.
pub fn take_rows_of(dump: &mut Dump, model: &Arc<Model>, fed: &[u32], steps: &[usize]) -> Result<(), Error> {
    let Some(ids) = dump.ids.clone().filter(|ids| ids.origin == IdsOrigin::Embeddings) else { return Ok(()) };
    let Some((own, prompt, rows)) = some_rows(&ids, fed, steps) else { return Ok(()) };
    let all: Vec<usize> = (0..own.len()).collect();
    if dump.bind(&ids.ids, &ids.steps).is_ok() && is_of(dump, model, (own, &all), (prompt, &rows))? {
        return Ok(());
    }
    let steps: Vec<usize> = [prompt.len()].into_iter().chain(ids.steps.iter().skip(1).copied()).collect();
    let fed = fed.iter().copied().take(steps.iter().sum()).collect();
    dump.ids = Some(Ids { ids: fed, steps, origin: ids.origin });
    Ok(())
}

/// Finds pads that nothing but the values tells of: the ids, of the dump or else `typed`, have one id again and again at
/// an end, and what depends on the tokens before it is that of the rest alone. Nothing depends on what stands behind: it
/// may be pads only where its id is one that `fills_up` batches.
pub fn find_pads(
    dump: &mut Dump,
    model: &Arc<Model>,
    typed: Option<&[u32]>,
    fills_up: impl Fn(u32) -> bool,
) -> Result<(), Error> {
    let own = dump.ids.as_ref().map(|ids| (ids.ids.clone(), ids.steps.clone()));
    let typed = typed.map(|ids| (ids.to_vec(), dump.steps_for(ids.len())));
    let Some((ids, steps)) = own.or(typed).filter(|_| dump.pads.is_none()) else { return Ok(()) };
    let Some(fed) = ids.get(..steps[0]) else { return Ok(()) };
    let may_be = |pads: &Pads| pads.after == 0 || fed.last().is_some_and(|id| fills_up(*id));
    for pads in Pads::at_an_end(fed).into_iter().filter(may_be) {
        let own: Vec<usize> = (pads.before..pads.before + pads.tokens).collect();
        let all: Vec<usize> = (0..fed.len()).collect();
        let alone = &fed[pads.before..pads.before + pads.tokens];
        if dump.bind(&ids, &steps).is_ok() && is_of(dump, model, (alone, &own), (fed, &all))? {
            take(dump, pads);
            return Ok(());
        }
    }
    find_pads_by_values(dump, model, fed, may_be)
}

/// The same where nothing that depends on other tokens has a known name: with the pads taken away, values tell what some of
/// the tensors are, and with them what none of them is.
fn find_pads_by_values(
    dump: &mut Dump,
    model: &Arc<Model>,
    fed: &[u32],
    may_be: impl Fn(&Pads) -> bool,
) -> Result<(), Error> {
    let found: Vec<Pads> = Pads::at_an_end(fed).into_iter().filter(may_be).collect();
    if found.is_empty() || dump.unmatched.is_empty() || told_behind_attention(dump, model, fed)? > 0 {
        return Ok(());
    }
    for pads in found {
        dump.pads = Some(pads);
        let told = told_behind_attention(dump, model, &fed[pads.before..pads.before + pads.tokens]);
        dump.pads = None;
        if told? > 0 {
            take(dump, pads);
            break;
        }
    }
    Ok(())
}

/// Whether the first activation that tells the two apart is that of one prompt, in the rows of the dump that are its
/// tokens, and not that of another; of that, too, the rows that are the dump's.
fn is_of(
    dump: &Dump,
    model: &Arc<Model>,
    (one, rows_of_one): (&[u32], &[usize]),
    (other, rows_of_other): (&[u32], &[usize]),
) -> Result<bool, Error> {
    let mut alone = Run::new(Arc::clone(model), one, LogitRows::All);
    let mut among = Run::new(Arc::clone(model), other, LogitRows::All);
    let mut attended = false;
    while let (Some(site), Some(_)) = (alone.step(), among.step()) {
        let node = &model.graph[site];
        // Before attention a row depends on its position, and a wrong position is no other prompt.
        attended |= node.has_keys();
        if !attended || node.has_keys() || dump.planned(0, site).is_none() {
            continue;
        }
        let (Some(ours), Some(others)) = (alone.get(site), among.get(site)) else { continue };
        let axis = Axis(node.row_axis());
        let others = others.select(axis, rows_of_other);
        let Some(read) = dump.read(0, site, None)? else { continue };
        let rows = read.part.values.len_of(axis);
        if rows != others.len_of(axis) || rows_of_one.iter().any(|row| *row >= rows) {
            continue;
        }
        let from_one = error(&read.part.values.select(axis, rows_of_one).view(), &ours.view());
        let from_other = error(&read.part.values.view(), &others.view());
        if from_one.max(from_other) < APART {
            continue;
        }
        return Ok(from_one < APART && from_one * CLEARLY < from_other);
    }
    Ok(false)
}
