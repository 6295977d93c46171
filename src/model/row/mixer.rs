//! What stands in the place of attention in some layers, as a family has it.

use super::Switch;

/// What stands in the place of attention.
#[derive(Clone, Copy, Debug)]
pub struct MixerRow {
    /// What it is.
    pub kind: MixerKind,
    /// What `layer_types` calls its layers: the names of transformers 5 and 4.
    pub words: &'static [&'static str],
    /// Which layers have it where there is no `layer_types`.
    pub layers: MixerLayers,
    /// Whether attention stands beside it, not in its place.
    pub abreast: bool,
}

/// What stands in the place of attention.
#[derive(Clone, Copy, Debug)]
pub enum MixerKind {
    /// A convolution between two gates.
    ShortConvolution {
        /// The key of how many positions it sees, and its default.
        taps: (&'static str, usize),
        /// Its biases.
        bias: Switch,
    },
    /// A gated delta rule, whose sizes stand under keys that begin with `linear_`.
    Delta {
        /// Whether what it reads comes out of two matrices, not four.
        woven: bool,
    },
    /// A selective state space.
    Mamba2(&'static Mamba2Row),
}

/// A selective state space, as a family has it.
#[derive(Clone, Copy, Debug)]
pub struct Mamba2Row {
    /// Keys of heads, of groups of them, of channels of the state, and of how many positions the convolution sees, with their
    /// defaults.
    pub sizes: [(&'static str, usize); 4],
    /// The key of how many times as wide as the model all heads are together, and its default; `None`: heads say it.
    pub expand: Option<(&'static str, usize)>,
    /// The key of how wide all heads are together, which wins unless it is null, and its default.
    pub width: Option<(&'static str, usize)>,
    /// The key of the width of a head, and its default; `None`, and `auto`: what the other sizes say.
    pub head_dim: (&'static str, Option<usize>),
    /// The key of the activation function, and its default; `None`: that of the MLP.
    pub act: Option<(&'static str, &'static str)>,
    /// The key of the shortest step of time, and its default.
    pub least_step: Option<(&'static str, f64)>,
    /// The bias of the convolution.
    pub taps_bias: Switch,
    /// The biases of the matrix before it and of the one behind it.
    pub biases: [Switch; 2],
    /// The norm of what the state gives.
    pub norm: Switch,
    /// Whether that stands before the gate.
    pub norm_first: Switch,
    /// Whether it is rounded once, at the end.
    pub norm_rounded_once: bool,
}

/// Which layers have it.
#[derive(Clone, Copy, Debug)]
pub enum MixerLayers {
    /// All.
    All,
    /// All but those that this key lists.
    AllButListed {
        /// The key.
        key: &'static str,
        /// Whether all have it where the key is missing; else none.
        alone: bool,
    },
    /// All but every so many.
    AllButEvery(&'static str, usize),
}

/// Keys of a gated delta rule, and their defaults: heads and channels of keys and of values, and how many positions the
/// convolution sees.
pub(in crate::model) const DELTA: [(&str, usize); 5] = [
    ("linear_num_key_heads", 16),
    ("linear_num_value_heads", 32),
    ("linear_key_head_dim", 128),
    ("linear_value_head_dim", 128),
    ("linear_conv_kernel_dim", 4),
];

/// What steps of time are clamped to: in forwards of several tokens only, so that it has to be nothing.
pub(in crate::model) const TIME_STEP_LIMIT: &str = "time_step_limit";

impl MixerRow {
    pub(super) fn reads(&self, key: &str) -> bool {
        let of_kind = match self.kind {
            MixerKind::ShortConvolution { taps, bias } => {
                taps.0 == key || matches!(bias, Switch::Key(own) | Switch::Unless(own) if own == key)
            }
            MixerKind::Delta { .. } => DELTA.iter().any(|(own, _)| *own == key),
            MixerKind::Mamba2(row) => row.reads(key),
        };
        let listed = match self.layers {
            MixerLayers::All => None,
            MixerLayers::AllButListed { key, .. } | MixerLayers::AllButEvery(key, _) => Some(key),
        };
        of_kind || listed == Some(key)
    }
}

impl Mamba2Row {
    fn reads(&self, key: &str) -> bool {
        let [before, behind] = self.biases;
        let switched = |switch: &Switch| matches!(switch, Switch::Key(own) | Switch::Unless(own) | Switch::One(own) if *own == key);
        self.sizes.iter().any(|(own, _)| *own == key)
            || [self.head_dim.0, TIME_STEP_LIMIT].contains(&key)
            || [self.width, self.expand].into_iter().flatten().any(|(own, _)| own == key)
            || self.act.is_some_and(|(own, _)| own == key)
            || self.least_step.is_some_and(|(own, _)| own == key)
            || [self.taps_bias, before, behind, self.norm, self.norm_first].iter().any(switched)
    }
}
