//! Padded batches: where the pads of a dump are is told by the mask, by the positions, by scores that hide them, or by the
//! ids beside those of the other side. They are taken away, in rows and in keys.

use ndarray::{ArrayD, Axis};

use super::error::{Error, shown};
use super::ids::{Ids, IdsOrigin, integers};
use super::name::normal;
use super::pads::{HIDDEN, Pads};
use super::plan::Planned;
use super::shape::Kind;
use super::{Dump, align};
use crate::engine::{Role, Site};

/// What tells the position of each row.
const POSITIONS: [&str; 2] = ["position_ids", "positions"];

/// A key of less weight is one that nobody looks at.
const UNSEEN: f32 = 1e-4;

/// Whether the dump says that its tokens have the positions that they have without pads. Else those may count, which
/// rotations show, and scores do not.
pub fn counts_from_zero(dump: &Dump) -> bool {
    dump.pads.is_none_or(|pads| pads.before == 0) || first_position(dump) == Some(0)
}

/// Whether the dump says that its tokens have other positions than without pads.
pub fn says_other_positions(dump: &Dump) -> bool {
    dump.pads.is_some_and(|pads| pads.before > 0) && first_position(dump).is_some_and(|first| first != 0)
}

/// The position of the first token behind the pads, as far as the dump tells.
fn first_position(dump: &Dump) -> Option<i64> {
    let told = POSITIONS.into_iter().find_map(|name| told(dump, name).ok().flatten())?;
    told.get(dump.pads?.before).copied()
}

/// Takes the pads away: from what is read from now on, and from the ids, where those have them.
pub(super) fn take(dump: &mut Dump, pads: Pads) {
    dump.pads = Some(pads);
    if let Some(ids) = dump.ids.take() {
        let padded = ids.steps.first() == Some(&pads.rows());
        let steps = [pads.tokens].into_iter().chain(ids.steps.iter().skip(1).copied()).collect();
        dump.ids = Some(if padded { Ids { ids: pads.strip(&ids.ids), steps, ..ids } } else { ids });
    }
    let at = |count: usize, place: &str| if count > 0 { format!("{count} {place}") } else { String::new() };
    let places = [at(pads.before, "before its tokens"), at(pads.after, "behind them")];
    let places: Vec<&String> = places.iter().filter(|words| !words.is_empty()).collect();
    let places = places.into_iter().cloned().collect::<Vec<_>>().join(", ");
    dump.notes.push(format!("padded: {places}: the rows and keys of pads are left out"));
}

/// Rows that are stored are often as many as suit the hardware: a multiple of this.
const ROUND: usize = 8;

/// Takes away the rows behind the ids, where those are fewer than the rows and these a round number: whatever stands there
/// was fed by nobody. Nothing that was computed from the ids depends on it.
fn take_room(dump: &mut Dump, typed: Option<&[u32]>) {
    let own = dump.ids.as_ref().filter(|ids| ids.origin != IdsOrigin::Embeddings).map(|ids| ids.steps[0]);
    let none = dump.ids.is_none();
    let tokens = own.or_else(|| typed.filter(|_| none).map(|ids| dump.steps_for(ids.len())[0]));
    let Some((tokens, rows)) = tokens.zip(stored_rows(dump)).filter(|(tokens, rows)| tokens < rows) else { return };
    // The rows of all forwards may lie in one tensor.
    let fed = dump.ids.as_ref().map(|ids| ids.ids.len()).or(typed.map(<[u32]>::len));
    if fed.is_some_and(|fed| fed >= rows) {
        return;
    }
    let more = dump.named.iter().any(|named| named.forward == 0 && holds_more(named, rows));
    if !rows.is_multiple_of(ROUND) || more {
        return;
    }
    let after = rows - tokens;
    (dump.pads, dump.pads_are_room) = (Some(Pads { before: 0, tokens, after }), true);
    dump.notes.push(format!("{rows} rows are stored for {tokens} ids: the {after} rows behind them are left out"));
}

/// Whether a tensor without heads has more rows.
fn holds_more(named: &Planned, rows: usize) -> bool {
    let count: usize = named.stored.iter().product();
    named.wanted.kind == Kind::Rows && count > rows * named.wanted.channels
}

/// How much weight pads have: of probabilities the most that a token gives to all of them, of scores infinite where
/// they are not hidden. 0 where there are none, or nobody sees them.
pub fn weight_of_pads(dump: &Dump, forward: usize, site: Site) -> Result<f32, Error> {
    // Keys that were never computed are none.
    let pads = dump.pads.filter(|_| !dump.pads_are_room);
    let (Some(pads), Some(planned)) = (pads, dump.planned(forward, site)) else { return Ok(0.0) };
    let (Some(frame), Some(reading)) = (planned.frame, planned.readings.first()) else { return Ok(0.0) };
    let values = dump.values(planned)?;
    let laid = align::lay_out(&values.view(), reading, &planned.wanted, frame);
    let hidden = laid.and_then(|laid| pads.cut(laid, &planned.wanted, reading.holds, frame).1);
    let Some(hidden) = hidden else { return Ok(0.0) };
    if dump.graph.is(site, Role::Scores) {
        return Ok(if hidden.iter().any(|score| *score > HIDDEN) { f32::INFINITY } else { 0.0 });
    }
    let most = hidden.lanes(Axis(2)).into_iter().map(|keys| keys.sum()).fold(0.0, f32::max);
    Ok(if most > UNSEEN { most } else { 0.0 })
}

/// Rows that are stored of the first forward, by the shape of a tensor without heads.
fn stored_rows(dump: &Dump) -> Option<usize> {
    let first = dump.named.iter().find(|named| named.forward == 0 && named.wanted.kind == Kind::Rows && !named.flat)?;
    match *first.stored.as_slice() {
        [rows, _] | [1, rows, _] => Some(rows),
        [_, rows, _] if dump.batch.is_some() => Some(rows),
        _ => None,
    }
}

/// Where the dump itself tells that pads are.
fn told_pads(dump: &Dump) -> Result<Option<Pads>, Error> {
    let rows = stored_rows(dump);
    let fits = |pads: &Pads| rows.is_none_or(|rows| rows == pads.rows());
    if let Some(mask) = told(dump, "attention_mask")? {
        let is_token: Vec<bool> = mask.iter().map(|value| *value != 0).collect();
        let first = is_token.get(..rows.unwrap_or(is_token.len())).unwrap_or(&is_token);
        return Ok(Pads::around(first).filter(fits));
    }
    for name in POSITIONS {
        if let Some(positions) = told(dump, name)? {
            let first = positions.get(..rows.unwrap_or(positions.len())).unwrap_or(&positions);
            return Ok(Pads::counted(first).filter(fits));
        }
    }
    let scores = dump.named.iter().find(|n| n.forward == 0 && dump.graph.is(n.site, Role::Scores));
    let Some((scores, rows)) = scores.zip(rows).filter(|(scores, _)| scores.is_the_activation()) else {
        return Ok(None);
    };
    Ok(square(dump, scores, rows)?.and_then(|head| Pads::hidden(&head.view().into_dimensionality().ok()?)))
}

/// One head of scores, of the sequence that is read.
fn square(dump: &Dump, scores: &Planned, rows: usize) -> Result<Option<ArrayD<f32>>, Error> {
    let first = match *scores.stored.as_slice() {
        [_, a, b] | [1, _, a, b] if a == rows && b == rows => Some(0),
        [_, heads, a, b] if a == rows && b == rows => dump.batch.map(|pick| pick * heads),
        _ => None,
    };
    let Some(first) = first else { return Ok(None) };
    let values = dump.values(scores)?;
    let flat: Vec<f32> = values.iter().copied().skip(first * rows * rows).take(rows * rows).collect();
    Ok(ArrayD::from_shape_vec(vec![rows, rows], flat).ok())
}

/// A list of whole numbers, one for each position, that the dump gives of the sequence that is read.
fn told(dump: &Dump, what: &str) -> Result<Option<Vec<i64>>, Error> {
    let (batch, one) = (dump.batch.unwrap_or(0), |list: Vec<Vec<i64>>| match list.len() {
        1 => list.into_iter().next(),
        _ => list.into_iter().nth(dump.batch.unwrap_or(0)),
    });
    if let Some(text) = dump.archive.metadata().get(what) {
        let rows = serde_json::from_str(text).map(|row| vec![row]).or_else(|_| serde_json::from_str(text));
        let wrong = |_| dump.ids_error(format!("its metadata {what} is no JSON list of numbers: \"{}\"", shown(text)));
        return rows.map_err(wrong).map(one);
    }
    let entry = dump.archive.entries().iter().find(|entry| normal(&entry.name) == what);
    let Some(entry) = entry.filter(|entry| entry.shape.len() <= 2) else { return Ok(None) };
    let Some(values) = integers(dump.archive.read(&entry.name)?) else { return Ok(None) };
    let width = values.shape().last().copied().unwrap_or(1).max(1);
    let flat: Vec<i64> = values.into_iter().collect();
    let row = if flat.len() == width { 0 } else { batch };
    Ok(flat.chunks(width).nth(row).map(<[i64]>::to_vec))
}

/// Finds the pads of two dumps, which the ids that were `typed` may have, too, and takes them away. What one tells holds for
/// the other, if that has as many rows of the same ids.
pub fn take_pads(dumps: [&mut Option<Dump>; 2], typed: Option<&[u32]>) -> Result<(), Error> {
    let mut dumps: Vec<&mut Dump> = dumps.into_iter().filter_map(Option::as_mut).collect();
    let mut told: Vec<Option<Pads>> = dumps.iter().map(|dump| told_pads(dump)).collect::<Result<_, _>>()?;
    let ids = |dump: &Dump| dump.ids.as_ref().map(|ids| ids.ids[..ids.steps[0].min(ids.ids.len())].to_vec());
    let lists: Vec<Option<Vec<u32>>> = dumps.iter().map(|dump| ids(dump)).chain([typed.map(<[u32]>::to_vec)]).collect();
    for at in 0..dumps.len() {
        let rows = stored_rows(dumps[at]);
        if told[at].is_some() || rows.is_none() {
            continue;
        }
        let of_other = told.iter().enumerate().filter_map(|(other, pads)| Some((other, (*pads)?)));
        let alike = of_other.into_iter().find(|(other, pads)| {
            let same = lists[at].as_ref().zip(lists[*other].as_ref()).is_none_or(|(a, b)| a == b);
            rows == Some(pads.rows()) && same
        });
        let own = lists[at].as_ref().or(lists.last().and_then(Option::as_ref));
        let beside = || {
            let own = own.filter(|own| Some(own.len()) == rows)?;
            lists.iter().flatten().find_map(|other| Pads::between(own, other))
        };
        told[at] = alike.map(|(_, pads)| pads).or_else(beside);
    }
    for (dump, pads) in dumps.iter_mut().zip(&told) {
        match pads {
            Some(pads) => take(dump, *pads),
            None => take_room(dump, typed),
        }
    }
    Ok(())
}

/// Takes the pads of a dump away from ids that were typed, where they have them.
pub fn strip_pads(dumps: [&Option<Dump>; 2], typed: &mut Vec<u32>) {
    let dumps: Vec<&Dump> = dumps.into_iter().flatten().collect();
    let Some(pads) = dumps.iter().find_map(|dump| dump.pads) else { return };
    let alike = |from: usize, count: usize| {
        typed.get(from..from + count).is_some_and(|pads| pads.windows(2).all(|pair| pair[0] == pair[1]))
    };
    let padded = alike(0, pads.before) && alike(pads.before + pads.tokens, pads.after);
    let real = dumps.iter().find_map(|dump| dump.ids.as_ref()).map(|ids| &ids.ids);
    let stripped = pads.strip(typed);
    let is_of =
        |real: &Vec<u32>| real.len() < typed.len() && (stripped.starts_with(real) || real.starts_with(&stripped));
    if padded && real.is_none_or(is_of) {
        *typed = stripped;
    }
}
