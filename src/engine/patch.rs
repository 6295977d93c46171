//! Patches: values that are changed as soon as an op has computed them. The ops that follow read what was put there, and
//! a run that goes back and on again makes the same changes again.

mod picked;

use std::ops::RangeInclusive;

use ndarray::{ArrayViewD, Axis as NdAxis, Ix2};

pub use picked::Picked;

use super::Value;
use crate::model::graph::{Counts, Graph, Site};
use crate::model::op::Op;
use crate::ops::{Real, Rounding};

/// A change to some elements of one activation.
#[derive(Clone, Debug, PartialEq)]
pub struct Patch {
    /// Which activation.
    pub site: Site,
    /// In which forward; `None`: in every one.
    pub forward: Option<usize>,
    /// Which elements.
    pub part: Part,
    /// What they become.
    pub change: Change,
}

/// Which tokens of the sequence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Tokens {
    /// Every one.
    #[default]
    All,
    /// The last one of each forward.
    Last,
    /// Positions in the sequence, from 0: they concern the forwards that hold them.
    At(RangeInclusive<usize>),
}

/// Some elements of an activation: those that every field allows, but for scores and probabilities that the model's mask
/// hides. These always stay as they are, so that no patch lets a token see what comes after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Rows.
    pub tokens: Tokens,
    /// Heads, or key/value heads where the activation has these: a plane, or a block of channels.
    pub heads: Option<RangeInclusive<usize>>,
    /// Positions of keys, of scores and probabilities.
    pub keys: Option<RangeInclusive<usize>>,
    /// Channels; where heads stand side by side, those of each head if heads are named, else columns of the whole row.
    pub channels: Option<RangeInclusive<usize>>,
}

/// What elements become.
#[derive(Clone, Debug)]
pub enum Change {
    /// 0.
    Zero,
    /// The mean over the chosen tokens of the forward, of each channel (and of each key) by itself. A forward of one token
    /// is its own mean.
    Mean,
    /// This many times what they are.
    Scale(f32),
    /// This.
    Set(f32),
    /// This much more.
    Add(f32),
    /// Of the weights that a router gives: these experts are chosen, in the place of those of the least weight, and all that
    /// are chosen weigh what the router then gives them.
    Choose(Vec<usize>),
    /// The elements at the same places of an array, which has the shape of the whole activation. Forwards in which the
    /// activation has another shape are left alone.
    Put(Value),
}

impl PartialEq for Change {
    /// The same bits, so that NaN is itself.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Zero, Self::Zero) | (Self::Mean, Self::Mean) => true,
            (Self::Scale(a), Self::Scale(b)) | (Self::Set(a), Self::Set(b)) | (Self::Add(a), Self::Add(b)) => {
                a.to_bits() == b.to_bits()
            }
            (Self::Choose(a), Self::Choose(b)) => a == b,
            (Self::Put(a), Self::Put(b)) => {
                let same = || a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits());
                a.shape() == b.shape() && ((a.as_ptr() == b.as_ptr() && a.strides() == b.strides()) || same())
            }
            _ => false,
        }
    }
}

/// The tokens of one forward, by their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feed {
    /// Which forward: 0 is the prefill.
    pub forward: usize,
    /// Position of its first token.
    pub first: usize,
    /// How many tokens it is fed.
    pub tokens: usize,
}

impl Part {
    /// Whether an activation of the model has such elements. Tokens and keys depend on what is fed: they are not checked.
    ///
    /// # Errors
    /// One sentence.
    pub fn check(&self, site: Site, graph: &Graph) -> Result<(), String> {
        let (name, node) = (graph.short(site), &graph[site]);
        let within = |asked: &Option<RangeInclusive<usize>>, count: usize, word: &str| match asked {
            Some(asked) if *asked.end() >= count => {
                Err(format!("{name} has no {word} {}: they are 0 to {}", asked.end(), count - 1))
            }
            _ => Ok(()),
        };
        if self.heads.is_some() {
            let Some((count, _)) = node.heads() else { return Err(format!("{name} has no heads")) };
            let of_keys = node.axes.iter().any(|axis| axis.name.starts_with("kv_head"));
            within(&self.heads, count, if of_keys { "key/value head" } else { "head" })?;
        }
        if self.keys.is_some() && !node.has_keys() {
            return Err(format!("{name} has no keys: only scores and probs have"));
        }
        match node.axes.last().map(|axis| axis.counts) {
            Some(Counts::Keys) if self.channels.is_some() => Err(format!("{name} has keys, not channels")),
            Some(Counts::Joined { width, .. }) if self.heads.is_some() => {
                within(&self.channels, width, "channel in a head")
            }
            Some(_) => within(&self.channels, node.axes[node.axes.len() - 1].length(0, 0), "channel"),
            None => Ok(()),
        }
    }
}

impl Patch {
    /// The elements that it changes in a forward, of an activation of this shape.
    fn picked_of(&self, graph: &Graph, feed: Feed, shape: &[usize]) -> Picked {
        let Part { tokens, heads, keys, channels } = &self.part;
        let inside = |asked: &Option<RangeInclusive<usize>>, length: usize| -> Vec<usize> {
            (0..length).filter(|index| asked.as_ref().is_none_or(|asked| asked.contains(index))).collect()
        };
        let elsewhere = self.forward.is_some_and(|forward| forward != feed.forward);
        let node = &graph[self.site];
        let last = node.axes.len() - 1;
        let indices = node.axes.iter().zip(shape).enumerate().map(|(place, (axis, length))| match axis.counts {
            _ if elsewhere => Vec::new(),
            Counts::Sequence => vec![0],
            Counts::Rows => {
                // Of logits the first rows may be absent.
                let absent = feed.tokens.saturating_sub(*length);
                let position = |row: usize| feed.first + absent + row;
                let wanted = |row: &usize| match tokens {
                    Tokens::All => true,
                    Tokens::Last => row + 1 == *length,
                    Tokens::At(positions) => positions.contains(&position(*row)),
                };
                (0..*length).filter(wanted).collect()
            }
            Counts::Heads(_) => inside(heads, *length),
            Counts::Keys => inside(keys, *length),
            Counts::Joined { width, .. } => match heads {
                None => inside(channels, *length),
                Some(heads) => {
                    let in_head = |index: &usize| channels.as_ref().is_none_or(|c| c.contains(&(index % width)));
                    let wanted = |index: &usize| heads.contains(&(index / width)) && in_head(index);
                    (0..*length).filter(wanted).collect()
                }
            },
            Counts::Channels(_) if place == last => inside(channels, *length),
            Counts::Channels(_) => (0..*length).collect(),
        });
        let seen = node.has_keys().then(|| graph.mask(self.site, feed.first));
        Picked::new(indices.collect(), node.row_axis(), seen)
    }

    /// The elements that it changes in a forward that computes every row.
    pub fn picked(&self, graph: &Graph, feed: Feed) -> Picked {
        self.picked_of(graph, feed, &graph[self.site].shape(feed.tokens, feed.first + feed.tokens))
    }

    /// Makes the change to what the op gives, which read `operand` first.
    pub(super) fn apply<T: Real>(
        &self,
        value: &mut Value<T>,
        graph: &Graph,
        feed: Feed,
        operand: Option<ArrayViewD<T>>,
    ) {
        let picked = self.picked_of(graph, feed, value.shape());
        match &self.change {
            Change::Zero => picked.each(value, |_, v| *v = T::zero()),
            Change::Scale(by) => picked.each(value, |_, v| *v *= T::of(*by)),
            Change::Set(to) => picked.each(value, |_, v| *v = T::of(*to)),
            Change::Add(more) => picked.each(value, |_, v| *v += T::of(*more)),
            Change::Mean => picked.mean(value),
            Change::Choose(experts) => {
                let logits = operand.and_then(|logits| logits.into_dimensionality::<Ix2>().ok());
                if let (Op::Route { router, .. }, Some(logits)) = (&graph[self.site].op, logits) {
                    for row in picked.rows() {
                        let mut weights = value.index_axis_mut(NdAxis(0), *row);
                        let chosen = chosen_with(experts, weights.iter().map(|weight| weight.wide()), router.top_k);
                        let given = router.weights(logits.row(*row), &chosen, Rounding::None);
                        weights.iter_mut().zip(given).for_each(|(weight, given)| *weight = given);
                    }
                }
            }
            Change::Put(from) => {
                let absent = feed.tokens.saturating_sub(value.len_of(NdAxis(picked.row_axis())));
                let whole = graph[self.site].shape(feed.tokens, feed.first + feed.tokens);
                if from.shape() == whole {
                    picked.each(value, |at, v| *v = T::of(from[picked.moved(at, |row| row + absent).of(at)]));
                }
            }
        }
    }
}

/// These experts, and of those that have a weight the heaviest others, `top_k` in all, by rising number.
fn chosen_with(experts: &[usize], weights: impl Iterator<Item = f64>, top_k: usize) -> Vec<usize> {
    let mut others: Vec<(usize, f64)> =
        weights.enumerate().filter(|(expert, weight)| *weight != 0.0 && !experts.contains(expert)).collect();
    others.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut chosen: Vec<usize> = experts.iter().copied().chain(others.into_iter().map(|(expert, _)| expert)).collect();
    chosen.truncate(top_k);
    chosen.sort_unstable();
    chosen
}
