//! What differences do to the output: how far the distributions of the next token lie apart, and where another token is the
//! likeliest.

use ndarray::{ArrayView1, Axis as NdAxis};

use super::part::Part;
use crate::metrics::{Softmax, divergence};

/// Divergences below this, in nats, are those of two programs in f32.
const NOISE: f64 = 1e-8;

/// Where the likeliest token is another one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OtherToken {
    /// Position in the sequence.
    pub position: usize,
    /// The likeliest by what is right.
    pub reference: u32,
    /// The likeliest by what is under suspicion.
    pub candidate: u32,
    /// How far the first lies above the second by what is right, in logits.
    pub margin: f64,
}

/// The logits of all positions that both sides have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effect {
    /// Who is compared with whom: `candidate against reference`.
    pub who: [&'static str; 2],
    /// Positions compared.
    pub positions: usize,
    /// Positions in which a logit is not finite: they are not compared.
    pub not_finite: usize,
    /// The sum of `KL(reference || candidate)` over positions, in nats.
    sum: f64,
    /// Positions with the same likeliest token.
    pub same: usize,
    /// The first position with another one.
    pub other: Option<OtherToken>,
}

impl Effect {
    /// Between these two: who is under suspicion, who is right.
    pub(super) fn between(who: [&'static str; 2]) -> Self {
        Self { who, ..Self::default() }
    }

    /// Adds the rows that both have; `first` is the position of the forward's first token.
    pub(super) fn add(&mut self, first: usize, values: &Part, expected: &Part) {
        for (at, row) in values.rows.iter().enumerate() {
            let Ok(other) = expected.rows.binary_search(row) else { continue };
            let [Some(ours), Some(right)] = [row_of(values, at), row_of(expected, other)] else { continue };
            if ours.len() == right.len() {
                self.add_row(first + row, &ours, &right);
            }
        }
    }

    fn add_row(&mut self, position: usize, ours: &[f32], right: &[f32]) {
        if !ours.iter().chain(right).all(|logit| logit.is_finite()) {
            self.not_finite += 1;
            return;
        }
        let (q, p) = (Softmax::of(ours), Softmax::of(right));
        self.sum += divergence((right, p, &p.probabilities(right)), (ours, q));
        self.positions += 1;
        let (candidate, reference) = (likeliest(ours), likeliest(right));
        if candidate == reference {
            self.same += 1;
        } else if self.other.is_none() {
            let margin = f64::from(right[reference]) - f64::from(right[candidate]);
            let (reference, candidate) = (reference as u32, candidate as u32);
            self.other = Some(OtherToken { position, reference, candidate, margin });
        }
    }

    /// The mean divergence in nats.
    pub fn kl(&self) -> f64 {
        self.sum / self.positions as f64
    }

    /// The share of positions with the same likeliest token.
    pub fn agreement(&self) -> f64 {
        self.same as f64 / self.positions as f64
    }

    /// One line; `None` where there are no logits.
    pub fn describe(&self) -> Option<String> {
        let odd = match self.not_finite {
            0 => String::new(),
            1 => "; at 1 position the logits are not finite".into(),
            odd => format!("; at {odd} positions the logits are not finite"),
        };
        if self.positions == 0 {
            return (self.not_finite > 0).then(|| odd.trim_start_matches("; ").to_string());
        }
        let [own, right] = self.who;
        let of = if self.positions == 1 { "position" } else { "positions" };
        let first = self.other.map_or_else(String::new, |other| {
            let OtherToken { position, reference, candidate, margin } = other;
            format!("; at token {position} it is {candidate}, where the {right} has {reference} (margin {margin:.2})")
        });
        let (same, all) = (self.same, self.positions);
        // Below that, the digits are those of rounding.
        let kl = match self.kl() {
            kl if kl < NOISE => format!("below {NOISE:.0e}"),
            kl => format!("{kl:.1e}"),
        };
        Some(format!(
            "{own} against {right}: KL {kl} nats, the same likeliest token at {same} of {all} {of}{first}{odd}"
        ))
    }
}

/// One row of logits.
fn row_of(part: &Part, at: usize) -> Option<Vec<f32>> {
    let row = (part.values.ndim() == 2).then(|| part.values.index_axis(NdAxis(0), at))?;
    let row: ArrayView1<f32> = row.into_dimensionality().ok()?;
    Some(row.to_vec())
}

/// The first of the largest.
fn likeliest(logits: &[f32]) -> usize {
    let better = |best: usize, at: usize| if logits[at] > logits[best] { at } else { best };
    (0..logits.len()).reduce(better).unwrap_or_default()
}

/// The last row of logits, the likeliest token there, and how far it lies above another.
#[derive(Clone, Debug)]
pub(super) struct LastRow(Vec<f32>);

impl LastRow {
    /// Of a part that has the last of so many rows.
    pub(super) fn of(part: &Part, tokens: usize) -> Option<Self> {
        let at = part.rows.iter().position(|row| *row + 1 == tokens)?;
        row_of(part, at).filter(|row| row.iter().all(|logit| logit.is_finite())).map(Self)
    }

    /// The likeliest token, and how far it lies above `fed`; `None` where that is it.
    pub(super) fn instead_of(&self, fed: u32) -> Option<(u32, f64)> {
        let best = likeliest(&self.0);
        let own = *self.0.get(fed as usize)?;
        (best != fed as usize && self.0[best] > own).then(|| (best as u32, f64::from(self.0[best]) - f64::from(own)))
    }

    /// How far two tokens lie apart.
    pub(super) fn margin(&self, a: u32, b: u32) -> Option<f64> {
        let [a, b] = [a, b].map(|token| self.0.get(token as usize).map(|logit| f64::from(*logit)));
        Some((a? - b?).abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn rows_that_both_have_are_compared() {
        let part = |values: ndarray::Array2<f32>, rows: &[usize]| Part {
            values: values.into_dyn().into_shared(),
            rows: rows.to_vec(),
            first_key: 0,
        };
        let right = part(array![[0.0, 1.0, 0.0], [2.0, 0.0, 1.5], [0.0, 0.0, f32::NAN]], &[0, 1, 2]);
        let own = part(array![[1.5, 0.0, 2.0], [0.0, 0.0, 0.0]], &[1, 2]);
        let mut effect = Effect::between(["candidate", "reference"]);
        effect.add(7, &own, &right);
        assert_eq!((effect.positions, effect.same, effect.not_finite), (1, 0, 1));
        let other = OtherToken { position: 8, reference: 0, candidate: 2, margin: 0.5 };
        assert_eq!(effect.other, Some(other));
        // p = e^2 : 1 : e^1.5 over their sum; q has the first and the last exchanged.
        let weights = [2.0f64, 0.0, 1.5].map(f64::exp);
        let sum: f64 = weights.iter().sum();
        let expected = (weights[0] * 0.5 - weights[2] * 0.5) / sum;
        assert!((effect.kl() - expected).abs() < 1e-6, "{} {expected}", effect.kl());
        let words = effect.describe().expect("a line");
        assert!(words.contains("at token 8 it is 2, where the reference has 0 (margin 0.50)"), "{words}");
        let last = LastRow::of(&own, 3).expect("the last row");
        assert_eq!((last.instead_of(1), last.margin(0, 2)), (None, Some(0.0)));
        let first = LastRow::of(&part(array![[1.0, 3.0]], &[0]), 1).expect("a row");
        assert_eq!((first.instead_of(0), first.instead_of(1)), (Some((1, 2.0)), None));
    }
}
