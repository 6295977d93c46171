//! Pads: what stands before or behind the tokens of a sequence to make it as long as the others of its batch.

use ndarray::{ArrayD, ArrayView2, Axis};

use super::align::{self, Laid};
use super::shape::{Frame, Kind, Rows, Wanted};

/// Scores from here on down are hidden by a mask.
pub(super) const HIDDEN: f32 = -9e3;

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
    pub(super) fn around(is_token: &[bool]) -> Option<Pads> {
        let before = is_token.iter().position(|token| *token)?;
        let tokens = is_token.iter().skip(before).take_while(|token| **token).count();
        let after = is_token.len() - before - tokens;
        let rest_are_pads = is_token.iter().skip(before + tokens).all(|token| !token);
        (rest_are_pads && before + after > 0).then_some(Pads { before, tokens, after })
    }

    /// The pads in `longer`, if it is `shorter` with one id again and again at one end: more than once, as one may as well
    /// be a token that only one side was fed.
    pub(super) fn between(longer: &[u32], shorter: &[u32]) -> Option<Pads> {
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
    pub(super) fn strip(self, ids: &[u32]) -> Vec<u32> {
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

    /// The pads of a sequence whose tokens count from 0, each one more than the one before.
    pub(super) fn counted(positions: &[i64]) -> Option<Pads> {
        let run = |from: usize| (from..positions.len()).zip(0i64..).take_while(|(at, n)| positions[*at] == *n).count();
        let best = (0..positions.len()).max_by_key(|from| (run(*from), *from))?;
        let tokens = run(best);
        let is_token: Vec<bool> = (0..positions.len()).map(|at| (best..best + tokens).contains(&at)).collect();
        Pads::around(&is_token)
    }

    /// The pads that every token's scores hide: keys before them that no causal mask hides, or their own rows behind.
    pub(super) fn hidden(scores: &ArrayView2<f32>) -> Option<Pads> {
        let rows = scores.nrows();
        let hidden = |row: usize, key: usize| scores[[row, key]] <= HIDDEN || scores[[row, key]].is_nan();
        let is_token: Vec<bool> = (0..rows).map(|row| !hidden(row, row)).collect();
        let pads = Pads::around(&is_token)?;
        let tokens = pads.before..pads.before + pads.tokens;
        let all_hide = tokens.clone().all(|row| (0..pads.before).all(|key| hidden(row, key)));
        all_hide.then_some(pads)
    }
}
