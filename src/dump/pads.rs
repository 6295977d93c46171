//! Padded batches: what stands before or behind the tokens of a sequence to make it as long as the others is taken away,
//! in rows and in keys. Where the pads are is told by the mask, by the positions, by scores that hide them, or by the ids
//! beside those of the other side.

use ndarray::{ArrayD, ArrayView2, Axis};

use super::align::Laid;
use super::error::{Error, shown};
use super::ids::{Ids, integers};
use super::name::normal;
use super::plan::Planned;
use super::shape::{Frame, Kind, Rows, Wanted};
use super::{Dump, align};
use crate::engine::Role;

/// Scores from here on down are hidden by a mask.
const HIDDEN: f32 = -9e3;

/// What tells the position of each row.
const POSITIONS: [&str; 2] = ["position_ids", "positions"];

/// A key of less weight is one that nobody looks at.
const UNSEEN: f32 = 1e-4;

/// The first forward of one sequence of a batch, as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pads {
    /// Pads before the tokens.
    pub before: usize,
    /// The tokens.
    pub tokens: usize,
    /// Pads behind them.
    pub after: usize,
}

impl Pads {
    /// Rows that are stored.
    pub fn rows(self) -> usize {
        self.before + self.tokens + self.after
    }

    /// How many of the rows are no tokens.
    pub fn count(self) -> usize {
        self.before + self.after
    }

    /// The pads of a sequence whose tokens these are, if they stand side by side and are not all.
    fn around(is_token: &[bool]) -> Option<Pads> {
        let before = is_token.iter().position(|token| *token)?;
        let tokens = is_token.iter().skip(before).take_while(|token| **token).count();
        let after = is_token.len() - before - tokens;
        let rest_are_pads = is_token.iter().skip(before + tokens).all(|token| !token);
        (rest_are_pads && before + after > 0).then_some(Pads { before, tokens, after })
    }

    /// The pads in `longer`, if it is `shorter` with one id again and again at one end: more than once, as one may as well
    /// be a token that only one side was fed.
    fn between(longer: &[u32], shorter: &[u32]) -> Option<Pads> {
        let count = longer.len().checked_sub(shorter.len()).filter(|count| *count > 1)?;
        let alike = |ids: &[u32]| ids.windows(2).all(|pair| pair[0] == pair[1]);
        if longer.ends_with(shorter) && alike(&longer[..count]) {
            Some(Pads { before: count, tokens: shorter.len(), after: 0 })
        } else if longer.starts_with(shorter) && alike(&longer[shorter.len()..]) {
            Some(Pads { before: 0, tokens: shorter.len(), after: count })
        } else {
            None
        }
    }

    /// What may be pads of a sequence: one id again and again, before the rest or behind it.
    pub(super) fn at_an_end(ids: &[u32]) -> Vec<Pads> {
        let alike = |ids: &mut dyn Iterator<Item = &u32>| {
            let first = ids.next();
            first.map_or(0, |first| 1 + ids.take_while(|id| *id == first).count())
        };
        let (before, after) = (alike(&mut ids.iter()), alike(&mut ids.iter().rev()));
        let pads = [(before, 0), (0, after)].into_iter().filter(|(before, after)| before + after > 1);
        pads.filter_map(|(before, after)| {
            let tokens = ids.len().checked_sub(before + after).filter(|tokens| *tokens > 0)?;
            Some(Pads { before, tokens, after })
        })
        .collect()
    }

    /// Whether the key at a stored position is a pad.
    fn is_pad(self, key: usize) -> bool {
        key < self.before || (self.before + self.tokens..self.rows()).contains(&key)
    }

    /// The ids without the pads, where they have them.
    fn strip(self, ids: &[u32]) -> Vec<u32> {
        let kept = ids.iter().enumerate().filter(|(at, _)| !self.is_pad(*at)).map(|(_, id)| *id);
        kept.collect()
    }

    /// The forward without the pads.
    pub(super) fn without(self, frame: Frame) -> Frame {
        let joined = frame.joined.map(|all| all - self.count());
        if frame.forward == 0 {
            Frame { tokens: frame.tokens - self.count(), joined, ..frame }
        } else {
            Frame { first: frame.first - self.count(), joined, ..frame }
        }
    }

    /// A tensor without the rows and keys of pads, and what it has at the pad keys of rows that are tokens.
    pub(super) fn cut(self, mut laid: Laid, wanted: &Wanted, holds: Rows, frame: Frame) -> (Laid, Option<ArrayD<f32>>) {
        if frame.forward == 0 && !matches!(holds, Rows::Some | Rows::Last) {
            let rows: Vec<usize> = (self.before..self.before + self.tokens).collect();
            laid.values = laid.values.select(align::row_axis(wanted), &rows);
        }
        if wanted.kind != Kind::Scores {
            return (laid, None);
        }
        let keys = Axis(2);
        let all = laid.first_key..laid.first_key + laid.values.len_of(keys);
        let (pads, tokens): (Vec<usize>, Vec<usize>) = all.partition(|key| self.is_pad(*key));
        let column = |keys: &[usize]| keys.iter().map(|key| key - laid.first_key).collect::<Vec<usize>>();
        let hidden = laid.values.select(keys, &column(&pads));
        let values = laid.values.select(keys, &column(&tokens));
        let first_key = laid.first_key - (0..laid.first_key).filter(|key| self.is_pad(*key)).count();
        (Laid { values, first_key, ..laid }, Some(hidden))
    }
}

impl Dump {
    /// The pads around the sequence that is read, which are taken away.
    pub fn pads(&self) -> Option<Pads> {
        self.pads
    }

    /// Whether the dump says that its tokens have the positions that they have without pads. Else those may count, which
    /// rotations show, and scores do not.
    pub fn counts_from_zero(&self) -> bool {
        self.pads.is_none_or(|pads| pads.before == 0) || self.first_position() == Some(0)
    }

    /// Whether the dump says that its tokens have other positions than without pads.
    pub fn says_other_positions(&self) -> bool {
        self.pads.is_some_and(|pads| pads.before > 0) && self.first_position().is_some_and(|first| first != 0)
    }

    /// The position of the first token behind the pads, as far as the dump tells.
    fn first_position(&self) -> Option<i64> {
        let told = POSITIONS.into_iter().find_map(|name| self.told(name).ok().flatten())?;
        told.get(self.pads?.before).copied()
    }

    /// Takes the pads away: from what is read from now on, and from the ids, where those have them.
    pub(super) fn take_pads(&mut self, pads: Pads) {
        self.pads = Some(pads);
        if let Some(ids) = self.ids.take() {
            let padded = ids.steps.first() == Some(&pads.rows());
            let steps = [pads.tokens].into_iter().chain(ids.steps.iter().skip(1).copied()).collect();
            self.ids = Some(if padded { Ids { ids: pads.strip(&ids.ids), steps, ..ids } } else { ids });
        }
        let at = |count: usize, place: &str| if count > 0 { format!("{count} {place}") } else { String::new() };
        let places = [at(pads.before, "before its tokens"), at(pads.after, "behind them")];
        let places: Vec<&String> = places.iter().filter(|words| !words.is_empty()).collect();
        let places = places.into_iter().cloned().collect::<Vec<_>>().join(", ");
        self.notes.push(format!("padded: {places}: the rows and keys of pads are left out"));
    }

    /// How much weight pads have: of probabilities the most that a token gives to all of them, of scores infinite where
    /// they are not hidden. 0 where there are none, or nobody sees them.
    pub fn weight_of_pads(&self, forward: usize, site: crate::engine::Site) -> Result<f32, Error> {
        let (Some(pads), Some(planned)) = (self.pads, self.planned(forward, site)) else { return Ok(0.0) };
        let (Some(frame), Some(reading)) = (planned.frame, planned.readings.first()) else { return Ok(0.0) };
        let values = self.values(planned)?;
        let laid = align::lay_out(&values.view(), reading, &planned.wanted, frame);
        let hidden = laid.and_then(|laid| pads.cut(laid, &planned.wanted, reading.holds, frame).1);
        let Some(hidden) = hidden else { return Ok(0.0) };
        if self.graph.is(site, Role::Scores) {
            return Ok(if hidden.iter().any(|score| *score > HIDDEN) { f32::INFINITY } else { 0.0 });
        }
        let most = hidden.lanes(Axis(2)).into_iter().map(|keys| keys.sum()).fold(0.0, f32::max);
        Ok(if most > UNSEEN { most } else { 0.0 })
    }

    /// Rows that are stored of the first forward, by the shape of a tensor without heads.
    fn stored_rows(&self) -> Option<usize> {
        let first =
            self.named.iter().find(|named| named.forward == 0 && named.wanted.kind == Kind::Rows && !named.flat)?;
        match *first.stored.as_slice() {
            [rows, _] | [1, rows, _] => Some(rows),
            [_, rows, _] if self.batch.is_some() => Some(rows),
            _ => None,
        }
    }

    /// Where the dump itself tells that pads are.
    fn told_pads(&self) -> Result<Option<Pads>, Error> {
        let rows = self.stored_rows();
        let fits = |pads: &Pads| rows.is_none_or(|rows| rows == pads.rows());
        if let Some(mask) = self.told("attention_mask")? {
            let is_token: Vec<bool> = mask.iter().map(|value| *value != 0).collect();
            let first = is_token.get(..rows.unwrap_or(is_token.len())).unwrap_or(&is_token);
            return Ok(Pads::around(first).filter(fits));
        }
        for name in POSITIONS {
            if let Some(positions) = self.told(name)? {
                let first = positions.get(..rows.unwrap_or(positions.len())).unwrap_or(&positions);
                return Ok(counted(first).filter(fits));
            }
        }
        let scores = self.named.iter().find(|n| n.forward == 0 && self.graph.is(n.site, Role::Scores));
        let Some((scores, rows)) = scores.zip(rows).filter(|(scores, _)| scores.is_the_activation()) else {
            return Ok(None);
        };
        Ok(self.square(scores, rows)?.and_then(|head| hidden_keys(&head.view().into_dimensionality().ok()?)))
    }

    /// One head of scores, of the sequence that is read.
    fn square(&self, scores: &Planned, rows: usize) -> Result<Option<ArrayD<f32>>, Error> {
        let first = match *scores.stored.as_slice() {
            [_, a, b] | [1, _, a, b] if a == rows && b == rows => Some(0),
            [_, heads, a, b] if a == rows && b == rows => self.batch.map(|pick| pick * heads),
            _ => None,
        };
        let Some(first) = first else { return Ok(None) };
        let values = self.values(scores)?;
        let flat: Vec<f32> = values.iter().copied().skip(first * rows * rows).take(rows * rows).collect();
        Ok(ArrayD::from_shape_vec(vec![rows, rows], flat).ok())
    }

    /// A list of whole numbers, one for each position, that the dump gives of the sequence that is read.
    fn told(&self, what: &str) -> Result<Option<Vec<i64>>, Error> {
        let (batch, one) = (self.batch.unwrap_or(0), |list: Vec<Vec<i64>>| match list.len() {
            1 => list.into_iter().next(),
            _ => list.into_iter().nth(self.batch.unwrap_or(0)),
        });
        if let Some(text) = self.archive.metadata().get(what) {
            let rows = serde_json::from_str(text).map(|row| vec![row]).or_else(|_| serde_json::from_str(text));
            let wrong =
                |_| self.ids_error(format!("its metadata {what} is no JSON list of numbers: \"{}\"", shown(text)));
            return rows.map_err(wrong).map(one);
        }
        let entry = self.archive.entries().iter().find(|entry| normal(&entry.name) == what);
        let Some(entry) = entry.filter(|entry| entry.shape.len() <= 2) else { return Ok(None) };
        let Some(values) = integers(self.archive.read(&entry.name)?) else { return Ok(None) };
        let width = values.shape().last().copied().unwrap_or(1).max(1);
        let flat: Vec<i64> = values.into_iter().collect();
        let row = if flat.len() == width { 0 } else { batch };
        Ok(flat.chunks(width).nth(row).map(<[i64]>::to_vec))
    }
}

/// The pads of a sequence whose tokens count from 0, each one more than the one before.
fn counted(positions: &[i64]) -> Option<Pads> {
    let run = |from: usize| (from..positions.len()).zip(0i64..).take_while(|(at, n)| positions[*at] == *n).count();
    let best = (0..positions.len()).max_by_key(|from| (run(*from), *from))?;
    let tokens = run(best);
    let is_token: Vec<bool> = (0..positions.len()).map(|at| (best..best + tokens).contains(&at)).collect();
    Pads::around(&is_token)
}

/// The pads that every token's scores hide: keys before them that no causal mask hides, or their own rows behind.
fn hidden_keys(scores: &ArrayView2<f32>) -> Option<Pads> {
    let rows = scores.nrows();
    let hidden = |row: usize, key: usize| scores[[row, key]] <= HIDDEN || scores[[row, key]].is_nan();
    let is_token: Vec<bool> = (0..rows).map(|row| !hidden(row, row)).collect();
    let pads = Pads::around(&is_token)?;
    let tokens = pads.before..pads.before + pads.tokens;
    let all_hide = tokens.clone().all(|row| (0..pads.before).all(|key| hidden(row, key)));
    all_hide.then_some(pads)
}

/// Finds the pads of two dumps, which the ids that were `typed` may have, too, and takes them away. What one tells holds for
/// the other, if that has as many rows of the same ids.
pub fn take_pads(dumps: [&mut Option<Dump>; 2], typed: Option<&[u32]>) -> Result<(), Error> {
    let mut dumps: Vec<&mut Dump> = dumps.into_iter().filter_map(Option::as_mut).collect();
    let mut told: Vec<Option<Pads>> = dumps.iter().map(|dump| dump.told_pads()).collect::<Result<_, _>>()?;
    let ids = |dump: &Dump| dump.ids.as_ref().map(|ids| ids.ids[..ids.steps[0].min(ids.ids.len())].to_vec());
    let lists: Vec<Option<Vec<u32>>> = dumps.iter().map(|dump| ids(dump)).chain([typed.map(<[u32]>::to_vec)]).collect();
    for at in 0..dumps.len() {
        let rows = dumps[at].stored_rows();
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
        if let Some(pads) = pads {
            dump.take_pads(*pads);
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
