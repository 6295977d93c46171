//! A node of a graph: its op, what it reads, its axes and its name.

use super::{Axis, Counts};
use crate::model::op::Op;
use crate::model::role::Role;

/// A node of a graph, and so an activation: its place in the order of the forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Site(u32);

impl Site {
    /// The node at this place of the order.
    pub fn at(index: usize) -> Self {
        Self(u32::try_from(index).expect("a graph has fewer nodes than a u32 counts"))
    }

    /// Its place in the order.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What an op reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Read {
    /// What a node gives in the same forward.
    Node(Site),
    /// What a node has given so far, in this forward and those before: `[position, head, channel]`, from the cache.
    Past(Site),
    /// What a node gives in the same forward, which is all there is: `[position, head, channel]`. Keys and values of an
    /// encoder, which caches nothing.
    Whole(Site),
    /// What a node of the layer before has left behind: no model reads it, a port that forgets to overwrite it does.
    Stale(Site),
    /// What a node has given from this position on, in an earlier forward: no model reads it, a port that reads its buffer
    /// from the start does.
    Earlier(Site, usize),
}

impl Read {
    /// The node that it is.
    pub fn site(self) -> Site {
        match self {
            Self::Node(site) | Self::Past(site) | Self::Whole(site) | Self::Stale(site) | Self::Earlier(site, _) => {
                site
            }
        }
    }
}

/// One op of the forward pass.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it is for, if that is known.
    pub role: Option<Role>,
    /// The layer that it belongs to.
    pub layer: Option<usize>,
    /// Its canonical name: `model.layers.3.self_attn.q_rope`.
    pub name: String,
    /// Its short name: `3.q_rope`, `norm`; a block's output is just `3`.
    pub short: String,
    /// Its name inside its layer: `q_rope`; `block` for a block's output.
    pub label: String,
    /// One line for people.
    pub meaning: &'static str,
    /// What it computes.
    pub op: Op,
    /// What it reads, in the order in which the op takes it.
    pub reads: Vec<Read>,
    /// Names and lengths of its axes, outermost first.
    pub axes: Vec<Axis>,
}

impl Node {
    /// Of three axes, the one that is neither that of rows nor the last: heads, or slots of experts. Each of its indices has
    /// a plane of rows and columns.
    pub fn plane_axis(&self) -> Option<usize> {
        (self.axes.len() == 3).then(|| usize::from(self.row_axis() == 0))
    }

    /// What its planes are: `head`, `slot`.
    pub fn plane_word(&self) -> &'static str {
        self.plane_axis().map_or("", |axis| self.axes[axis].name.trim_start_matches("kv_"))
    }

    /// Whether it has one row for the whole sequence.
    pub fn is_pooled(&self) -> bool {
        self.axes.iter().any(|axis| axis.counts == Counts::Sequence)
    }

    /// Its shape in a forward of `tokens` rows that sees `keys` positions.
    pub fn shape(&self, tokens: usize, keys: usize) -> Vec<usize> {
        self.axes.iter().map(|axis| axis.length(tokens, keys)).collect()
    }

    /// The axis of its rows.
    ///
    /// # Panics
    /// When it has none: every activation of a forward has rows.
    pub fn row_axis(&self) -> usize {
        self.axes.iter().position(|axis| axis.is_row()).expect("every activation has a row axis")
    }

    /// Whether its last axis counts keys.
    pub fn has_keys(&self) -> bool {
        self.axes.last().is_some_and(|axis| axis.counts == Counts::Keys)
    }

    /// Its heads and how wide each is, where it has heads.
    pub fn heads(&self) -> Option<(usize, usize)> {
        let last = self.axes.last()?.counts;
        self.axes.iter().find_map(|axis| match (axis.counts, last) {
            (Counts::Heads(heads), Counts::Channels(width)) | (Counts::Joined { heads, width }, _) => {
                Some((heads, width))
            }
            (Counts::Heads(heads), _) => Some((heads, 1)),
            _ => None,
        })
    }

    /// Tells its ops' random numbers apart: those of one role are nudged alike in every layer.
    pub fn salt(&self) -> u64 {
        self.role.map_or(0, |role| role as u64)
    }
}
