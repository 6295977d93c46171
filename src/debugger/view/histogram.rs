//! How the numbers of an activation are distributed.

use super::Shown;
use crate::metrics::{Channel, Histogram};

/// What a pane wants to show of the distribution of an activation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistogramRequest {
    /// Row of the listing.
    pub row: usize,
    /// Whose values.
    pub shown: Shown,
    /// Only this index of the outermost axis of three, the head; `None`: all of it.
    pub plane: Option<usize>,
    /// Bins, at most: those of the values, and those of the magnitudes.
    pub bins: usize,
    /// How many of the loudest channels.
    pub channels: usize,
}

/// The distribution of an activation.
#[derive(Clone, Debug)]
pub struct HistogramPage {
    /// `model.layers.2.self_attn.q_rope`
    pub name: String,
    /// The plane that it is about: the last one, where the request was for one beyond; `None`: all of them.
    pub plane: Option<usize>,
    /// Number of planes: heads, or 1.
    pub planes: usize,
    /// What a plane is: `head`, `slot`.
    pub plane_word: &'static str,
    /// Names of the axes that a channel's place counts, outermost first: all but the last.
    pub place_axes: Vec<&'static str>,
    /// Name of the last axis: what a channel is.
    pub channel_axis: &'static str,
    /// Position in the sequence of row 0, when rows are tokens.
    pub first_position: usize,
    /// Bins, percentiles, and what is no number. Rows that a dump lacks are left out.
    pub histogram: Histogram,
    /// The channels of largest magnitude, with their ratio to the median channel.
    pub loudest: Vec<Channel>,
    /// The largest magnitude of the median channel.
    pub median_channel: f64,
    /// What was done to a dump's tensor to make it comparable, and what is missing.
    pub notes: Vec<String>,
}
