//! A tensor that is not what its inputs give, and what is known of it.

use std::ops::Range;
use std::sync::Arc;

pub(super) use super::ranges::all_ranges;
pub use super::ranges::{numbers, ranges};

use super::equivalent::Pairs;
use super::noise::Noise;
use super::nonfinite::NonFinite;
use super::suspects::scene::Scene;
use super::suspects::search::Accused;
use super::tie::Tie;
use crate::engine::Site;

/// What kind of thing was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What follows has not told yet.
    Open,
    /// The wrong value was computed, and what follows was computed from it.
    Wrong,
    /// What follows was computed from the right value: the tensor is another one than its name says.
    Mislabelled,
    /// It may be the noise of some arithmetic or a mistake of that size: nothing tells.
    Unsettled,
    /// It has another layout, or stands before the mask, and what follows agrees: nothing is wrong.
    Equivalent,
}

/// Why a tensor that is not what its inputs give may be harmless.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Harmless {
    /// The channels of its heads stand in another order.
    Permuted(Pairs),
    /// It is from before the mask.
    Unmasked,
    /// Each of its channels is off by a factor of its own.
    Folded,
    /// It is Hugging Face's last hidden state, from before the final norm.
    Unnormed,
    /// Its error is that of an arithmetic that no tensor shows.
    LowPrecision,
    /// Its error is that of weights of fewer bits.
    CoarseWeights,
    /// Rounding decides which experts some tokens are given: the first of them.
    Tie(Tie),
}

/// One tensor of one dump that is not what its inputs give.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Which activation.
    pub site: Site,
    /// Which forward.
    pub step: usize,
    /// What it is.
    pub kind: Kind,
    /// Why it may be harmless: it is if what follows agrees.
    pub harmless: Option<Harmless>,
    /// Whether it is what an open one before it gives: if that is wrong, this one only follows.
    pub follows: bool,
    /// The activation whose value it has.
    pub label: Option<Site>,
    /// The tokens whose rows it has, where nothing follows it that could tell so.
    pub row_order: Option<Vec<usize>>,
    /// How far it is from what its inputs give.
    pub noise: Noise,
    /// Its first element that is not finite where it should be.
    pub nonfinite: Option<NonFinite>,
    /// Which keys its queries see, where these are others than the model's mask shows; in words.
    pub mask: Option<String>,
    /// Positions of the rows that are out of order.
    pub rows: Vec<usize>,
    /// What is said in the place of what was measured, and of which layers; its own first.
    pub instead: Option<(String, Vec<usize>)>,
    /// Positions of the rows that were judged.
    pub judged: Vec<usize>,
    /// Positions of the forward.
    pub tokens: Range<usize>,
    /// The dump key of the last good activation before it.
    pub last_good: Option<String>,
    /// Whether all its inputs were dumped.
    pub exact: bool,
    /// The mistakes that make it; empty where none was searched for.
    pub suspects: Vec<Accused>,
    /// The op on the dump's inputs, of the first findings that may be harmless: they are searched for if they are not.
    pub scene: Option<Arc<Scene>>,
}

impl Finding {
    /// Where the error and the noise are told of, in words: empty where they are those of all elements.
    pub fn group(&self) -> String {
        let noise = &self.noise;
        if noise.finite_score <= 1.0 || noise.whole {
            return String::new();
        }
        match noise.group_at {
            (Some(row), head) => {
                let token = self.judged.get(row).map_or(row, |position| *position);
                let head = head.map_or_else(String::new, |head| format!(" of head {head}"));
                format!(" there, in token {token}{head}")
            }
            (None, Some(head)) => format!(" there, in head {head}"),
            (None, None) => " there, in all but its massive elements, or in these".into(),
        }
    }

    /// Where in the tensor, in words: empty when everywhere.
    pub fn place(&self) -> String {
        let mut words = Vec::new();
        match self.harmless {
            Some(Harmless::Permuted(pairs)) => {
                words.push(format!("{}, but what follows takes them as they are", pairs.describe()));
            }
            Some(Harmless::Unmasked) => words.extend(self.mask.clone()),
            Some(Harmless::Folded) => {
                words.push("each channel is off by a factor of its own, and what follows takes it as it is".into());
            }
            Some(Harmless::LowPrecision | Harmless::CoarseWeights | Harmless::Unnormed | Harmless::Tie(_)) | None => {
                words.extend(self.mask.clone());
            }
        }
        let all = self.tokens.len();
        if let (Some(first), true) = (self.rows.first(), self.rows.len() < all) {
            if *first > self.tokens.start && self.rows.len() == self.tokens.end - first {
                let before = if *first == 1 {
                    "token 0 is right".into()
                } else {
                    format!("tokens up to {} are right", first - 1)
                };
                words.push(format!("{before}, later tokens are wrong"));
            } else {
                words.push(format!(
                    "only {} {}",
                    if self.rows.len() == 1 { "token" } else { "tokens" },
                    ranges(&self.rows)
                ));
            }
        }
        let heads = &self.noise.heads;
        if let (Some(last), false) = (heads.last(), heads.is_empty())
            && (heads.len() <= *last || heads.len() == 1)
        {
            words.push(format!("only {} {}", if heads.len() == 1 { "head" } else { "heads" }, ranges(heads)));
        }
        words.join("; ")
    }
}
